//! The ledger's rows of partitions that are ours: locked for a batch, or only looked at.

use cdc_machine::Epoch;
use cdc_syncer::Partition;
use tokio_postgres::{Error, Statement};

use crate::ledger::Ledger;
use crate::ledger::owned::OwnedPartitions;
use crate::server::session::Session;
use crate::server::trouble::Trouble;

const OPERATION: &str = "ledger_check";

/// The statement that starts every batch. `txid_current()` names the transaction whose commit is verified.
pub(crate) const LOCK_OWNED: &str = "\
SELECT p.topic, p.partition, p.next_offset, txid_current() FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[]) \
AS c(topic, partition, epoch, owner, server) \
ON p.topic = c.topic AND p.partition = c.partition AND p.epoch = c.epoch AND p.owner = c.owner \
WHERE p.consumer_group = $1 AND c.server = pg_postmaster_start_time() ORDER BY p.topic, p.partition FOR KEY SHARE OF p";

/// The same question without the lock.
const CHECK: &str = "\
SELECT p.topic, p.partition, p.next_offset FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[]) \
AS c(topic, partition, epoch, owner, server) \
ON p.topic = c.topic AND p.partition = c.partition AND p.epoch = c.epoch AND p.owner = c.owner \
WHERE p.consumer_group = $1 AND c.server = pg_postmaster_start_time()";

/// What the locking of a batch's partitions came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LockOutcome {
    /// All are locked until the transaction ends, whose id this is.
    Locked { transaction: i64 },
    /// These are somebody else's now.
    Refused(Vec<Partition>),
}

impl Ledger {
    /// Locks a batch's partitions until its transaction ends. Runs inside that transaction, and first in it.
    pub(crate) async fn lock(
        &self,
        session: &Session,
        statement: &Statement,
        owned: &OwnedPartitions,
    ) -> Result<LockOutcome, Error> {
        let rows = session
            .client
            .query(
                statement,
                &[
                    &self.consumer_group,
                    &owned.topics,
                    &owned.numbers,
                    &owned.epochs,
                    &owned.owners,
                    &owned.servers,
                ],
            )
            .await?;
        let missing = owned.missing_from(&rows);
        match rows.first() {
            Some(row) if missing.is_empty() => Ok(LockOutcome::Locked { transaction: row.get(3) }),
            _ => Ok(LockOutcome::Refused(missing)),
        }
    }

    /// The partitions that are not ours any more, were taken on another server, or stand lower than we left them.
    pub(crate) async fn check(
        &self,
        session: &mut Session,
        wanted: &[(Partition, Epoch)],
    ) -> Result<Vec<Partition>, Trouble> {
        // Those that were never ours need no question.
        let (owned, mut refused) = self.known(wanted);
        if owned.partitions.is_empty() {
            return Ok(refused);
        }
        let asked = async {
            let statement = session.prepare(&CHECK.into(), &[]).await?;
            let group = &self.consumer_group;
            session
                .client
                .query(
                    &statement,
                    &[group, &owned.topics, &owned.numbers, &owned.epochs, &owned.owners, &owned.servers],
                )
                .await
        };
        let rows = asked.await.map_err(|error| Trouble::of(OPERATION, error))?;
        refused.extend(owned.missing_from(&rows));
        Ok(refused)
    }
}
