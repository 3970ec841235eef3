//! Roles that may not do to a table what the pipeline does to it.

use cdc_machine::Epoch;
use cdc_ports::Database;
use cdc_postgres::PostgresDatabase;
use cdc_syncer::{HoldReason, Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PARTITION, Stand, batch, claim, held, write_all};

const NOTES: &str = "CREATE TABLE players (id text PRIMARY KEY, n int, cdc_position bytea);";

fn note(id: &str, n: u32, position: u32) -> Message {
    Message::upsert("insert", id, &format!("\"n\":{n}"), position)
}

/// Writes, and expects the topic to be held.
async fn refused(database: &PostgresDatabase, message: Message, epoch: Epoch) -> (HoldReason, String) {
    let mut rows = batch(&[message]).rows().to_vec();
    rows[0].epoch = epoch;
    let outcome = database.write(&cdc_syncer::Batch::new(rows), ALL, Parking::Off).await.outcome;
    let WriteOutcome::Held { holds } = outcome else { panic!("{outcome:?}") };
    (holds[0].reason, holds[0].detail.to_string())
}

/// The SQL that the words print.
fn grant(words: &str) -> &str {
    words.split_once("run: ").unwrap_or_else(|| panic!("{words}")).1
}

/// What is granted in the words of the hold is enough, and what is revoked later is noticed.
#[tokio::test]
async fn a_role_without_privileges_holds_the_topic_with_the_grant() {
    let mut stand = Stand::new(&format!("{NOTES} REVOKE ALL ON SCHEMA public FROM PUBLIC")).await;
    let role = stand.as_a_role_of_its_own().await;
    let database = stand.connected().await;
    let why = held(&database, EPOCH).await.unwrap();
    assert_eq!(why.reason, HoldReason::NoPrivilege);
    assert!(why.detail.contains("table public.players cannot be written"), "{}", why.detail);
    assert!(grant(&why.detail).contains("GRANT USAGE ON SCHEMA"), "{}", why.detail);
    stand.client.batch_execute(grant(&why.detail)).await.unwrap();
    assert_eq!(held(&database, EPOCH).await, None);
    write_all(&database, &[note("a", 1, 1), note("b", 1, 1)]).await;
    write_all(&database, &[Message::delete("b", 2)]).await;

    let taken = [
        format!("REVOKE UPDATE ON players FROM {role}"),
        format!("REVOKE INSERT ON players FROM {role}"),
        format!("REVOKE SELECT ON players FROM {role}"),
        format!("REVOKE USAGE ON SCHEMA public FROM {role}"),
        format!("REVOKE SELECT ON players FROM {role}; GRANT SELECT (id, n) ON players TO {role}"),
        // Of what the table needs: a default's sequence, and what a trigger writes to.
        "CREATE SEQUENCE tickets; ALTER TABLE players ADD COLUMN ticket int DEFAULT nextval('tickets')"
            .to_owned(),
        format!("REVOKE DELETE ON players FROM {role}"),
    ];
    for (round, sql) in (2u32..).zip(&taken) {
        stand.client.batch_execute(sql).await.unwrap();
        let message = if sql.contains("DELETE") {
            Message::delete("a", 10 + round)
        } else {
            note("a", round, 10 + round)
        };
        let epoch = Epoch(u64::from(round) - 1);
        let (reason, words) = refused(&database, message, epoch).await;
        assert_eq!(reason, HoldReason::NoPrivilege, "{sql}: {words}");
        let still = held(&database, Epoch(u64::from(round))).await;
        assert_eq!(still.map(|held| held.reason), Some(HoldReason::NoPrivilege), "{sql}");
        stand.client.batch_execute(grant(&words)).await.unwrap();
        assert_eq!(held(&database, Epoch(u64::from(round))).await, None, "{sql}: {words}");
    }
}

