//! Connections that run out, die and come back.

use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::Database;
use cdc_postgres::{Endpoint, PostgresDatabase, Settings};
use cdc_syncer::{Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, PLAYERS, Stand, batch, write_all};

/// Feature: cdc-pipeline, Property 16: Connection Pool Wait on Exhaustion
/// Validates: Requirements 7.5
#[tokio::test]
async fn an_exhausted_pool_is_waited_for() {
    let mut stand = Stand::new(PLAYERS).await;
    stand.settings.max_connections = 1;
    stand.settings.connection_timeout = Duration::from_millis(300);
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;

    stand.client.batch_execute("BEGIN; LOCK TABLE players").await.unwrap();
    let holder = database.clone();
    let first = tokio::spawn(async move {
        holder.write(&batch(&[Message::player("update", "a", 2, 2)]), ALL, Parking::Off).await
    });
    stand.until_blocked().await;
    let waiting: Vec<_> = (3..6)
        .map(|position| {
            let database = database.clone();
            tokio::spawn(async move {
                database
                    .write(&batch(&[Message::player("update", "a", 3, position)]), ALL, Parking::Off)
                    .await
            })
        })
        .collect();
    // Several times the time-out for a connection: waiting is not failing.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiting.iter().all(|write| !write.is_finished()));
    stand.client.batch_execute("COMMIT").await.unwrap();
    for write in waiting.into_iter().chain([first]) {
        assert_eq!(write.await.unwrap().outcome, WriteOutcome::Written { rejected: vec![], parked: vec![] });
    }
    let sessions = "pg_stat_activity WHERE datname = current_database() AND application_name = 'cdc-syncer'";
    assert_eq!(stand.count(sessions).await, 1);
}

/// The pool's minimum is open from the start, a connection is replaced after its lifetime, and one that nobody uses is
/// closed down to the minimum.
#[tokio::test]
async fn connections_are_kept_and_renewed_as_configured() {
    const MINIMUM: i64 = 3;
    let (mut renewing, mut idling) = (Stand::new(PLAYERS).await, Stand::new(PLAYERS).await);
    renewing.settings.min_connections = 3;
    renewing.settings.max_connection_lifetime = Duration::from_secs(1);
    idling.settings.min_connections = 0;
    idling.settings.idle_timeout = Duration::from_secs(1);
    let (renewed, idle) = (renewing.database().await, idling.database().await);
    let sessions = "pg_stat_activity WHERE datname = current_database() AND application_name = 'cdc-syncer'";
    let pids = format!("SELECT string_agg(pid::text, ' ') FROM {sessions}");
    while renewing.count(sessions).await < MINIMUM {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    write_all(&idle, &[Message::player("insert", "a", 1, 1)]).await;
    assert_eq!(idling.count(sessions).await, 1);
    let first = renewing.text(&pids).await.unwrap_or_default();
    let is_first = |pid: &str| first.split(' ').any(|first| first == pid);
    // Nothing uses either pool meanwhile.
    loop {
        let now = renewing.text(&pids).await.unwrap_or_default();
        assert!(now.split_whitespace().count() <= 4, "no more than the most: {now}");
        let is_renewed = now.split_whitespace().count() >= 3 && !now.split_whitespace().any(is_first);
        if is_renewed && idling.count(sessions).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    write_all(&renewed, &[Message::player("insert", "a", 1, 1)]).await;
    write_all(&idle, &[Message::player("update", "a", 2, 2)]).await;
}

#[tokio::test]
async fn connections_that_died_while_idle_are_replaced() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    let killed = stand
        .count("(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdc-syncer' AND datname = current_database()) k")
        .await;
    assert!(killed > 0);
    write_all(&database, &[Message::player("update", "a", 2, 2)]).await;
}

#[tokio::test]
async fn a_connection_that_dies_in_a_write_fails_it_and_not_the_next() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    stand.client.batch_execute("BEGIN; LOCK TABLE players").await.unwrap();
    let handle = database.clone();
    let write = tokio::spawn(async move {
        handle.write(&batch(&[Message::player("update", "a", 2, 2)]), ALL, Parking::Off).await
    });
    stand.until_blocked().await;
    stand
        .client
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdc-syncer' AND wait_event_type = 'Lock' AND datname = current_database()")
        .await
        .unwrap();
    let reply = write.await.unwrap();
    assert!(
        matches!(reply.outcome, WriteOutcome::Failed { fault: Fault::Unreachable, .. }),
        "{:?}",
        reply.outcome
    );
    stand.client.batch_execute("COMMIT").await.unwrap();
    write_all(&database, &[Message::player("update", "a", 2, 2)]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let mut settings = Settings::new(Endpoint::Host("127.0.0.1".to_owned()), "nowhere", "nobody");
    settings.port = 1;
    settings.password = Some("hunter2".to_owned());
    let database = PostgresDatabase::new(settings);
    let failure = database.connect().await.unwrap_err();
    assert_eq!(failure.fault, Fault::Unreachable);
    assert!(failure.chain().contains("127.0.0.1:1/nowhere"), "{failure}");
    assert!(!format!("{failure} {database:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_missing_database_and_a_missing_role_are_a_person_s_to_mend() {
    let stand = Stand::new("").await;
    let mut settings = stand.settings.clone();
    settings.database = "no_such_database".to_owned();
    let failure = PostgresDatabase::new(settings).connect().await.unwrap_err();
    assert_eq!(failure.fault, Fault::Unfit);
    assert!(failure.message.contains("3D000"), "{failure}");
    let mut settings = stand.settings.clone();
    settings.user = "no_such_role".to_owned();
    let failure = PostgresDatabase::new(settings).connect().await.unwrap_err();
    assert_eq!(failure.fault, Fault::Auth);
}

#[tokio::test]
async fn what_is_closed_may_be_opened_again() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    database.close().await;
    let reply = database.write(&batch(&[Message::player("insert", "a", 1, 1)]), ALL, Parking::Off).await;
    assert!(matches!(reply.outcome, WriteOutcome::Failed { fault: Fault::Unreachable, .. }));
    database.connect().await.unwrap();
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
}
