//! Transactions whose end is known.

use cdc_machine::Fault;
use tokio_postgres::SimpleQueryMessage;

use crate::server::session::Session;
use crate::server::trouble::Trouble;

/// Read committed, whatever the role's default: each statement after a lock must see what the lock waited for.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Marks the session until its transaction's end is confirmed: a session that is dropped in between, by a
/// time-out for one, is not used again.
pub(crate) async fn begin(session: &mut Session, operation: &'static str) -> Result<(), Trouble> {
    session.in_doubt = true;
    session.client.batch_execute(BEGIN).await.map_err(|error| Trouble::of(operation, error))
}

/// Commits, and asks the server what became of the transaction.
///
/// `COMMIT` of an aborted transaction is answered with the tag `ROLLBACK` and without an error, and the driver
/// does not show the tag; so a commit is believed only where the transaction log says so. Both go in one
/// message and cost one round trip. An error is about rows: the commit checks constraints, and runs triggers, that
/// were deferred. `transaction` is what `txid_current()` gave inside.
pub(crate) async fn commit(
    session: &mut Session,
    operation: &'static str,
    transaction: i64,
) -> Result<(), Trouble> {
    let question = format!("COMMIT; SELECT txid_status({transaction})");
    let answer = session
        .client
        .simple_query(&question)
        .await
        .map_err(|error| Trouble::of_rows(operation, None, error))?;
    let status = answer
        .iter()
        .find_map(|message| if let SimpleQueryMessage::Row(row) = message { row.get(0) } else { None });
    if status == Some("committed") {
        session.in_doubt = false;
        return Ok(());
    }
    Err(Trouble::new(
        Fault::Transient,
        operation,
        format!(
            "the transaction was not committed (PostgreSQL calls it {}); it is written again",
            status.unwrap_or("unknown")
        ),
    ))
}

/// Rolls back. Where that is not confirmed the session stays in doubt, and the pool closes it.
pub(crate) async fn rollback(session: &mut Session) {
    match session.client.batch_execute("ROLLBACK").await {
        Ok(()) => session.in_doubt = false,
        Err(error) => {
            tracing::debug!(error = %error, "a rollback was not confirmed; the connection is closed");
        }
    }
}

/// Commits what went well and takes everything else back, a commit that failed included.
pub(crate) async fn end<T>(
    session: &mut Session,
    operation: &'static str,
    transaction: i64,
    done: Result<T, Trouble>,
) -> Result<T, Trouble> {
    let ended = match done {
        Ok(value) => commit(session, operation, transaction).await.map(|()| value),
        Err(trouble) => Err(trouble),
    };
    if ended.is_err() {
        rollback(session).await;
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cdc_devstack::{Postgres, PostgresOptions};

    use super::*;
    use crate::server::session::{driver_config, open};
    use crate::settings::{Endpoint, Settings};

    async fn session(server: &Postgres) -> Session {
        let mut settings =
            Settings::new(Endpoint::Host(server.host().to_owned()), server.database(), server.user());
        settings.port = server.port();
        let session = open(&driver_config(&settings), Duration::from_secs(30)).await.unwrap();
        session.client.batch_execute("CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY)").await.unwrap();
        session
    }

    async fn transaction_id(session: &Session) -> i64 {
        session.client.query_one("SELECT txid_current()", &[]).await.unwrap().get(0)
    }

    /// A canary for a trap in the driver: `commit()` answers `Ok` for a transaction that PostgreSQL has rolled
    /// back (rust-postgres issue 1334). The day this fails the driver has been mended; ours stays stricter.
    #[tokio::test]
    async fn the_driver_s_commit_believes_a_rollback() {
        let server = Postgres::start(PostgresOptions::default()).await.unwrap();
        let mut session = session(&server).await;

        let transaction = session.client.transaction().await.unwrap();
        transaction.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
        transaction.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap_err();
        assert!(transaction.commit().await.is_ok(), "the driver tells a rollback from a commit now");
        let rows: i64 = session.client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
        assert_eq!(rows, 0);

        begin(&mut session, "test").await.unwrap();
        let id = transaction_id(&session).await;
        session.client.execute("INSERT INTO t VALUES (1), (1)", &[]).await.unwrap_err();
        let trouble = commit(&mut session, "test", id).await.unwrap_err();
        assert_eq!(trouble.failure.fault, Fault::Transient);
        assert!(trouble.failure.message.contains("aborted"), "{}", trouble.failure.message);
        assert!(session.in_doubt, "an unconfirmed end condemns the connection");

        rollback(&mut session).await;
        assert!(!session.in_doubt);
        begin(&mut session, "test").await.unwrap();
        let id = transaction_id(&session).await;
        session.client.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
        commit(&mut session, "test", id).await.unwrap();
        assert!(!session.in_doubt);
    }
}
