//! Who owns a partition, and how far it is written.
//!
//! Taking a partition locks its row `FOR UPDATE`, which waits for every batch that holds it, and raises its
//! epoch, which refuses every later one. A batch holds its partitions' rows `FOR KEY SHARE`: batches do not
//! wait for each other, nor for the recording of offsets, which leaves the key alone.

pub(crate) mod members;
pub(crate) mod owned;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cdc_machine::{Epoch, Fault};
use cdc_ports::{KafkaRecord, LedgerClaim, LedgerCommit, LedgerEntry, TopicPartition};
use cdc_syncer::{OffsetGap, Partition, Row, WorkerId};
use tokio_postgres::{Error, Statement};

use crate::ledger::owned::{Held, Holds};
use crate::parked;
use crate::server::session::Session;
use crate::server::transaction::{begin, commit, rollback};
use crate::server::trouble::Trouble;

/// The statement that starts every batch. `txid_current()` names the transaction whose commit is verified.
pub(crate) const HOLD: &str = "\
SELECT p.topic, p.partition, p.next_offset, txid_current() FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[], $4::bigint[], $5::text[]) AS c(topic, partition, epoch, owner) \
ON p.topic = c.topic AND p.partition = c.partition AND p.epoch = c.epoch AND p.owner = c.owner \
WHERE p.consumer_group = $1 ORDER BY p.topic, p.partition FOR KEY SHARE OF p";

/// The same question without the hold.
const CHECK: &str = "\
SELECT p.topic, p.partition, p.next_offset FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[], $4::bigint[], $5::text[]) AS c(topic, partition, epoch, owner) \
ON p.topic = c.topic AND p.partition = c.partition AND p.epoch = c.epoch AND p.owner = c.owner \
WHERE p.consumer_group = $1";

/// The offset is the end of its log, if it is still where the partition stands.
const SEE: &str = "\
UPDATE cdc.partitions AS p SET end_seen = c.end_seen \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::bigint[]) \
AS c(topic, partition, epoch, owner, end_seen) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner AND p.next_offset = c.end_seen \
AND p.end_seen IS DISTINCT FROM c.end_seen";

/// One statement, so that no offset moves without its gap; where nothing was lost there is none.
const MOVE: &str = "\
WITH moved AS (UPDATE cdc.partitions AS p SET next_offset = c.to_offset, end_seen = NULL \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::text[]) \
AS c(topic, partition, epoch, owner, from_offset, to_offset, cause) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner \
RETURNING p.topic, p.partition, p.next_offset, c.from_offset, c.cause), \
noted AS (INSERT INTO cdc.gaps (consumer_group, topic, partition, from_offset, to_offset, cause) \
SELECT $1, topic, partition, from_offset, next_offset, cause FROM moved WHERE cause IS NOT NULL) \
SELECT topic, partition, next_offset FROM moved";

const ADD_MISSING: &str = "\
INSERT INTO cdc.partitions (consumer_group, topic, partition) \
SELECT $1, c.topic, c.partition FROM unnest($2::text[], $3::int[]) AS c(topic, partition) \
ON CONFLICT DO NOTHING";

const LOCK: &str = "\
SELECT txid_current() FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 ORDER BY p.topic, p.partition FOR UPDATE OF p";

const TAKE: &str = "\
UPDATE cdc.partitions AS p SET epoch = p.epoch + 1, owner = gen_random_uuid()::text \
FROM unnest($2::text[], $3::int[]) AS c(topic, partition) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
RETURNING p.topic, p.partition, p.epoch, p.owner, p.next_offset, p.end_seen";

/// How many rows of each partition are parked, by worker. A route is a 64-bit hash without a sign.
const PARKED: &str = "\
SELECT p.topic, p.partition, mod(p.route, $4::int)::int, count(*) FROM cdc.parked AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 GROUP BY 1, 2, 3";

const RECORD: &str = "\
UPDATE cdc.partitions AS p SET next_offset = c.next_offset \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::bigint[]) \
AS c(topic, partition, epoch, owner, next_offset) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner RETURNING p.topic, p.partition, p.next_offset";

const ACQUIRE: &str = "ledger_acquire";
const RECORDING: &str = "ledger_record";
const MOVING: &str = "ledger_move";
const CHECKING: &str = "ledger_check";
const SEEING: &str = "ledger_ends";

/// What the statements that take partitions answer.
struct Taken {
    transaction: i64,
    rows: Vec<tokio_postgres::Row>,
    parked: Vec<tokio_postgres::Row>,
}

/// What the hold of a batch's partitions came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HoldOutcome {
    /// All are held until the transaction ends, whose id this is.
    Held { transaction: i64 },
    /// These are somebody else's now.
    Refused(Vec<Partition>),
}

/// The ledger of one consumer group, and what of it is ours.
#[derive(Debug)]
pub(crate) struct Ledger {
    consumer_group: String,
    held: Mutex<HashMap<Partition, Held>>,
}

impl Ledger {
    pub(crate) fn new(consumer_group: String) -> Self {
        Self { consumer_group, held: Mutex::new(HashMap::new()) }
    }

