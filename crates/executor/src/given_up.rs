//! Records that are given up, by policy or because nobody can write them: each has one line of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;

use cdc_event::{Message, Position};
use cdc_machine::Fault;
use cdc_syncer::{Reject, Row};
use xxhash_rust::xxh3::xxh3_64;

use cdc_ports::{KafkaRecord, StackTrace, TopicPartition};

/// The target of the lines that tell of a record that is given up. They are never cut short.
pub const GIVEN_UP: &str = "cdc_executor::given_up";

/// What the log says of a record of the Syncer's, and nothing of what it holds.
#[derive(Debug)]
pub(crate) struct GivenUp {
    place: TopicPartition,
    offset: i64,
    reason: Reject,
    detail: String,
    /// XXH3-64 of the key, which is how the record is routed, too.
    key_hash: u64,
    bytes: u32,
}

impl GivenUp {
    pub(crate) fn new(place: TopicPartition, row: &Row<KafkaRecord>, reason: Reject, detail: &str) -> Self {
        let (offset, key_hash, bytes) = (row.offset, row.route, row.bytes);
        Self { place, offset, reason, detail: detail.to_owned(), key_hash, bytes }
    }

    pub(crate) const fn reason(&self) -> Reject {
        self.reason
    }

    /// What kind of error it counts as.
    pub(crate) const fn fault(&self) -> Fault {
        if self.reason.is_of_other_rows() {
            Fault::Blocked
        } else if matches!(self.reason, Reject::TooLarge) {
            Fault::TooLarge
        } else {
            Fault::Poison
        }
    }

    /// Writes its line.
    pub(crate) fn tell(&self, service: &'static str, action: &'static str, outcome: &'static str) {
        tracing::error!(
            target: GIVEN_UP,
            service,
            operation = "bad_record",
            error_type = "non_retryable",
            fault = self.fault().as_str(),
            action,
            topic = %self.place.topic,
            partition = self.place.partition,
            offset = self.offset,
            reason = self.reason.as_str(),
            error = self.detail,
            key_hash = %format_args!("{:016x}", self.key_hash),
            bytes = self.bytes,
            stack_trace = trace(),
            "{outcome}"
        );
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicPartition { topic, partition } = &self.place;
        write!(f, "{topic}/{partition} offset {}: {}: {}", self.offset, self.reason.as_str(), self.detail)
    }
}

/// The same of a document of the Watcher's that does not fit; `marker` stands for it, with its size and hash.
pub(crate) fn tell_too_large(service: &'static str, marker: &Message, outcome: &'static str) {
    tracing::error!(
        target: GIVEN_UP,
        service,
        operation = "too_large",
        error_type = "non_retryable",
        fault = Fault::TooLarge.as_str(),
        topic = &*marker.topic,
        position = %marker.position,
        reason = Reject::TooLarge.as_str(),
        error = %format_args!("the event is too large ({})", String::from_utf8_lossy(marker.value())),
        key_hash = %format_args!("{:016x}", key_hash(marker.key())),
        stack_trace = trace(),
        outcome,
        "an event is too large"
    );
}

pub(crate) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Where records are given up. It is one place, and names are looked up once: there may be many records.
fn trace() -> &'static str {
    static TRACE: OnceLock<String> = OnceLock::new();
    TRACE.get_or_init(|| StackTrace::capture().to_string())
}

/// Positions that were told of last: what is read again after a rewind is given up again, and is no other error.
#[derive(Debug, Default)]
pub(crate) struct Told {
    positions: VecDeque<Position>,
}

/// As many as a rewind may bring again in the order of their size: each is a document of many megabytes.
const TOLD_MAX: usize = 256;

impl Told {
    /// True the first time.
    pub(crate) fn is_new(&mut self, position: Position) -> bool {
        if self.positions.contains(&position) {
            return false;
        }
        if self.positions.len() >= TOLD_MAX {
            self.positions.pop_front();
        }
        self.positions.push_back(position);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rewind_brings_again_is_told_once_and_memory_is_bounded() {
        let mut told = Told::default();
        let at = |number: u16| Position::from_bytes(&number.to_be_bytes()).unwrap();
        for number in 0..1000 {
            assert!(told.is_new(at(number)));
            assert!(!told.is_new(at(number)));
        }
        assert_eq!(told.positions.len(), TOLD_MAX);
    }
}