/// A role whose documents are never deleted need not be given the privilege.
#[tokio::test]
async fn privileges_on_columns_are_enough() {
    let mut stand = Stand::new(NOTES).await;
    let role = stand.as_a_role_of_its_own().await;
    let sql = format!(
        "GRANT SELECT (id, n, cdc_position, xmax), INSERT (id, n, cdc_position), UPDATE (n, cdc_position) ON players \
         TO {role}"
    );
    stand.client.batch_execute(&sql).await.unwrap();
    let database = stand.database().await;
    write_all(&database, &[note("a", 1, 1)]).await;
    let counts = write_all(&database, &[note("a", 2, 2), note("b", 1, 2)]).await;
    assert_eq!((counts.inserted, counts.updated), (1, 1));
}

/// What a trigger may not do is found by no look at the table, and is no record's fault either.
#[tokio::test]
async fn a_privilege_that_a_trigger_misses_holds_the_topic_alone() {
    let schema = format!(
        "{NOTES} CREATE TABLE others (LIKE players INCLUDING ALL); CREATE TABLE audit (n int); \
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO audit VALUES (NEW.n); RETURN NEW; END $$; \
         CREATE TRIGGER note BEFORE INSERT ON players FOR EACH ROW EXECUTE FUNCTION note()"
    );
    let mut stand = Stand::new(&schema).await.carrying_all(["players", "others"]);
    let role = stand.as_a_role_of_its_own().await;
    stand.client.batch_execute(&format!("GRANT ALL ON players, others TO {role}")).await.unwrap();
    let database = stand.database().await;
    let other = note("a", 1, 1).in_collection("others").in_topic(1);
    let outcome = database.write(&batch(&[note("a", 1, 1), other.clone()]), ALL, Parking::Off).await.outcome;
    let WriteOutcome::Held { holds } = outcome else { panic!("{outcome:?}") };
    let [hold] = &holds[..] else { panic!("{holds:?}") };
    assert_eq!((hold.partition, hold.reason), (PARTITION, HoldReason::NoPrivilege));
    assert!(hold.detail.contains("permission denied for table audit"), "{}", hold.detail);
    write_all(&database, &[other]).await;
    stand.client.batch_execute(&format!("GRANT INSERT ON audit TO {role}")).await.unwrap();
    write_all(&database, &[note("a", 1, 1)]).await;
}

/// A policy that binds the role could hide rows from it, so that a delete finds nothing to delete.
#[tokio::test]
async fn a_policy_that_binds_the_role_holds_the_topic() {
    let mut stand = Stand::new(NOTES).await;
    let role = stand.as_a_role_of_its_own().await;
    stand.client.batch_execute(&format!("GRANT ALL ON players TO {role}")).await.unwrap();
    let database = stand.database().await;
    write_all(&database, &[note("a", 1, 1), note("b", 9, 1)]).await;
    let policy = format!(
        "ALTER TABLE players ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY one ON players FOR ALL TO {role} USING (n < 5) WITH CHECK (n < 5)"
    );
    stand.client.batch_execute(&policy).await.unwrap();
    // The delete would find no row to delete.
    let (reason, words) = refused(&database, Message::delete("b", 2), EPOCH).await;
    assert_eq!(reason, HoldReason::Unwritable);
    assert!(words.contains("row-level security"), "{words}");
    assert_eq!((stand.count("players").await, stand.count("cdc.tombstones").await), (2, 0));
    database.acquire(&[claim(EPOCH)], 1).await.unwrap();
    let (reason, words) = refused(&database, note("c", 9, 2), EPOCH).await;
    assert_eq!(reason, HoldReason::Unwritable);
    assert!(words.contains("row-level security"), "{words}");
    assert_eq!(held(&database, Epoch(2)).await.unwrap().reason, HoldReason::Unwritable);
    // The owner is bound where it is forced only.
    stand.client.batch_execute(&format!("ALTER TABLE players OWNER TO {role}")).await.unwrap();
    assert_eq!(held(&database, Epoch(3)).await, None);
    stand.client.batch_execute("ALTER TABLE players FORCE ROW LEVEL SECURITY").await.unwrap();
    assert_eq!(held(&database, Epoch(4)).await.unwrap().reason, HoldReason::Unwritable);
    stand.client.batch_execute(&format!("ALTER ROLE {role} BYPASSRLS")).await.unwrap();
    assert_eq!(held(&database, Epoch(5)).await, None);
}
