//! The beginning of every transaction that writes rows: it locks its partitions in the ledger.

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
