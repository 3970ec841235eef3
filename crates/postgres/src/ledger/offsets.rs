//! How far partitions are written: offsets on their way into the ledger.
//!
//! Of each the lowest value is remembered that its row may show, its floor: a lower one means that the database is a
//! copy of an earlier one. What is written and not yet recorded leaves no such trace, so nothing is recorded on another
//! server than the one that the partition was taken on.

use std::sync::PoisonError;

use cdc_ports::LedgerCommit;
use cdc_syncer::{OffsetGap, Partition};

use crate::ledger::Ledger;
use crate::ledger::owned::{OwnedPartition, OwnedPartitions};
use crate::server::session::Session;
use crate::server::trouble::Trouble;

/// The offset is the end of its log, if it is still where the partition stands.
const SEE: &str = "\
UPDATE cdc.partitions AS p SET end_seen = c.end_seen \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[], $7::bigint[]) \
AS c(topic, partition, epoch, owner, server, end_seen) \
WHERE c.server = pg_postmaster_start_time() AND p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner AND p.next_offset = c.end_seen \
AND p.end_seen IS DISTINCT FROM c.end_seen";

/// One statement, so that no offset moves without its gap; where nothing was lost there is none.
const MOVE: &str = "\
WITH moved AS (UPDATE cdc.partitions AS p SET next_offset = c.to_offset, end_seen = NULL \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[], $7::bigint[], $8::bigint[], \
$9::text[]) AS c(topic, partition, epoch, owner, server, from_offset, to_offset, cause) \
WHERE c.server = pg_postmaster_start_time() AND p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner \
RETURNING p.topic, p.partition, p.next_offset, c.from_offset, c.cause), \
noted AS (INSERT INTO cdc.gaps (consumer_group, topic, partition, from_offset, to_offset, cause) \
SELECT $1, topic, partition, from_offset, next_offset, cause FROM moved WHERE cause IS NOT NULL) \
SELECT topic, partition, next_offset FROM moved";

const RECORD: &str = "\
UPDATE cdc.partitions AS p SET next_offset = c.next_offset \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::timestamptz[], $7::bigint[]) \
AS c(topic, partition, epoch, owner, server, next_offset) \
WHERE c.server = pg_postmaster_start_time() AND p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner RETURNING p.topic, p.partition, p.next_offset";

const RECORDING: &str = "ledger_record";
const MOVING: &str = "ledger_move";
const SEEING: &str = "ledger_ends";

impl Ledger {
    /// Records offsets of partitions that are ours; returns those that are not.
    ///
    /// An offset may also go down: after an operator's rewind the partition is written again from there.
    pub(crate) async fn record(
        &self,
        session: &mut Session,
        offsets: &[LedgerCommit],
    ) -> Result<Vec<Partition>, Trouble> {
        let (owned, next, mut refused) = self.recordable(offsets);
        if owned.partitions.is_empty() {
            return Ok(refused);
        }
        // Until the answer is here the connection must not serve anybody else.
        session.in_doubt = true;
        self.lower_floors(&owned, &next);
        let recorded = async {
            let statement = session.prepare(&RECORD.into(), &[]).await?;
            let client = &session.client;
            let group = &self.consumer_group;
            client
                .query(
                    &statement,
                    &[
                        group,
                        &owned.topics,
                        &owned.numbers,
                        &owned.epochs,
                        &owned.owners,
                        &owned.servers,
                        &next,
                    ],
                )
                .await
        };
        // One statement outside a transaction: its rows are complete only after its commit.
        let rows = recorded.await;
        session.in_doubt = false;
        let rows = rows.map_err(|error| Trouble::of(RECORDING, error))?;
        let missing = owned.unnamed_in(&rows);
        self.set_floors(&owned, &next, &missing);
        refused.extend(missing);
        Ok(refused)
    }

    /// Moves offsets behind gaps and records those; returns the partitions that are not ours.
    pub(crate) async fn move_offsets(
        &self,
        session: &mut Session,
        gaps: &[OffsetGap],
    ) -> Result<Vec<Partition>, Trouble> {
        let moved: Vec<LedgerCommit> = gaps
            .iter()
            .map(|gap| LedgerCommit { partition: gap.partition, epoch: gap.epoch, next_offset: gap.to })
            .collect();
        let (owned, next, mut refused) = self.recordable(&moved);
        if owned.partitions.is_empty() {
            return Ok(refused);
        }
        let gap_of = |partition: &Partition| gaps.iter().find(|gap| gap.partition == *partition);
        let from: Vec<Option<i64>> =
            owned.partitions.iter().map(|partition| gap_of(partition).map(|gap| gap.from)).collect();
        let causes: Vec<Option<&str>> =
            owned.partitions.iter().map(|partition| Some(gap_of(partition)?.loss?.as_str())).collect();
        session.in_doubt = true;
        self.lower_floors(&owned, &next);
        let group = &self.consumer_group;
        let rows = session
            .client
            .query(
                MOVE,
                &[
                    group,
                    &owned.topics,
                    &owned.numbers,
                    &owned.epochs,
                    &owned.owners,
                    &owned.servers,
                    &from,
                    &next,
                    &causes,
                ],
            )
            .await;
        session.in_doubt = false;
        let rows = rows.map_err(|error| Trouble::of(MOVING, error))?;
        let missing = owned.unnamed_in(&rows);
        self.set_floors(&owned, &next, &missing);
        refused.extend(missing);
        Ok(refused)
    }

    /// Records that partitions of ours stand at the ends of their logs.
    pub(crate) async fn saw_ends(&self, session: &mut Session, ends: &[LedgerCommit]) -> Result<(), Trouble> {
        let (owned, seen, _) = self.recordable(ends);
        if owned.partitions.is_empty() {
            return Ok(());
        }
        let group = &self.consumer_group;
        let recorded = session
            .client
            .execute(
                SEE,
                &[group, &owned.topics, &owned.numbers, &owned.epochs, &owned.owners, &owned.servers, &seen],
            )
            .await;
        recorded.map(drop).map_err(|error| Trouble::of(SEEING, error))
    }

    /// While an offset is on its way the row may show the old one or the new one: whichever is lower.
    fn lower_floors(&self, owned: &OwnedPartitions, next: &[i64]) {
        self.for_each_owned(owned, next, |_, row, next| {
            row.floor = row.floor.map(|floor| floor.min(next));
        });
    }

    /// The offsets are recorded, except for those of partitions that turned out to be somebody else's.
    fn set_floors(&self, owned: &OwnedPartitions, next: &[i64], refused: &[Partition]) {
        self.for_each_owned(owned, next, |partition, row, next| {
            if !refused.contains(&partition) {
                row.floor = Some(next);
            }
        });
    }

    /// Visits the rows that are still ours as they were when `owned` was put together, each with its offset.
    fn for_each_owned(
        &self,
        owned: &OwnedPartitions,
        next: &[i64],
        mut visit: impl FnMut(Partition, &mut OwnedPartition, i64),
    ) {
        let mut ours = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, partition) in owned.partitions.iter().enumerate() {
            if let (Some(row), Some(next)) = (ours.get_mut(partition), next.get(index))
                && owned.epochs.get(index) == Some(&row.epoch)
                && owned.owners.get(index) == Some(&row.owner)
            {
                visit(*partition, row, *next);
            }
        }
    }

    /// Those whose partitions are ours, each with its offset, and the partitions that are not.
    fn recordable(&self, offsets: &[LedgerCommit]) -> (OwnedPartitions, Vec<i64>, Vec<Partition>) {
        self.split(offsets.iter().map(|offset| (offset.partition, offset.epoch, offset.next_offset)))
    }
}
