//! From records to candidates: what a record says, and which row it is about.

pub(crate) mod no_row;

use std::borrow::Cow;

use cdc_event::{ClusterTime, DecodeError, Envelope, FullDocument, Operation, row_id_text};
use cdc_ports::{CONTROL_KINDS, Fate, KafkaRecord, WriteCounts};
use cdc_syncer::{Partition, Reject, Rejected, Row};

use self::no_row::NoRow;
use crate::bindings::{BatchTopics, Binding};
use crate::mapping::Deletes;

/// Characters of a name in a message that is refused for it.
const NAME_CHARS: usize = 64;

/// Where a record is kept on its way to a row: in a batch, or among the parked.
pub(crate) trait Incoming {
    /// The partition that it was read from.
    fn partition(&self) -> Partition;
    fn record(&self) -> &KafkaRecord;
}

impl Incoming for Row<KafkaRecord> {
    fn partition(&self) -> Partition {
        self.partition
    }

    fn record(&self) -> &KafkaRecord {
        &self.handle
    }
}

/// A record that takes part in the contest for its row.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// Its index among the records.
    pub(crate) index: usize,
    /// Its event is sampled.
    pub(crate) is_sampled: bool,
    /// The row's id as text; equal exactly for equal `_id`s.
    pub(crate) row_id: Cow<'a, str>,
    pub(crate) envelope: Envelope<'a>,
}

/// A batch's records, decoded.
#[derive(Debug, Default)]
pub(crate) struct Records<'a> {
    /// By the place of their topic in the batch.
    pub(crate) candidates: Vec<Vec<Candidate<'a>>>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) counts: WriteCounts,
}

/// Decodes records. Null lookups, control messages and Kafka tombstones are counted, and touch nothing.
pub(crate) fn decode<'a, R: Incoming>(incoming: &'a [R], topics: &BatchTopics) -> Records<'a> {
    let mut records = Records::default();
    records.candidates.resize_with(topics.topics.len(), Vec::new);
    if let [all] = &mut records.candidates[..] {
        all.reserve(incoming.len());
    }
    let mut last = None;
    for (index, it) in incoming.iter().enumerate() {
        let is_sampled = it.record().trace.is_some();
        let Some(value) = it.record().value() else {
            records.counts.ignored += 1;
            records.counts.sampled.extend(is_sampled.then_some((index, Fate::Ignored)));
            continue;
        };
        // Neighbours mostly share a partition.
        let place = match last {
            Some((partition, place)) if partition == it.partition() => Some(place),
            _ => topics.place(it.partition()),
        };
        last = place.map(|place| (it.partition(), place));
        // Each partition of the batch is owned, and each that is owned has a topic.
        let Some((binding, home)) =
            place.and_then(|place| topics.topics.get(place).zip(records.candidates.get_mut(place)))
        else {
            continue;
        };
        match decode_record(it.record().key(), value, binding) {
            Ok(Decoded::Candidate(row_id, envelope)) => {
                let sent_ms = it.record().timestamp_ms;
                records.counts.older(Some(committed_by(envelope.cluster_time, sent_ms)));
                home.push(Candidate { index, is_sampled, row_id, envelope });
            }
            Ok(Decoded::NullLookup) => {
                records.counts.null_lookups += 1;
                records.counts.sampled.extend(is_sampled.then_some((index, Fate::NullLookup)));
            }
            Ok(Decoded::Ignored) => {
                records.counts.ignored += 1;
                records.counts.sampled.extend(is_sampled.then_some((index, Fate::Ignored)));
            }
            Ok(Decoded::Control(kind)) => {
                records.counts.ignored += 1;
                records.counts.sampled.extend(is_sampled.then_some((index, Fate::Ignored)));
                let known = CONTROL_KINDS.iter().zip(&mut records.counts.controls);
                known.filter(|(known, _)| **known == kind).for_each(|(_, messages)| *messages += 1);
            }
            Err(no_row) => records.rejected.push(no_row.rejects(index)),
        }
    }
    records
}

/// By when a change was committed at the source, in Unix milliseconds. The cluster time tells the second alone: it was by
/// the second's end, or by when the message was sent, if that was before.
fn committed_by(time: ClusterTime, sent_ms: i64) -> i64 {
    let second_end = (i64::from(time.t) + 1) * 1000;
    if sent_ms > 0 { second_end.min(sent_ms) } else { second_end }
}

#[expect(
    clippy::large_enum_variant,
    reason = "almost every record is a candidate, and a box for each would allocate"
)]
enum Decoded<'a> {
    Candidate(Cow<'a, str>, Envelope<'a>),
    NullLookup,
    Ignored,
    Control(Operation),
}

fn decode_record<'a>(key: &'a [u8], value: &'a [u8], binding: &Binding) -> Result<Decoded<'a>, NoRow> {
    let envelope = Envelope::parse(value).map_err(|error| {
        let newer = matches!(error, DecodeError::NewerVersion(_));
        let reason = if newer { Reject::NewerVersion } else { Reject::Malformed };
        NoRow::new(reason, error.to_string())
    })?;
    // Of whichever collection: it goes to every partition of every topic.
    if envelope.operation.is_control() {
        tell(&envelope);
        return Ok(Decoded::Control(envelope.operation));
    }
    if !binding.namespace.is(&envelope.database, &envelope.collection) {
        return Err(wrong_namespace(binding, &envelope));
    }
    match (envelope.operation, envelope.full_document) {
        (Operation::Delete, _) if binding.home.mapping.deletes == Deletes::Ignore => {
            return Ok(Decoded::Ignored);
        }
        (Operation::Update, FullDocument::Null) => return Ok(Decoded::NullLookup),
        (Operation::Delete, _) | (_, FullDocument::Present(_)) => {}
        (_, FullDocument::Absent | FullDocument::Null) => {
            return Err(NoRow::new(Reject::Malformed, "the message has no full_document"));
        }
    }
    let row_id = row_id_text(key)
        .map_err(|_| NoRow::new(Reject::Malformed, "the message's key is not the text of an _id"))?;
    Ok(Decoded::Candidate(row_id, envelope))
}

/// Why a message of another collection has no row. The names in it are anybody's: cut, and escaped.
fn wrong_namespace(binding: &Binding, envelope: &Envelope<'_>) -> NoRow {
    let cut = |name: &str| name.chars().take(NAME_CHARS).collect::<String>();
    let (database, collection) = (cut(&envelope.database), cut(&envelope.collection));
    NoRow::new(
        Reject::WrongNamespace,
        format!(
            "topic {} carries {}, and the message names database {database:?}, collection {collection:?}; \
             each collection has a topic of its own, and kafka.namespaces says which",
            binding.topic, binding.namespace
        ),
    )
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
