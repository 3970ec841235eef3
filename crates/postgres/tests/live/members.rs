//! Two Syncers of one name in one group.

use std::process::{Child, Command};

use cdc_machine::Fault;
use cdc_ports::ProcessId;
use cdc_ports::{Database, Failure};
use cdc_postgres::{Member, PostgresDatabase, bookkeeping_sql};

use crate::stand::{EPOCH, PARTITION, Stand, claim};

/// A process of this machine that can be looked up.
struct Neighbour {
    child: Child,
    id: ProcessId,
}

impl Neighbour {
    fn start() -> Self {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        Self { child, id }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The adapter of a process named "vm", not connected yet.
fn named_vm(stand: &Stand, process: Option<&ProcessId>) -> PostgresDatabase {
    let mut settings = stand.settings.clone();
    settings.member = Some(Member { instance: "vm".to_owned(), process: process.cloned() });
    PostgresDatabase::new(settings)
}

async fn refused(database: &PostgresDatabase) -> Failure {
    database.connect().await.unwrap_err()
}

#[tokio::test]
async fn a_name_is_a_living_process_s_own_and_a_dead_one_s_is_free_at_once() {
    let stand = Stand::new("").await;
    let own = ProcessId::own().unwrap();
    let mut neighbour = Neighbour::start();
    let first = named_vm(&stand, Some(&neighbour.id));
    first.connect().await.unwrap();
    first.acquire(&[claim(EPOCH)], 1).await.unwrap();

    // However long its row is not refreshed.
    let second = named_vm(&stand, Some(&own));
    stand.client.batch_execute("UPDATE cdc.members SET seen_at = now() - interval '1 hour'").await.unwrap();
    let failure = refused(&second).await;
    assert_eq!(failure.fault, Fault::Fenced);
    let words = format!(
        "another process joined group cdc-syncer as \"vm\" (pid {} on {}",
        neighbour.id.pid, own.host
    );
    assert!(failure.message.contains(&words), "{failure}");
    assert!(failure.message.contains("set `instance` per process. Nothing is lost"), "{failure}");
    first.check(&[(PARTITION, EPOCH)]).await.unwrap();
    assert_eq!(stand.count("cdc.members WHERE seen_at > now() - interval '1 minute'").await, 1);

    // Connecting again is no second process.
    first.connect().await.unwrap();

    neighbour.child.kill().unwrap();
    second.connect().await.unwrap();
    // A dead one says no more; if it did, it would be told.
    let failure = first.check(&[(PARTITION, EPOCH)]).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fenced, "{failure}");
    first.close().await;
    assert_eq!(stand.count("cdc.members").await, 1, "what is another's is left to it");
    second.close().await;
    assert_eq!(stand.count("cdc.members").await, 0);
}

#[tokio::test]
async fn a_name_of_another_machine_is_free_after_a_while_unless_it_is_refreshed() {
    let stand = Stand::new("").await;
    let own = ProcessId::own().unwrap();
    let elsewhere = ProcessId { boot_id: "another".to_owned(), host: "host-b".to_owned(), ..own.clone() };
    for first in [named_vm(&stand, Some(&elsewhere)), named_vm(&stand, None)] {
        first.connect().await.unwrap();
        let second = named_vm(&stand, Some(&own));
        for _ in 0..2 {
            let failure = refused(&second).await;
            assert_eq!(failure.fault, Fault::Transient);
            assert!(failure.message.contains("if that is gone, its name is free in "), "{failure}");
        }
        first.open_gaps().await.unwrap();
        assert_eq!(refused(&second).await.fault, Fault::Fenced, "it has given a sign of life");
        stand.client.batch_execute("UPDATE cdc.members SET seen_at = now() - interval '16 s'").await.unwrap();
        second.connect().await.unwrap();
        second.close().await;
    }
    // Others in the group, and the same name in another one, are nobody's concern.
    let mut settings = stand.settings.clone();
    settings.member = Some(Member { instance: "vm2".to_owned(), process: None });
    PostgresDatabase::new(settings.clone()).connect().await.unwrap();
    settings.member = Some(Member { instance: "vm".to_owned(), process: None });
    PostgresDatabase::new(settings.clone()).connect().await.unwrap();
    settings.consumer_group = "another".to_owned();
    PostgresDatabase::new(settings).connect().await.unwrap();
    assert_eq!(stand.count("cdc.members").await, 3);
}

/// The copy knows the name as an earlier process's, which is no reason to end.
#[tokio::test]
async fn a_row_that_comes_with_a_restored_database_is_taken_again() {
    let stand = Stand::new("").await;
    let database = named_vm(&stand, ProcessId::own().as_ref());
    database.connect().await.unwrap();
    database.acquire(&[claim(EPOCH)], 1).await.unwrap();
    let restored = |ago: &str| {
        format!(
            "UPDATE cdc.members SET owner = 'earlier', boot_id = 'another', seen_at = now() - interval '{ago}'"
        )
    };
    stand.client.batch_execute(&restored("1 hour")).await.unwrap();
    database.check(&[(PARTITION, EPOCH)]).await.unwrap();
    assert_eq!(stand.count("cdc.members WHERE owner = 'earlier'").await, 0);
    // Of moments ago it may be a living process's, and that shows once it is refreshed.
    stand.client.batch_execute(&restored("1 s")).await.unwrap();
    database.check(&[(PARTITION, EPOCH)]).await.unwrap();
    stand.client.batch_execute("UPDATE cdc.members SET seen_at = now()").await.unwrap();
    database.open_gaps().await.unwrap();
    let failure = database.check(&[(PARTITION, EPOCH)]).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fenced, "{failure}");
}

/// Where the schema is a person's, and of the release before.
#[tokio::test]
async fn without_the_table_names_are_not_taken() {
    let mut stand = Stand::new(&bookkeeping_sql()).await;
    stand.client.batch_execute("DROP TABLE cdc.members; UPDATE cdc.version SET version = 2").await.unwrap();
    stand.settings.manage_schema = false;
    let own = ProcessId::own().unwrap();
    let neighbour = Neighbour::start();
    let both = [named_vm(&stand, Some(&neighbour.id)), named_vm(&stand, Some(&own))];
    for database in &both {
        database.connect().await.unwrap();
        database.acquire(&[claim(EPOCH)], 1).await.unwrap();
        database.check(&[(PARTITION, EPOCH)]).await.unwrap();
        database.close().await;
    }
    stand.settings.manage_schema = true;
    named_vm(&stand, Some(&own)).connect().await.unwrap();
    assert_eq!(stand.count("cdc.members").await, 1);
}
