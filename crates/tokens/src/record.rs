//! The record, as it stands in Redis and in the file: one line of JSON.
//!
//! ```json
//! {"version":2,"incarnation":3,"owner":"9c…","sequence":17,
//!  "holder":"host-a","lease_expires_at_ms":1700000015000,"taken_over_at_ms":null,
//!  "resume_token":"<base64 of the BSON document>","position":"<hex>","cluster_time":{"t":1700000000,"i":1},
//!  "lineage":1699999999,"saved_at_ms":1700000000000,"event_time":{"t":1699999999,"i":7},"position_lost":false,"source":"rs0/game_db",
//!  "collections":[{"name":"players","uuid":"<32 hex digits, or absent, or unknown>",
//!                  "topic":"cdc.game_db.players","partitions":8,"holds_messages":true}],
//!  "gaps":[],"process":{"host":"host-a","boot_id":"…","pid_namespace":"pid:[4026531836]","pid":123,"started":4711,
//!                       "since_ms":1700000000000},
//!  "checksum":"<XXH3-64 of everything before this member, 16 hex digits>"}
//! ```
//!
//! `process` is the holder's. It is left out where there is none or the system does not tell; earlier releases of
//! version 2 write none, and do not mind one.
//!
//! Version 1 had lists of names for `collections` and `topics`, and no `position_lost`.
//!
//! The first four members are the *stamp*. They stand first and in this order, so that a register compares
//! and sets by a prefix.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cdc_event::{ClusterTime, Position, ResumeToken};
use cdc_executor::ProcessId;
use cdc_executor::ports::{GapRecord, Holder, RecordedCollection, StoreIdentity, TokenRecord};
use cdc_machine::Lineage;
use cdc_watcher::{Contents, Known};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::gaps;

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 2;

/// The longest record that is read, in bytes. A real one has about one kilobyte, with twenty gaps a few.
pub const MAX_BYTES: u64 = 1024 * 1024;

const CHECKSUM_MEMBER: &str = ",\"checksum\":\"";
const CHECKSUM_DIGITS: usize = 16;
const CHECKSUM_END: &str = "\"}";

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Written by a newer program.
    NewerVersion(u32),
    /// Torn, flipped, edited by hand, or not a record at all; the text says what is wrong.
    Corrupt(String),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NewerVersion(version) => write!(
                f,
                "it has version {version}, written by a newer release; this one reads up to version {VERSION}"
            ),
            Self::Corrupt(what) => write!(f, "it is damaged ({what})"),
        }
    }
}

impl std::error::Error for RecordError {}

/// What is known of a collection by nobody.
const UNSEEN: Known = Known { contents: Contents::Unknown, partitions: None, holds_messages: false };

/// What the register holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The version that it was read with; a written one has [`VERSION`].
    pub(crate) version: u32,
    /// How often the lease has changed hands.
    pub(crate) incarnation: u64,
    /// Random id of the process that wrote the record last.
    pub(crate) owner: String,
    /// Rises with every write.
    pub(crate) sequence: u64,
    /// The instance that holds the lease; `None` once it was given back.
    pub(crate) holder: Option<String>,
    /// When the lease runs out, by the register's clock, Unix milliseconds.
    pub(crate) lease_expires_at_ms: i64,
    /// When the lease was last taken over from a living lease of the same instance.
    pub(crate) taken_over_at_ms: Option<i64>,
    /// The position, once there is one.
    pub(crate) saved: Option<Saved>,
    /// There was a position, and a damaged record has lost it.
    pub(crate) position_lost: bool,
    pub(crate) source: String,
    pub(crate) collections: Vec<RecordedCollection>,
    /// All topics, of a record of the first version.
    pub(crate) topics: Vec<String>,
    pub(crate) gaps: Vec<GapRecord>,
    /// The holder's process.
    pub(crate) process: Option<ProcessId>,
}

/// The position and when it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) token: ResumeToken,
    pub(crate) lineage: Lineage,
    pub(crate) saved_at_ms: i64,
}

impl Record {
    /// The beginning of the record's text. No other record has the same.
    pub(crate) fn stamp(&self) -> String {
        format!(
            "{{\"version\":{},\"incarnation\":{},\"owner\":\"{}\",\"sequence\":{},",
            self.version, self.incarnation, self.owner, self.sequence
        )
    }

    /// The collections of a configuration as this record knows them; `None` for one that it does not name.
    pub(crate) fn known_of(&self, ours: &StoreIdentity) -> Vec<Option<Known>> {
        let known = |name: &str| self.collections.iter().find(|collection| collection.name == name);
        ours.collections.iter().map(|watched| known(&watched.name).map(|found| found.known)).collect()
    }

