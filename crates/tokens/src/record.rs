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

mod checksum;
mod codec;
mod first;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use cdc_event::ResumeToken;
use cdc_machine::Lineage;
use cdc_ports::{GapRecord, Holder, ProcessId, RecordedCollection, StoreIdentity, TokenRecord};
use cdc_watcher::Known;

use crate::gaps;

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 2;

/// The longest record that is read, in bytes. A real one has about one kilobyte, with twenty gaps a few.
pub const MAX_BYTES: u64 = 1024 * 1024;

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
}
