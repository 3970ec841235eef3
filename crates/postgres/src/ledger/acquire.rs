//! Partitions are taken: whoever had them before is waited for, and refused from then on.

use std::sync::PoisonError;

use cdc_machine::Fault;
use cdc_ports::{LedgerClaim, LedgerEntry, TopicPartition};
use cdc_syncer::WorkerId;
use tokio_postgres::Error;

use crate::ledger::Ledger;
use crate::ledger::owned::OwnedPartition;
use crate::parked;
use crate::server::session::Session;
use crate::server::transaction::{begin, commit, rollback};
use crate::server::trouble::Trouble;

const OPERATION: &str = "ledger_acquire";

const ADD_MISSING: &str = "\
INSERT INTO cdc.partitions (consumer_group, topic, partition) \
SELECT $1, c.topic, c.partition FROM unnest($2::text[], $3::int[]) AS c(topic, partition) \
ON CONFLICT DO NOTHING";

const LOCK_TO_TAKE: &str = "\
SELECT txid_current() FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 ORDER BY p.topic, p.partition FOR UPDATE OF p";

const TAKE: &str = "\
UPDATE cdc.partitions AS p SET epoch = p.epoch + 1, owner = gen_random_uuid()::text \
FROM unnest($2::text[], $3::int[]) AS c(topic, partition) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
RETURNING p.topic, p.partition, p.epoch, p.owner, p.next_offset, p.end_seen, pg_postmaster_start_time()";

/// How many rows of each partition are parked, by worker. A route is a 64-bit hash without a sign.
const PARKED: &str = "\
SELECT p.topic, p.partition, mod(p.route, $4::int)::int, count(*) FROM cdc.parked AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 GROUP BY 1, 2, 3";

/// What the statements that take partitions answer.
struct Taken {
    transaction: i64,
    rows: Vec<tokio_postgres::Row>,
    parked: Vec<tokio_postgres::Row>,
}

impl Ledger {
    /// Takes the partitions and returns what the ledger has of them, in the same order.
    pub(crate) async fn acquire(
        &self,
        session: &mut Session,
        claims: &[LedgerClaim],
        workers: u32,
    ) -> Result<Vec<LedgerEntry>, Trouble> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        begin(session, OPERATION).await?;
        let Taken { transaction, rows, parked } = match self.take(session, claims, workers).await {
            Ok(taken) => taken,
            Err(error) => {
                rollback(session).await;
                return Err(Trouble::of(OPERATION, error));
            }
        };
        commit(session, OPERATION, transaction).await?;
        let mut ours = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        claims
            .iter()
            .map(|claim| {
                let row = rows.iter().find(|row| {
                    row.get::<_, &str>(0) == &*claim.name.topic
                        && row.get::<_, i32>(1) == claim.name.partition
                });
                let row = row.ok_or_else(|| {
                    Trouble::new(
                        Fault::Transient,
                        OPERATION,
                        format!("the ledger's row of {} was deleted just now", claim.name.topic),
                    )
                })?;
                ours.insert(
                    claim.partition,
                    OwnedPartition {
                        assignment: claim.epoch,
                        name: claim.name.clone(),
                        epoch: row.get(2),
                        owner: row.get(3),
                        floor: row.get(4),
                        server: row.get(6),
                    },
                );
                let parked = parked_of(&parked, &claim.name);
                Ok(LedgerEntry { next_offset: row.get(4), end_seen: row.get(5), parked, held: None })
            })
            .collect()
    }

    async fn take(&self, session: &Session, claims: &[LedgerClaim], workers: u32) -> Result<Taken, Error> {
        let mut names: Vec<&TopicPartition> = claims.iter().map(|claim| &claim.name).collect();
        names.sort_unstable();
        names.dedup();
        let topics: Vec<&str> = names.iter().map(|name| &*name.topic).collect();
        let numbers: Vec<i32> = names.iter().map(|name| name.partition).collect();
        let group = &self.consumer_group;
        session.client.execute(ADD_MISSING, &[group, &topics, &numbers]).await?;
        let locked = session.client.query(LOCK_TO_TAKE, &[group, &topics, &numbers]).await?;
        // Its own statement: only a snapshot taken after the wait sees what the former owner committed.
        let rows = session.client.query(TAKE, &[group, &topics, &numbers]).await?;
        // Nobody else writes these any more.
        let workers = parked::workers(workers);
        let parked = session.client.query(PARKED, &[group, &topics, &numbers, &workers]).await?;
        let transaction = locked.first().map_or(0, |row| row.get(0));
        Ok(Taken { transaction, rows, parked })
    }
}

fn parked_of(rows: &[tokio_postgres::Row], name: &TopicPartition) -> Vec<(WorkerId, u64)> {
    rows.iter()
        .filter(|row| row.get::<_, &str>(0) == &*name.topic && row.get::<_, i32>(1) == name.partition)
        .filter_map(|row| {
            let worker = u32::try_from(row.get::<_, i32>(2)).ok()?;
            Some((WorkerId(worker), u64::try_from(row.get::<_, i64>(3)).ok()?))
        })
        .collect()
}
