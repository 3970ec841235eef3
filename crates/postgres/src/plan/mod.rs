//! From a batch's records to the rows of each table: who takes part, who wins, who is rejected.

pub(crate) mod row;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cdc_event::{DecodeError, Envelope, FullDocument, Operation, row_id_text};
use cdc_ports::{CONTROL_KINDS, KafkaRecord, WriteCounts};
use cdc_syncer::{Reject, Rejected, Row};
use postgres_types::Type;

use crate::bindings::{BatchTopics, Binding};
use crate::plan::row::{NoRow, RowWriter};
use crate::tables::inspections::Names;
use crate::tables::targets::{Feeding, Target};
use crate::values::buffer::ColumnBuffer;

/// A record that takes part in the contest for its row.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// The row's id as text; equal exactly for equal `_id`s.
    pub(crate) row_id: Cow<'a, str>,
    pub(crate) envelope: Envelope<'a>,
}

/// A batch's records, read.
#[derive(Debug, Default)]
pub(crate) struct Records<'a> {
    /// By the place of their topic in the batch.
    pub(crate) candidates: Vec<Vec<Candidate<'a>>>,
    rejected: Vec<Rejected>,
    counts: WriteCounts,
}

/// Reads a batch's records. Null lookups, control messages and Kafka tombstones are counted, and touch nothing.
pub(crate) fn read_records<'a>(rows: &'a [Row<KafkaRecord>], topics: &BatchTopics) -> Records<'a> {
    let mut records = Records::default();
    records.candidates.resize_with(topics.topics.len(), Vec::new);
    if let [all] = &mut records.candidates[..] {
        all.reserve(rows.len());
    }
    let mut last = None;
    for (index, row) in rows.iter().enumerate() {
        let Some(value) = &row.handle.value else {
            records.counts.ignored += 1;
            continue;
        };
        // Neighbours mostly share a partition.
        let place = match last {
            Some((partition, place)) if partition == row.partition => Some(place),
            _ => topics.place(row.partition),
        };
        last = place.map(|place| (row.partition, place));
        // Each partition of the batch is held, and each that is held has a topic.
        let Some((binding, home)) =
            place.and_then(|place| topics.topics.get(place).zip(records.candidates.get_mut(place)))
        else {
            continue;
        };
        match read_record(&row.handle.key, value, binding) {
            Ok(Read::Candidate(row_id, envelope)) => home.push(Candidate { index, row_id, envelope }),
            Ok(Read::NullLookup) => records.counts.null_lookups += 1,
            Ok(Read::Control(kind)) => {
                records.counts.ignored += 1;
                let known = CONTROL_KINDS.iter().zip(&mut records.counts.controls);
                known.filter(|(known, _)| **known == kind).for_each(|(_, messages)| *messages += 1);
            }
            Err(no_row) => records.rejected.push(no_row.rejects(index)),
        }
    }
    records
}

#[expect(
    clippy::large_enum_variant,
    reason = "almost every record is a candidate, and a box for each would allocate"
)]
enum Read<'a> {
    Candidate(Cow<'a, str>, Envelope<'a>),
    NullLookup,
    Control(Operation),
}

fn read_record<'a>(key: &'a [u8], value: &'a [u8], binding: &Binding) -> Result<Read<'a>, NoRow> {
    let envelope = Envelope::parse(value).map_err(|error| {
        let newer = matches!(error, DecodeError::NewerVersion(_));
        let reason = if newer { Reject::NewerVersion } else { Reject::Malformed };
        NoRow::new(reason, error.to_string())
    })?;
    // Of whichever collection: it goes to every partition of every topic.
    if envelope.operation.is_control() {
        tell(&envelope);
        return Ok(Read::Control(envelope.operation));
    }
    if !binding.namespace.is(&envelope.database, &envelope.collection) {
        return Err(binding.refuses(&envelope));
    }
    match (envelope.operation, envelope.full_document) {
        (Operation::Update, FullDocument::Null) => return Ok(Read::NullLookup),
        (Operation::Delete, _) | (_, FullDocument::Present(_)) => {}
        (_, FullDocument::Absent | FullDocument::Null) => {
            return Err(NoRow::new(Reject::Malformed, "the message has no full_document"));
        }
    }
    let row_id = row_id_text(key)
        .map_err(|_| NoRow::new(Reject::Malformed, "the message's key is not the text of an _id"))?;
    Ok(Read::Candidate(row_id, envelope))
}

/// Control messages touch no row: a dropped collection's rows stay. They are for people to know.
fn tell(envelope: &Envelope<'_>) {
    let (operation, position) = ("control_message", envelope.position);
    let kind = envelope.operation.name();
    match &envelope.gap {
        Some(gap) => tracing::warn!(
            operation,
            kind,
            %position,
            cause = %gap.cause,
            collections = %gap.collections.join(", "),
            from = gap.from.as_deref().unwrap_or("unknown"),
            to = %gap.to,
            "the source's history has a gap: rows of these collections may be older than their documents"
        ),
        None => tracing::info!(
            operation,
            kind,
            %position,
            database = %envelope.database,
            collection = %envelope.collection,
            "the collection was dropped or renamed, or a copy began or ended; its rows stay"
        ),
    }
}

