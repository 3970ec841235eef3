//! The record's members as they are written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cdc_event::{ClusterTime, Position, ResumeToken};
use cdc_machine::Lineage;
use cdc_ports::{GapRecord, ProcessId, RecordedCollection};
use cdc_watcher::{Contents, Known};
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, Saved};

/// The members in the order in which they are written. The checksum is not among them: it covers them.
#[derive(Serialize, Deserialize)]
pub(super) struct WireRecord {
    version: u32,
    incarnation: u64,
    owner: String,
    sequence: u64,
    holder: Option<String>,
    lease_expires_at_ms: i64,
    taken_over_at_ms: Option<i64>,
    resume_token: Option<String>,
    pub(super) position: Option<String>,
    cluster_time: Option<WireTime>,
    lineage: Option<u32>,
    saved_at_ms: Option<i64>,
    /// Missing in a record of an earlier release.
    #[serde(default)]
    event_time: Option<WireTime>,
    position_lost: bool,
    source: String,
    collections: Vec<WireCollection>,
    gaps: Vec<WireGap>,
    /// Missing in a record of an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<WireProcess>,
}

#[derive(Serialize, Deserialize)]
struct WireCollection {
    name: String,
    uuid: String,
    topic: Option<String>,
    partitions: Option<u32>,
    holds_messages: bool,
}

#[derive(Serialize, Deserialize)]
struct WireProcess {
    host: String,
    boot_id: String,
    pid_namespace: String,
    pid: i32,
    started: u64,
    since_ms: i64,
}

impl From<&ProcessId> for WireProcess {
    fn from(process: &ProcessId) -> Self {
        let ProcessId { host, boot_id, pid_namespace, pid, started, since_ms } = process.clone();
        Self { host, boot_id, pid_namespace, pid, started, since_ms }
    }
}

impl From<WireProcess> for ProcessId {
    fn from(process: WireProcess) -> Self {
        let WireProcess { host, boot_id, pid_namespace, pid, started, since_ms } = process;
        Self { host, boot_id, pid_namespace, pid, started, since_ms }
    }
}

/// For people; the position is what counts.
#[derive(Serialize, Deserialize)]
struct WireTime {
    t: u32,
    i: u32,
}

