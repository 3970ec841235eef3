//! The beginning of every transaction that writes rows: it locks its partitions in the ledger.

use futures_util::TryFutureExt as _;
use tokio_postgres::Statement;

use crate::ledger::Ledger;
use crate::ledger::lock::LockOutcome;
use crate::ledger::owned::OwnedPartitions;
use crate::server::session::Session;
use crate::server::transaction::{BEGIN, rollback};
use crate::server::trouble::Trouble;
use crate::stop::Stop;

/// Begins and locks in one round trip; returns the transaction's id. Where not all is ours, no transaction is left open.
pub(crate) async fn begin_and_lock(
    session: &mut Session,
    operation: &'static str,
    ledger: &Ledger,
    (statement, owned): (&Statement, &OwnedPartitions),
) -> Result<i64, Stop> {
    session.in_doubt = true;
    let asked = &*session;
    let (begun, locked) =
        futures_util::future::join(asked.client.batch_execute(BEGIN), ledger.lock(asked, statement, owned))
            .await;
    let locked = begun.and(locked);
    if !matches!(locked, Ok(LockOutcome::Locked { .. })) {
        rollback(session).await;
    }
    match locked {
        Ok(LockOutcome::Locked { transaction }) => Ok(transaction),
        Ok(LockOutcome::Refused(partitions)) => Err(Stop::Refused(partitions)),
        Err(error) => Err(Trouble::of(operation, error).into()),
    }
}

/// Begins, locks and works, so that the first statement of the work goes with the lock in one round trip; returns the
/// transaction's id and what the work came to.
///
/// PostgreSQL takes the statements one after the other, so nothing is done before the lock is there, and where not all is ours
/// that is known before the work's first answer: what it has done by then is rolled back, and the rest of it is not done.
pub(crate) async fn begin_lock_and_work<T>(
    session: &mut Session,
    operation: &'static str,
    ledger: &Ledger,
    (statement, owned): (&Statement, &OwnedPartitions),
    work: impl AsyncFnOnce(&Session) -> Result<T, Trouble>,
) -> Result<(i64, T), Stop> {
    session.in_doubt = true;
    let asked = &*session;
    let failed = |error| Stop::from(Trouble::of(operation, error));
    let begun = asked.client.batch_execute(BEGIN).map_err(failed);
    let locked = async {
        match ledger.lock(asked, statement, owned).await.map_err(failed)? {
            LockOutcome::Locked { transaction } => Ok(transaction),
            LockOutcome::Refused(partitions) => Err(Stop::Refused(partitions)),
        }
    };
    // They are polled, and so sent, in this order; the first failure in this order ends all of them.
    let done = futures_util::future::try_join3(begun, locked, work(asked).map_err(Stop::from)).await;
    match done {
        Ok(((), transaction, value)) => Ok((transaction, value)),
        Err(stop) => {
            rollback(session).await;
            Err(stop)
        }
    }
}
