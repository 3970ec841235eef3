//! The record, as it stands in Redis and in the file: one line of JSON.
//!
//! ```json
//! {"version":1,"incarnation":3,"owner":"9c…","sequence":17,
//!  "holder":"host-a","lease_expires_at_ms":1700000015000,"taken_over_at_ms":null,
//!  "resume_token":"<base64 of the BSON document>","position":"<hex>","cluster_time":{"t":1700000000,"i":1},
//!  "lineage":1699999999,"saved_at_ms":1700000000000,
//!  "source":"rs0/game_db","collections":["players"],"topics":["cdc.game_db.players"],"gaps":[],
//!  "checksum":"<XXH3-64 of everything before this member, 16 hex digits>"}
//! ```
//!
//! The first four members are the *stamp*. They stand first and in this order, so that a register compares
//! and sets by a prefix.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cdc_event::{Position, ResumeToken};
use cdc_executor::ports::{GapRecord, StoreIdentity, TokenRecord};
use cdc_machine::Lineage;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

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

/// What the register holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
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
    pub(crate) identity: StoreIdentity,
    pub(crate) gaps: Vec<GapRecord>,
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
            "{{\"version\":{VERSION},\"incarnation\":{},\"owner\":\"{}\",\"sequence\":{},",
            self.incarnation, self.owner, self.sequence
        )
    }

    /// What `cdc token show` prints; `None` where no position was saved yet.
    pub(crate) fn to_token_record(&self) -> Option<TokenRecord> {
        let saved = self.saved.as_ref()?;
        Some(TokenRecord {
            token: saved.token.clone(),
            lineage: saved.lineage,
            identity: self.identity.clone(),
            saved_at_ms: saved.saved_at_ms,
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
        let text = str::from_utf8(content)
            .map_err(|error| RecordError::Corrupt(format!("it is no text: {error}")))?;
        // The version comes first: a newer one may have another checksum.
        let Version { version } = serde_json::from_str(text).map_err(corrupt)?;
        if version > VERSION {
            return Err(RecordError::NewerVersion(version));
        }
        verify_checksum(text)?;
        serde_json::from_str::<WireRecord>(text).map_err(corrupt)?.try_into()
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
    cluster_time: Option<ClusterTime>,
    lineage: Option<u32>,
    saved_at_ms: Option<i64>,
    source: String,
    collections: Vec<String>,
    topics: Vec<String>,
    gaps: Vec<WireGap>,
}

/// For people; the position is what counts.
#[derive(Serialize, Deserialize)]
struct ClusterTime {
    t: u32,
    i: u32,
}

impl ClusterTime {
    /// The eight bytes behind the lineage.
    fn of(position: &Position) -> Option<Self> {
        let bytes: [u8; 8] = position.as_bytes().get(4..12)?.try_into().ok()?;
        let both = u64::from_be_bytes(bytes);
        Some(Self { t: u32::try_from(both >> 32).ok()?, i: u32::try_from(both & u64::from(u32::MAX)).ok()? })
    }
}

#[derive(Serialize, Deserialize)]
struct WireGap {
    from: String,
    to: String,
    cause: String,
    collections: Vec<String>,
    opened_at: String,
    announced: bool,
    healed_at: Option<String>,
}

impl From<&Record> for WireRecord {
    fn from(record: &Record) -> Self {
        let saved = record.saved.as_ref();
        Self {
            version: VERSION,
            incarnation: record.incarnation,
            owner: record.owner.clone(),
            sequence: record.sequence,
            holder: record.holder.clone(),
            lease_expires_at_ms: record.lease_expires_at_ms,
            taken_over_at_ms: record.taken_over_at_ms,
            resume_token: saved.map(|saved| STANDARD.encode(&saved.token.bson)),
            position: saved.map(|saved| saved.token.position.to_string()),
            cluster_time: saved.and_then(|saved| ClusterTime::of(&saved.token.position)),
            lineage: saved.map(|saved| saved.lineage.0),
            saved_at_ms: saved.map(|saved| saved.saved_at_ms),
            source: record.identity.source.clone(),
            collections: record.identity.collections.clone(),
            topics: record.identity.topics.clone(),
            gaps: record.gaps.iter().map(WireGap::from).collect(),
        }
    }
}

impl TryFrom<WireRecord> for Record {
    type Error = RecordError;

    fn try_from(wire: WireRecord) -> Result<Self, RecordError> {
        let saved = match (&wire.resume_token, &wire.position, wire.lineage, wire.saved_at_ms) {
            (Some(token), Some(position), Some(lineage), Some(saved_at_ms)) => {
                Some(Saved { token: token_from(token, position)?, lineage: Lineage(lineage), saved_at_ms })
            }
            (None, None, None, None) => None,
            _ => return Err(RecordError::Corrupt("only a part of the position is there".to_owned())),
        };
        Ok(Self {
            incarnation: wire.incarnation,
            owner: wire.owner,
            sequence: wire.sequence,
            holder: wire.holder,
            lease_expires_at_ms: wire.lease_expires_at_ms,
            taken_over_at_ms: wire.taken_over_at_ms,
            saved,
            identity: StoreIdentity {
                source: wire.source,
                collections: wire.collections,
                topics: wire.topics,
            },
            gaps: wire.gaps.into_iter().map(GapRecord::from).collect(),
        })
    }
}

fn token_from(token: &str, position: &str) -> Result<ResumeToken, RecordError> {
    let damaged = |what: &str| RecordError::Corrupt(what.to_owned());
    let bson = STANDARD.decode(token).map_err(|_| damaged("the resume token is not base64"))?;
    bson::RawDocument::from_bytes(&bson).map_err(|_| damaged("the resume token is not a BSON document"))?;
    let position = position_from_hex(position).ok_or_else(|| damaged("the position is not hexadecimal"))?;
    Ok(ResumeToken { bson: Bytes::from(bson), position })
}

fn position_from_hex(text: &str) -> Option<Position> {
    let digits = text.as_bytes().chunks_exact(2);
    if !digits.remainder().is_empty() {
        return None;
    }
    let bytes: Option<Vec<u8>> = digits
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect();
    Position::from_bytes(&bytes?)
}

impl From<&GapRecord> for WireGap {
    fn from(gap: &GapRecord) -> Self {
        let GapRecord { from, to, cause, collections, opened_at, announced, healed_at } = gap.clone();
        Self { from, to, cause, collections, opened_at, announced, healed_at }
    }
}

impl From<WireGap> for GapRecord {
    fn from(gap: WireGap) -> Self {
        let WireGap { from, to, cause, collections, opened_at, announced, healed_at } = gap;
        Self { from, to, cause, collections, opened_at, announced, healed_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let position = Position::from_bytes(&[0x65, 0x53, 0xF1, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0x29]).unwrap();
        Record {
            incarnation: 3,
            owner: "9c".to_owned(),
            sequence: 17,
            holder: Some("host \"a\"".to_owned()),
            lease_expires_at_ms: 1_700_000_015_000,
            taken_over_at_ms: None,
            saved: Some(Saved {
                token: ResumeToken {
                    bson: Bytes::from(bson::rawdoc! { "_data": "82" }.into_bytes()),
                    position,
                },
                lineage: Lineage(u32::MAX),
                saved_at_ms: 1_700_000_000_000,
            }),
            identity: StoreIdentity {
                source: "rs0/game_db".to_owned(),
                collections: vec!["players".to_owned()],
                topics: vec!["cdc.game_db.players".to_owned()],
            },
            gaps: vec![GapRecord {
                from: "00".to_owned(),
                to: "01".to_owned(),
                cause: "history_lost".to_owned(),
                collections: vec!["players".to_owned()],
                opened_at: "2024-01-15T10:30:00Z".to_owned(),
                announced: true,
                healed_at: None,
            }],
        }
    }

    #[test]
    fn a_record_comes_back_and_begins_with_its_stamp() {
        let record = record();
        let text = record.encode().unwrap();
        assert!(text.starts_with(&record.stamp()), "{text}");
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), record);

        let empty = Record { saved: None, holder: None, gaps: Vec::new(), ..record };
        assert_eq!(Record::decode(empty.encode().unwrap().as_bytes()).unwrap(), empty);
    }

    #[test]
    fn the_text_is_as_documented() {
        let text = record().encode().unwrap();
        let start = r#"{"version":1,"incarnation":3,"owner":"9c","sequence":17,"holder":"host \"a\"","#;
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains(r#""cluster_time":{"t":9,"i":3},"lineage":4294967295,"#), "{text}");
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
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let flipped = String::from_utf8(bytes).unwrap();
                // The checksum's own digits may change case and mean the same.
                if flipped.to_lowercase() != text.to_lowercase() || at < text.len() - CHECKSUM_DIGITS - 2 {
                    assert!(Record::decode(flipped.as_bytes()).is_err(), "byte {at}, bit {bit}: {flipped}");
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