    /// Adds gaps, within the bounds of the list.
    pub(crate) fn open_gaps(&mut self, gaps: impl IntoIterator<Item = GapRecord>) {
        self.gaps.extend(gaps);
        gaps::bound(&mut self.gaps);
    }

    /// Who holds the lease, or held it when it ran out.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let (instance, process) = (self.holder.clone()?, self.process.clone());
        Some(Holder { instance, process, is_living_namesake: false })
    }

    /// What `cdc token show` prints; `None` where no position was saved yet. `now_ms` is the register's clock.
    pub(crate) fn to_token_record(&self, now_ms: i64) -> Option<TokenRecord> {
        let saved = self.saved.as_ref()?;
        Some(TokenRecord {
            token: saved.token.clone(),
            lineage: saved.lineage,
            source: self.source.clone(),
            collections: self.collections.clone(),
            saved_at_ms: saved.saved_at_ms,
            read_at_ms: now_ms,
            incarnation: self.incarnation,
            holder: self.holder.clone(),
            gaps: self.gaps.clone(),
        })
    }

    pub(crate) fn encode(&self) -> Result<String, RecordError> {
        let mut text = serde_json::to_string(&WireRecord::from(self))
            .map_err(|error| RecordError::Corrupt(error.to_string()))?;
        text.pop(); // The closing brace comes after the checksum.
        let checksum = xxh3_64(text.as_bytes());
        text.push_str(CHECKSUM_MEMBER);
        text.push_str(&format!("{checksum:016x}"));
        text.push_str(CHECKSUM_END);
        Ok(text)
    }

    pub(crate) fn decode(content: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(content)
            .map_err(|_| RecordError::Corrupt("it is not text in UTF-8".to_owned()))?;
        // The version comes first: a newer one may have another checksum.
        let Version { version } = serde_json::from_str(text).map_err(corrupt)?;
        if version > VERSION {
            return Err(RecordError::NewerVersion(version));
        }
        verify_checksum(text)?;
        match version {
            1 => serde_json::from_str::<FirstWireRecord>(text).map_err(corrupt)?.try_into(),
            _ => serde_json::from_str::<WireRecord>(text).map_err(corrupt)?.try_into(),
        }
    }
}

/// serde_json's message names line, column and what was expected; for a type error it may quote a scalar,
/// which is one of ours and not a document's.
fn corrupt(error: serde_json::Error) -> RecordError {
    RecordError::Corrupt(error.to_string())
}