    pub(crate) fn consumer_group(&self) -> &str {
        &self.consumer_group
    }

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
        begin(session, ACQUIRE).await?;
        let Taken { transaction, rows, parked } = match self.take(session, claims, workers).await {
            Ok(taken) => taken,
            Err(error) => {
                rollback(session).await;
                return Err(Trouble::of(ACQUIRE, error));
            }
        };
        commit(session, ACQUIRE, transaction).await?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
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
                        ACQUIRE,
                        format!("the ledger's row of {} was deleted just now", claim.name.topic),
                    )
                })?;
                held.insert(
                    claim.partition,
                    Held {
                        assignment: claim.epoch,
                        name: claim.name.clone(),
                        epoch: row.get(2),
                        owner: row.get(3),
                        floor: row.get(4),
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
        let locked = session.client.query(LOCK, &[group, &topics, &numbers]).await?;
        // Its own statement: only a snapshot taken after the wait sees what the former owner committed.
        let rows = session.client.query(TAKE, &[group, &topics, &numbers]).await?;
        // Nobody else writes these any more.
        let workers = parked::workers(workers);
        let parked = session.client.query(PARKED, &[group, &topics, &numbers, &workers]).await?;
        let transaction = locked.first().map_or(0, |row| row.get(0));
        Ok(Taken { transaction, rows, parked })
    }

    /// The ledger's rows of a batch; or the partitions that were never, or are no longer, ours.
    pub(crate) fn holds_of(&self, rows: &[Row<KafkaRecord>]) -> Result<Holds, Vec<Partition>> {
        let mut distinct: Vec<(Partition, Epoch)> = Vec::new();
        for row in rows {
            // A batch has a handful of partitions, and neighbours mostly share one.
            if !distinct.iter().rev().any(|known| *known == (row.partition, row.epoch)) {
                distinct.push((row.partition, row.epoch));
            }
        }
        self.holds(&distinct)
    }

    /// Those of the partitions that are ours under these assignments; or those that are not.
    pub(crate) fn holds(&self, wanted: &[(Partition, Epoch)]) -> Result<Holds, Vec<Partition>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<(Partition, &Held)> = Vec::with_capacity(wanted.len());
        let mut refused = Vec::new();
        for (partition, assignment) in wanted {
            match held.get(partition) {
                Some(row) if row.assignment == *assignment => found.push((*partition, row)),
                _ => refused.push(*partition),
            }
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        found.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
        let mut holds = Holds::default();
        for (partition, row) in found {
            holds.push(partition, row);
        }
        Ok(holds)
    }

    /// The partitions of a topic that are ours, each with its assignment.
    pub(crate) fn assigned(&self, topic: &str) -> Vec<(Partition, Epoch)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_topic = held.iter().filter(|(_, row)| &*row.name.topic == topic);
        let mut found: Vec<_> = of_topic.map(|(partition, row)| (*partition, row.assignment)).collect();
        found.sort_unstable();
        found
    }

    /// The topics that these partitions belong to, each once.
    pub(crate) fn topics_of(&self, partitions: &[(Partition, Epoch)]) -> Vec<Arc<str>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let names = partitions.iter().filter_map(|(partition, _)| held.get(partition));
        let mut topics: Vec<Arc<str>> = names.map(|row| Arc::clone(&row.name.topic)).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Holds a batch's partitions until its transaction ends. Runs inside that transaction, and first in it.
    pub(crate) async fn hold(
        &self,
        session: &Session,
        statement: &Statement,
        holds: &Holds,
    ) -> Result<HoldOutcome, Error> {
        let rows = session
            .client
            .query(
                statement,
                &[&self.consumer_group, &holds.topics, &holds.numbers, &holds.epochs, &holds.owners],
            )
            .await?;
        let missing = holds.missing_from(&rows);
        match rows.first() {
            Some(row) if missing.is_empty() => Ok(HoldOutcome::Held { transaction: row.get(3) }),
            _ => Ok(HoldOutcome::Refused(missing)),
        }
    }

    /// Records offsets of partitions that are ours; returns those that are not.
    ///
    /// An offset may also go down: after an operator's rewind the partition is written again from there.
    pub(crate) async fn record(
        &self,
        session: &mut Session,
        offsets: &[LedgerCommit],
    ) -> Result<Vec<Partition>, Trouble> {
        let (holds, next, mut refused) = self.recordable(offsets);
        if holds.partitions.is_empty() {
            return Ok(refused);
        }
        // Until the answer is here the connection must not serve anybody else.
        session.in_doubt = true;
        self.lower_floors(&holds, &next);
        let recorded = async {
            let statement = session.prepare(&RECORD.into(), &[]).await?;
            let client = &session.client;
            let group = &self.consumer_group;
            client
                .query(
                    &statement,
                    &[group, &holds.topics, &holds.numbers, &holds.epochs, &holds.owners, &next],
                )
                .await
        };
        // One statement outside a transaction: its rows are complete only after its commit.
        let rows = recorded.await;
        session.in_doubt = false;
        let rows = rows.map_err(|error| Trouble::of(RECORDING, error))?;
        let missing = holds.unnamed_in(&rows);
        self.set_floors(&holds, &next, &missing);
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
        let (holds, next, mut refused) = self.recordable(&moved);
        if holds.partitions.is_empty() {
            return Ok(refused);
        }
        let gap_of = |partition: &Partition| gaps.iter().find(|gap| gap.partition == *partition);
        let from: Vec<Option<i64>> =
            holds.partitions.iter().map(|partition| gap_of(partition).map(|gap| gap.from)).collect();
        let causes: Vec<Option<&str>> =
            holds.partitions.iter().map(|partition| Some(gap_of(partition)?.loss?.as_str())).collect();
        session.in_doubt = true;
        self.lower_floors(&holds, &next);
        let group = &self.consumer_group;
        let rows = session
            .client
            .query(
                MOVE,
                &[group, &holds.topics, &holds.numbers, &holds.epochs, &holds.owners, &from, &next, &causes],
            )
            .await;
        session.in_doubt = false;
        let rows = rows.map_err(|error| Trouble::of(MOVING, error))?;
        let missing = holds.unnamed_in(&rows);
        self.set_floors(&holds, &next, &missing);
        refused.extend(missing);
        Ok(refused)
    }

    /// Records that partitions of ours stand at the ends of their logs.
    pub(crate) async fn saw_ends(&self, session: &mut Session, ends: &[LedgerCommit]) -> Result<(), Trouble> {
        let (holds, seen, _) = self.recordable(ends);
        if holds.partitions.is_empty() {
            return Ok(());
        }
        let group = &self.consumer_group;
        let recorded = session
            .client
            .execute(SEE, &[group, &holds.topics, &holds.numbers, &holds.epochs, &holds.owners, &seen])
            .await;
        recorded.map(drop).map_err(|error| Trouble::of(SEEING, error))
    }

    /// The partitions that are not ours any more, or stand lower than we left them.
    pub(crate) async fn check(
        &self,
        session: &mut Session,
        wanted: &[(Partition, Epoch)],
    ) -> Result<Vec<Partition>, Trouble> {
        // Those that were never ours need no question.
        let (holds, mut refused) = self.known(wanted);
        if holds.partitions.is_empty() {
            return Ok(refused);
        }
        let asked = async {
            let statement = session.prepare(&CHECK.into(), &[]).await?;
            let group = &self.consumer_group;
            session
                .client
                .query(&statement, &[group, &holds.topics, &holds.numbers, &holds.epochs, &holds.owners])
                .await
        };
        let rows = asked.await.map_err(|error| Trouble::of(CHECKING, error))?;
        refused.extend(holds.missing_from(&rows));
        Ok(refused)
    }

    fn known(&self, wanted: &[(Partition, Epoch)]) -> (Holds, Vec<Partition>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut holds, mut unknown) = (Holds::default(), Vec::new());
        for (partition, assignment) in wanted {
            match held.get(partition) {
                Some(row) if row.assignment == *assignment => holds.push(*partition, row),
                _ => unknown.push(*partition),
            }
        }
        (holds, unknown)
    }

    /// While an offset is on its way the row may show the old one or the new one: whichever is lower.
    fn lower_floors(&self, holds: &Holds, next: &[i64]) {
        self.for_each_held(holds, next, |_, row, next| {
            row.floor = row.floor.map(|floor| floor.min(next));
        });
    }

    /// The offsets are recorded, except for those of partitions that turned out to be somebody else's.
    fn set_floors(&self, holds: &Holds, next: &[i64], refused: &[Partition]) {
        self.for_each_held(holds, next, |partition, row, next| {
            if !refused.contains(&partition) {
                row.floor = Some(next);
            }
        });
    }

    /// Visits the rows that are still held as they were when `holds` was put together, each with its offset.
    fn for_each_held(&self, holds: &Holds, next: &[i64], mut visit: impl FnMut(Partition, &mut Held, i64)) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, partition) in holds.partitions.iter().enumerate() {
            if let (Some(row), Some(next)) = (held.get_mut(partition), next.get(index))
                && holds.epochs.get(index) == Some(&row.epoch)
                && holds.owners.get(index) == Some(&row.owner)
            {
                visit(*partition, row, *next);
            }
        }
    }

    fn recordable(&self, offsets: &[LedgerCommit]) -> (Holds, Vec<i64>, Vec<Partition>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ours: Vec<(&Held, &LedgerCommit)> = Vec::with_capacity(offsets.len());
        let mut refused = Vec::new();
        for offset in offsets {
            match held.get(&offset.partition) {
                Some(row) if row.assignment == offset.epoch => ours.push((row, offset)),
                _ => refused.push(offset.partition),
            }
        }
        ours.sort_unstable_by(|a, b| a.0.name.cmp(&b.0.name));
        let mut holds = Holds::default();
        let mut next = Vec::with_capacity(ours.len());
        for (row, offset) in ours {
            holds.push(offset.partition, row);
            next.push(offset.next_offset);
        }
        (holds, next, refused)
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
