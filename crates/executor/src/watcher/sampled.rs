//! Sampled events between the Kafka client and its answer.

use std::collections::BTreeMap;
use std::time::SystemTime;

use cdc_event::{EventTrace, Message};
use cdc_machine::SeqNo;
use cdc_ports::Acknowledged;

use crate::stages::StageSeconds;

/// Sampled events that the client has. They are some of those in flight, of which there are at most
/// `max_replay_events`.
pub(super) struct SampledEvents {
    stages: StageSeconds<4>,
    in_flight: BTreeMap<SeqNo, InFlight>,
}

struct InFlight {
    trace: Box<EventTrace>,
    handed_over: SystemTime,
}

impl SampledEvents {
    pub(super) fn new() -> Self {
        Self { stages: StageSeconds::watcher(), in_flight: BTreeMap::new() }
    }

    /// What is to be remembered of a message that is about to be sent; `None`, and no cost, for almost all.
    pub(super) fn of(message: &Message) -> Option<Box<EventTrace>> {
        message.trace.clone()
    }

    /// The client has taken it.
    pub(super) fn handed_over(&mut self, seq: SeqNo, trace: Box<EventTrace>) {
        self.in_flight.insert(seq, InFlight { trace, handed_over: SystemTime::now() });
    }

    /// Kafka has it.
    pub(super) fn acknowledged(&mut self, seq: SeqNo, answer: Acknowledged) {
        let Some(InFlight { trace, handed_over }) = self.in_flight.remove(&seq) else { return };
        self.stages.passed(trace.committed, [trace.read, trace.encoded, handed_over, answer.at]);
    }

    /// Kafka does not have it: it is read again, or a marker takes its place.
    pub(super) fn failed(&mut self, seq: SeqNo) {
        self.in_flight.remove(&seq);
    }

    /// The client died: no answer comes for what it held.
    pub(super) fn lost(&mut self) {
        self.in_flight.clear();
    }
}