impl From<ClusterTime> for WireTime {
    fn from(ClusterTime { t, i }: ClusterTime) -> Self {
        Self { t, i }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireGap {
    from: Option<String>,
    to: String,
    cause: String,
    collections: Vec<String>,
    opened_at: String,
    announced: bool,
    healed_at: Option<String>,
    /// Since a release that reads records without it, as the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged_at: Option<String>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    stands_for: u32,
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_one(number: &u32) -> bool {
    *number == 1
}

impl From<&Record> for WireRecord {
    fn from(record: &Record) -> Self {
        let saved = record.saved.as_ref();
        Self {
            version: record.version,
            incarnation: record.incarnation,
            owner: record.owner.clone(),
            sequence: record.sequence,
            holder: record.holder.clone(),
            lease_expires_at_ms: record.lease_expires_at_ms,
            taken_over_at_ms: record.taken_over_at_ms,
            resume_token: saved.map(|saved| STANDARD.encode(&saved.token.bson)),
            position: saved.map(|saved| saved.token.position.to_string()),
            cluster_time: saved.and_then(|saved| saved.token.position.cluster_time()).map(WireTime::from),
            lineage: saved.map(|saved| saved.lineage.0),
            saved_at_ms: saved.map(|saved| saved.saved_at_ms),
            event_time: saved.and_then(|saved| saved.token.rests_on).map(WireTime::from),
            position_lost: record.position_lost,
            source: record.source.clone(),
            collections: record.collections.iter().map(WireCollection::from).collect(),
            gaps: record.gaps.iter().map(WireGap::from).collect(),
            process: record.process.as_ref().map(WireProcess::from),
        }
    }
}

impl TryFrom<WireRecord> for Record {
    type Error = RecordError;

    fn try_from(wire: WireRecord) -> Result<Self, RecordError> {
        let mut saved = saved_from(wire.resume_token, wire.position, wire.lineage, wire.saved_at_ms)?;
        if let (Some(saved), Some(WireTime { t, i })) = (&mut saved, wire.event_time) {
            saved.token.rests_on = Some(ClusterTime { t, i });
        }
        let collections = wire.collections.into_iter().map(RecordedCollection::try_from);
        Ok(Self {
            version: wire.version,
            incarnation: wire.incarnation,
            owner: wire.owner,
            sequence: wire.sequence,
            holder: wire.holder,
            lease_expires_at_ms: wire.lease_expires_at_ms,
            taken_over_at_ms: wire.taken_over_at_ms,
            saved,
            position_lost: wire.position_lost,
            source: wire.source,
            collections: collections.collect::<Result<_, _>>()?,
            topics: Vec::new(),
            gaps: wire.gaps.into_iter().map(GapRecord::try_from).collect::<Result<_, _>>()?,
            process: wire.process.map(ProcessId::from),
        })
    }
}

pub(super) fn saved_from(
    token: Option<String>,
    position: Option<String>,
    lineage: Option<u32>,
    saved_at_ms: Option<i64>,
) -> Result<Option<Saved>, RecordError> {
    match (token, position, lineage, saved_at_ms) {
        (Some(token), Some(position), Some(lineage), Some(saved_at_ms)) => {
            Ok(Some(Saved { token: token_from(&token, &position)?, lineage: Lineage(lineage), saved_at_ms }))
        }
        (None, None, None, None) => Ok(None),
        _ => Err(RecordError::Corrupt("only a part of the position is there".to_owned())),
    }
}

impl From<&RecordedCollection> for WireCollection {
    fn from(collection: &RecordedCollection) -> Self {
        let Known { contents, partitions, holds_messages } = collection.known;
        let uuid = match contents {
            Contents::Unknown => "unknown".to_owned(),
            Contents::Absent => "absent".to_owned(),
            Contents::Uuid(uuid) => format!("{:032x}", u128::from_be_bytes(uuid)),
        };
        let (name, topic) = (collection.name.clone(), collection.topic.clone());
        Self { name, uuid, topic, partitions, holds_messages }
    }
}

impl TryFrom<WireCollection> for RecordedCollection {
    type Error = RecordError;

    fn try_from(wire: WireCollection) -> Result<Self, RecordError> {
        let contents = match wire.uuid.as_str() {
            "unknown" => Contents::Unknown,
            "absent" => Contents::Absent,
            digits => u128::from_str_radix(digits, 16)
                .map(|uuid| Contents::Uuid(uuid.to_be_bytes()))
                .map_err(|_| RecordError::Corrupt("a collection's uuid is none".to_owned()))?,
        };
        let known = Known { contents, partitions: wire.partitions, holds_messages: wire.holds_messages };
        Ok(Self { name: wire.name, topic: wire.topic, known })
    }
}

fn token_from(token: &str, position: &str) -> Result<ResumeToken, RecordError> {
    let damaged = |what: &str| RecordError::Corrupt(what.to_owned());
    let bson = STANDARD.decode(token).map_err(|_| damaged("the resume token is not base64"))?;
    bson::RawDocument::from_bytes(&bson).map_err(|_| damaged("the resume token is not a BSON document"))?;
    let position = position_from(position)?;
    let rests_on = if position.is_event() { position.cluster_time() } else { None };
    Ok(ResumeToken { bson: Bytes::from(bson), position, rests_on })
}

fn position_from(text: &str) -> Result<Position, RecordError> {
    Position::from_hex(text).ok_or_else(|| RecordError::Corrupt("a position is not hexadecimal".to_owned()))
}

impl From<&GapRecord> for WireGap {
    fn from(gap: &GapRecord) -> Self {
        Self {
            from: gap.from.map(|from| from.to_string()),
            to: gap.to.to_string(),
            cause: gap.cause.clone(),
            collections: gap.collections.clone(),
            opened_at: gap.opened_at.clone(),
            announced: gap.announced,
            healed_at: gap.healed_at.clone(),
            acknowledged_at: gap.acknowledged_at.clone(),
            stands_for: gap.stands_for,
        }
    }
}

impl TryFrom<WireGap> for GapRecord {
    type Error = RecordError;

    fn try_from(gap: WireGap) -> Result<Self, RecordError> {
        Ok(Self {
            from: gap.from.as_deref().map(position_from).transpose()?,
            to: position_from(&gap.to)?,
            cause: gap.cause,
            collections: gap.collections,
            stands_for: gap.stands_for,
            opened_at: gap.opened_at,
            announced: gap.announced,
            healed_at: gap.healed_at,
            acknowledged_at: gap.acknowledged_at,
        })
    }
}