fn verify_checksum(text: &str) -> Result<(), RecordError> {
    let wrong = |what: &str| Err(RecordError::Corrupt(what.to_owned()));
    let Some((body, digits)) =
        text.strip_suffix(CHECKSUM_END).and_then(|rest| rest.rsplit_once(CHECKSUM_MEMBER))
    else {
        return wrong("its end is missing");
    };
    if digits.len() != CHECKSUM_DIGITS || u64::from_str_radix(digits, 16) != Ok(xxh3_64(body.as_bytes())) {
        return wrong("its checksum does not match");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The members in the order in which they are written. The checksum is not among them: it covers them.
#[derive(Serialize, Deserialize)]
struct WireRecord {
    version: u32,
    incarnation: u64,
    owner: String,
    sequence: u64,
    holder: Option<String>,
    lease_expires_at_ms: i64,
    taken_over_at_ms: Option<i64>,
    resume_token: Option<String>,
    position: Option<String>,
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

/// Version 1.
#[derive(Deserialize)]
struct FirstWireRecord {
    version: u32,
    incarnation: u64,
    owner: String,
    sequence: u64,
    holder: Option<String>,
    lease_expires_at_ms: i64,
    taken_over_at_ms: Option<i64>,
    resume_token: Option<String>,
    position: Option<String>,
    lineage: Option<u32>,
    saved_at_ms: Option<i64>,
    source: String,
    collections: Vec<String>,
    topics: Vec<String>,
    gaps: Vec<WireGap>,
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
struct WireGap {
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

impl TryFrom<FirstWireRecord> for Record {
    type Error = RecordError;

    fn try_from(wire: FirstWireRecord) -> Result<Self, RecordError> {
        let collection = |name| RecordedCollection { name, topic: None, known: UNSEEN };
        Ok(Self {
            version: wire.version,
            incarnation: wire.incarnation,
            owner: wire.owner,
            sequence: wire.sequence,
            holder: wire.holder,
            lease_expires_at_ms: wire.lease_expires_at_ms,
            taken_over_at_ms: wire.taken_over_at_ms,
            saved: saved_from(wire.resume_token, wire.position, wire.lineage, wire.saved_at_ms)?,
            position_lost: false,
            source: wire.source,
            collections: wire.collections.into_iter().map(collection).collect(),
            topics: wire.topics,
            gaps: wire.gaps.into_iter().map(GapRecord::try_from).collect::<Result<_, _>>()?,
            process: None,
        })
    }
}

fn saved_from(
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of version 1, letter by letter.
    const FIRST: &str = concat!(
        r#"{"version":1,"incarnation":3,"owner":"9c","sequence":17,"holder":null,"lease_expires_at_ms":5,"#,
        r#""taken_over_at_ms":null,"resume_token":"EwAAAAJfZGF0YQADAAAAODIAAA==","position":"6553f100000000090000000329","#,
        r#""cluster_time":{"t":9,"i":3},"lineage":1700000000,"saved_at_ms":1700000000000,"source":"rs0/game_db","#,
        r#""collections":["players"],"topics":["cdc.game_db.players"],"gaps":[]"#,
    );

    fn position() -> Position {
        Position::from_bytes(&[0x65, 0x53, 0xF1, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0x29]).unwrap()
    }

    /// A record without a position.
    pub(crate) fn record_of(source: &str, collections: &[(&str, &str)]) -> Record {
        let collection = |&(name, topic): &(&str, &str)| RecordedCollection {
            name: name.to_owned(),
            topic: Some(topic.to_owned()),
            known: Known { contents: Contents::Uuid([7; 16]), partitions: Some(8), holds_messages: true },
        };
        Record {
            version: VERSION,
            incarnation: 3,
            owner: "9c".to_owned(),
            sequence: 17,
            holder: Some("host \"a\"".to_owned()),
            lease_expires_at_ms: 1_700_000_015_000,
            taken_over_at_ms: None,
            saved: None,
            position_lost: false,
            source: source.to_owned(),
            collections: collections.iter().map(collection).collect(),
            topics: Vec::new(),
            gaps: Vec::new(),
            process: None,
        }
    }

    pub(crate) fn process() -> ProcessId {
        ProcessId {
            host: "host-a".to_owned(),
            boot_id: "b007".to_owned(),
            pid_namespace: "pid:[4026531836]".to_owned(),
            pid: 123,
            started: 4711,
            since_ms: 1_700_000_000_000,
        }
    }

    pub(crate) fn record() -> Record {
        let token = Bytes::from(bson::rawdoc! { "_data": "82" }.into_bytes());
        Record {
            saved: Some(Saved {
                token: ResumeToken {
                    bson: token,
                    position: position(),
                    rests_on: Some(ClusterTime { t: 7, i: 9 }),
                },
                lineage: Lineage(u32::MAX),
                saved_at_ms: 1_700_000_000_000,
            }),
            gaps: vec![gap(None)],
            process: Some(process()),
            ..record_of("rs0/game_db", &[("players", "cdc.game_db.players")])
        }
    }

    fn gap(healed_at: Option<&str>) -> GapRecord {
        GapRecord {
            from: None,
            to: position(),
            cause: "history_lost".to_owned(),
            collections: vec!["players".to_owned()],
            opened_at: "2024-01-15T10:30:00Z".to_owned(),
            announced: true,
            healed_at: healed_at.map(str::to_owned),
            stands_for: 1,
            acknowledged_at: None,
        }
    }

    #[test]
    fn a_record_that_knows_of_no_event_is_read() {
        let text = record().encode().unwrap();
        let without = text.replacen(r#""event_time":{"t":7,"i":9},"#, "", 1);
        let (body, _) = without.rsplit_once(CHECKSUM_MEMBER).unwrap();
        let without = format!("{body}{CHECKSUM_MEMBER}{:016x}{CHECKSUM_END}", xxh3_64(body.as_bytes()));
        assert!(without.len() < text.len());
        let rests_on = |text: &str| Record::decode(text.as_bytes()).unwrap().saved.unwrap().token.rests_on;
        assert_eq!(rests_on(&text), Some(ClusterTime { t: 7, i: 9 }));
        assert_eq!(rests_on(&without), None);
    }

    #[test]
    fn a_record_of_the_first_version_is_read() {
        let text = format!("{FIRST},\"checksum\":\"{:016x}\"}}", xxh3_64(FIRST.as_bytes()));
        let read = Record::decode(text.as_bytes()).unwrap();
        assert!(text.starts_with(&read.stamp()), "it is written over by its own stamp");
        assert_eq!(read.saved.as_ref().unwrap().token.position, position());
        assert_eq!(
            read.collections,
            [RecordedCollection { name: "players".to_owned(), topic: None, known: UNSEEN }]
        );
        assert_eq!(read.topics, ["cdc.game_db.players"]);
    }

    #[test]
    fn every_form_of_a_uuid_comes_back() {
        for contents in
            [Contents::Unknown, Contents::Absent, Contents::Uuid([0; 16]), Contents::Uuid([0xAB; 16])]
        {
            let mut record = record();
            record.collections[0].known.contents = contents;
            assert_eq!(Record::decode(record.encode().unwrap().as_bytes()).unwrap(), record);
        }
    }

    #[test]
    fn what_a_gap_has_beyond_the_first_releases_comes_back_and_may_be_missing() {
        let mut record = record();
        assert!(!record.encode().unwrap().contains("stands_for"), "what says nothing is not written");
        record.gaps[0].stands_for = 7;
        record.gaps[0].acknowledged_at = Some("2024-01-16T00:00:00Z".to_owned());
        assert_eq!(Record::decode(record.encode().unwrap().as_bytes()).unwrap(), record);
    }

    /// Releases without the member read the others, and leave it out when they write.
    #[test]
    fn a_record_without_its_holder_s_process_is_read() {
        let mut record = record();
        let text = record.encode().unwrap();
        assert!(
            text.contains(
                r#""process":{"host":"host-a","boot_id":"b007","pid_namespace":"pid:[4026531836]","#
            )
        );
        assert!(text.contains(r#""pid":123,"started":4711,"since_ms":1700000000000},"checksum":"#), "{text}");
        record.process = None;
        let text = record.encode().unwrap();
        assert!(!text.contains("process"), "{text}");
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), record);
    }

    /// The longest record that the bounds allow is far below what is read.
    #[test]
    fn a_record_with_as_many_gaps_as_there_may_be_is_read() {
        let mut record = record();
        record.open_gaps((0..500).map(|_| gap(None)));
        assert_eq!(record.gaps.len(), 100);
        assert_eq!(record.gaps.iter().map(|gap| gap.stands_for).sum::<u32>(), 501);
        assert!((record.encode().unwrap().len() as u64) < MAX_BYTES / 10);
    }

    #[test]
    fn a_record_comes_back_and_begins_with_its_stamp() {
        let record = record();
        let text = record.encode().unwrap();
        assert!(text.starts_with(&record.stamp()), "{text}");
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), record);

        let empty = Record { saved: None, holder: None, gaps: Vec::new(), process: None, ..record };
        assert_eq!(Record::decode(empty.encode().unwrap().as_bytes()).unwrap(), empty);
    }

    #[test]
    fn the_text_is_as_documented() {
        let text = record().encode().unwrap();
        let start = r#"{"version":2,"incarnation":3,"owner":"9c","sequence":17,"holder":"host \"a\"","#;
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains(r#""cluster_time":{"t":9,"i":3},"lineage":4294967295,"#), "{text}");
        assert!(
            text.contains(r#""saved_at_ms":1700000000000,"event_time":{"t":7,"i":9},"position_lost""#),
            "{text}"
        );
    }

    #[test]
    fn no_prefix_of_a_record_is_a_record() {
        let text = record().encode().unwrap();
        for end in 0..text.len() {
            assert!(matches!(Record::decode(&text.as_bytes()[..end]), Err(RecordError::Corrupt(_))), "{end}");
        }
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let text = record().encode().unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone().into_bytes();
                flipped[at] ^= 1 << bit;
                // The checksum's own digits may change case and mean the same.
                let same = flipped.eq_ignore_ascii_case(text.as_bytes());
                if !same || at < text.len() - CHECKSUM_DIGITS - 2 {
                    assert!(Record::decode(&flipped).is_err(), "byte {at}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn half_a_position_is_damage() {
        let mut wire = WireRecord::from(&record());
        wire.position = None;
        assert!(matches!(Record::try_from(wire), Err(RecordError::Corrupt(_))));
        for position in ["0", "zz", &"00".repeat(Position::MAX + 1)] {
            let mut wire = WireRecord::from(&record());
            wire.position = Some(position.to_owned());
            assert!(matches!(Record::try_from(wire), Err(RecordError::Corrupt(_))), "{position}");
        }
    }
}