/// What is to be written, table by table, and what is not.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Sorted by table, so that all writers lock tables' rows in one order.
    pub(crate) tables: Vec<TablePlan>,
    /// Records that cannot be written.
    pub(crate) rejected: Vec<Rejected>,
    /// What is known before anything is written.
    pub(crate) counts: WriteCounts,
    /// What another look at the tables may change.
    pub(crate) doubts: Vec<Doubt>,
}

/// A topic's table, as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct KnownTable {
    pub(crate) target: Arc<Target>,
    /// Fields that have been looked for, and have no column.
    pub(crate) absent: Arc<Names>,
}

/// A topic of whose records some do not fit what is known of its table.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// The topic's place among those of the batch.
    pub(crate) place: usize,
    /// Fields for which no column is known, and that were not looked for yet.
    pub(crate) unknown: Vec<String>,
}

/// One table's rows, sorted by row id.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) target: Arc<Target>,
    /// The index in the batch of one of its records: they are all of one topic.
    pub(crate) record: usize,
    pub(crate) upserts: Upserts,
    pub(crate) deletes: Deletes,
    /// Columns of the target that documents feed for the first time, as far as is known.
    pub(crate) newly_fed: Vec<String>,
}

/// Rows to insert or update, a buffer for each column of the statements' source.
#[derive(Debug)]
pub(crate) struct Upserts {
    pub(crate) buffers: Vec<ColumnBuffer>,
    /// What parking has to know of each row; nothing where nothing is parked.
    pub(crate) keys: Option<Keys>,
}

/// What parking has to know of the rows.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The index in the batch of the record that each row comes from.
    pub(crate) origins: Vec<usize>,
    /// The rows' ids as text.
    pub(crate) row_ids: ColumnBuffer,
    pub(crate) positions: ColumnBuffer,
}

impl Keys {
    fn new() -> Self {
        Self {
            origins: Vec::new(),
            row_ids: ColumnBuffer::new(Type::TEXT),
            positions: ColumnBuffer::new(Type::BYTEA),
        }
    }

    fn push(&mut self, candidate: &Candidate<'_>) {
        self.origins.push(candidate.index);
        self.row_ids.push_bytes(candidate.row_id.as_bytes());
        self.positions.push_bytes(candidate.envelope.position.as_bytes());
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            origins: rows.iter().map(|row| self.origins[*row]).collect(),
            row_ids: self.row_ids.select(rows),
            positions: self.positions.select(rows),
        }
    }
}

impl Upserts {
    /// These rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            buffers: self.buffers.iter().map(|buffer| buffer.select(rows)).collect(),
            keys: self.keys.as_ref().map(|keys| keys.select(rows)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffers.first().map_or(0, ColumnBuffer::len)
    }
}

/// Rows to delete.
#[derive(Debug)]
pub(crate) struct Deletes {
    /// The index in the batch of the record that each row comes from.
    pub(crate) origins: Vec<usize>,
    pub(crate) ids: ColumnBuffer,
    pub(crate) row_ids: ColumnBuffer,
    pub(crate) positions: ColumnBuffer,
}

impl Deletes {
    fn new(id: Type) -> Self {
        Self {
            origins: Vec::new(),
            ids: ColumnBuffer::new(id),
            row_ids: ColumnBuffer::new(Type::TEXT),
            positions: ColumnBuffer::new(Type::BYTEA),
        }
    }

    /// These rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            origins: rows.iter().map(|row| self.origins[*row]).collect(),
            ids: self.ids.select(rows),
            row_ids: self.row_ids.select(rows),
            positions: self.positions.select(rows),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl Plan {
    /// Decides, for every row of every table, which record it gets: the one of the greatest position among
    /// those that convert. A record that does not is rejected, and the next one gets its chance. With
    /// `keeps_keys` the rows can be parked.
    pub(crate) fn new(records: Records<'_>, targets: &[Option<KnownTable>], keeps_keys: bool) -> Self {
        let Records { candidates, mut rejected, mut counts } = records;
        let written_at = unix_micros();
        let mut tables = Vec::with_capacity(targets.len());
        let mut doubts = Vec::new();
        for (place, (known, mut contest)) in targets.iter().zip(candidates).enumerate() {
            let Some(known) = known else { continue };
            contest.sort_unstable_by(|a, b| {
                a.row_id
                    .cmp(&b.row_id)
                    .then_with(|| b.envelope.position.cmp(&a.envelope.position))
                    .then_with(|| a.index.cmp(&b.index))
            });
            let refused = rejected.len();
            let (plan, unknown) =
                TablePlan::new(known, &contest, (written_at, keeps_keys), &mut rejected, &mut counts);
            if rejected.len() > refused || !unknown.is_empty() {
                doubts.push(Doubt { place, unknown });
            }
            if plan.upserts.len() > 0 || !plan.deletes.is_empty() || !plan.newly_fed.is_empty() {
                tables.push(plan);
            }
        }
        tables.sort_unstable_by_key(|writes| writes.target.table.label());
        rejected.sort_unstable_by_key(|rejected| rejected.index);
        Self { tables, rejected, counts, doubts }
    }
}

impl Plan {
    /// What the plan feeds for the first time, as far as is known.
    pub(crate) fn feedings(&self) -> Vec<Feeding> {
        let new = self.tables.iter().filter(|table| !table.newly_fed.is_empty());
        new.map(|table| Feeding { table: table.target.table.label(), columns: table.newly_fed.clone() })
            .collect()
    }
}

impl TablePlan {
    /// `contest` is sorted by row id, and then from the greatest position down.
    ///
    /// The statements name the columns that documents have fed so far. Where these documents feed more, the rows
    /// are laid out again: at most once for each column of the table, ever.
    fn new(
        known: &KnownTable,
        contest: &[Candidate<'_>],
        (written_at, keeps_keys): (i64, bool),
        rejected: &mut Vec<Rejected>,
        counts: &mut WriteCounts,
    ) -> (Self, Vec<String>) {
        let target = Arc::clone(&known.target);
        let absent = &*known.absent;
        let mut layout = Layout { target, absent, written_at, keeps_keys, refused: BTreeMap::new() };
        let mut newly_fed: Vec<String> = Vec::new();
        loop {
            let laid_out = layout.lay_out(contest);
            if laid_out.feeds.is_empty() {
                let Layout { target, refused, .. } = layout;
                rejected.extend(refused.into_iter().map(|(index, no_row)| no_row.rejects(index)));
                counts.merged += laid_out.merged;
                counts.newest_unix_seconds = counts.newest_unix_seconds.max(laid_out.newest_unix_seconds);
                let LaidOut { upserts, deletes, unknown, .. } = laid_out;
                let record = contest.first().map_or(0, |candidate| candidate.index);
                return (Self { target, record, upserts, deletes, newly_fed }, unknown);
            }
            layout.target = Arc::new(layout.target.feeding(&laid_out.feeds));
            newly_fed.extend(laid_out.feeds);
        }
    }
}

/// What it takes to lay out a table's rows.
struct Layout<'k> {
    target: Arc<Target>,
    /// Fields that are known to have no column.
    absent: &'k Names,
    written_at: i64,
    keeps_keys: bool,
    /// The records that have no row, by their index in the batch. They have none in a later round either.
    refused: BTreeMap<usize, NoRow>,
}

/// A table's rows, and what the round found.
struct LaidOut {
    upserts: Upserts,
    deletes: Deletes,
    /// Columns that the rows lack, because no document had fed them before these.
    feeds: Vec<String>,
    /// Fields for which no column is known, and that were not looked for yet.
    unknown: Vec<String>,
    merged: u64,
    newest_unix_seconds: u32,
}

impl Layout<'_> {
    fn lay_out(&mut self, contest: &[Candidate<'_>]) -> LaidOut {
        let target = &*self.target;
        let id = target.table.columns.first().map_or(Type::TEXT, |column| column.column_type.wire());
        let mut upserts =
            Upserts { buffers: target.statements.buffers(), keys: self.keeps_keys.then(Keys::new) };
        let mut deletes = Deletes::new(id);
        let (mut merged, mut newest_unix_seconds) = (0, 0);
        let mut writer = RowWriter::new(target, self.written_at).knowing(self.absent);
        for rivals in contest.chunk_by(|a, b| a.row_id == b.row_id) {
            let mut rivals = rivals.iter();
            for candidate in rivals.by_ref() {
                if self.refused.contains_key(&candidate.index) {
                    continue;
                }
                let converted = if candidate.envelope.operation == Operation::Delete {
                    writer.delete(candidate, &mut deletes).inspect(|()| deletes.origins.push(candidate.index))
                } else {
                    writer.upsert(candidate, &mut upserts).inspect(|()| {
                        if let Some(keys) = &mut upserts.keys {
                            keys.push(candidate);
                        }
                    })
                };
                match converted {
                    Ok(()) => {
                        newest_unix_seconds = newest_unix_seconds.max(candidate.envelope.cluster_time.t);
                        break;
                    }
                    Err(no_row) => drop(self.refused.insert(candidate.index, no_row)),
                }
            }
            merged += rivals.len() as u64;
        }
        let feeds = writer.newly_fed();
        LaidOut { feeds, unknown: writer.into_unknown(), upserts, deletes, merged, newest_unix_seconds }
    }
}

/// The time of the write, in Unix microseconds.
fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
