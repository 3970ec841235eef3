//! Sampled events between the Kafka client and its answer: their stages and their spans.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use cdc_event::{Message, Position};
use cdc_machine::{Fault, SeqNo};
use cdc_ports::Acknowledged;
use cdc_traces::{Publication, Published, Traces};

use crate::stages::StageSeconds;

/// Sampled events that the client has. They are some of those in flight, of which there are at most
/// `max_replay_events`.
pub(super) struct SampledEvents {
    stages: StageSeconds<4>,
    traces: Traces,
    in_flight: BTreeMap<SeqNo, Published>,
    /// The greatest position of a sampled event that was handed over. Whatever is not behind it is read again.
    newest: Option<Position>,
}

impl SampledEvents {
    pub(super) fn new(traces: Traces) -> Self {
        Self { stages: StageSeconds::watcher(), traces, in_flight: BTreeMap::new(), newest: None }
    }

    /// What is to be remembered of a message that is about to be sent; `None`, and no cost, for almost all.
    pub(super) fn of(message: &Message) -> Option<Published> {
        let trace = message.trace.clone()?;
        let (topic, position) = (Arc::clone(&message.topic), message.position);
        Some(Published { trace, topic, position, handed_over: SystemTime::UNIX_EPOCH, is_read_again: false })
    }

    /// The client has taken it, now.
    pub(super) fn handed_over(&mut self, seq: SeqNo, event: Published) {
        let is_read_again = self.newest.is_some_and(|newest| event.position <= newest);
        self.newest = self.newest.max(Some(event.position));
        self.in_flight.insert(seq, Published { handed_over: SystemTime::now(), is_read_again, ..event });
    }

    /// Kafka has it.
    pub(super) fn acknowledged(&mut self, seq: SeqNo, answer: Acknowledged) {
        let Some(event) = self.in_flight.remove(&seq) else { return };
        let Acknowledged { partition, offset, at } = answer;
        let trace = &event.trace;
        self.stages.passed(trace.committed, [trace.read, trace.encoded, event.handed_over, at]);
        self.traces.published(&event, Publication::Acknowledged { partition, offset }, at);
    }

    /// Kafka does not have it: it is read again.
    pub(super) fn failed(&mut self, seq: SeqNo, fault: Fault) {
        self.end(seq, Publication::Failed(fault.as_str()));
    }

    /// It does not fit: a marker takes its place.
    pub(super) fn too_large(&mut self, seq: SeqNo) {
        self.end(seq, Publication::TooLarge);
    }

    /// The client died: no answer comes for what it held.
    pub(super) fn lost(&mut self, fault: Fault) {
        while let Some((seq, _)) = self.in_flight.first_key_value() {
            let seq = *seq;
            self.failed(seq, fault);
        }
    }

    fn end(&mut self, seq: SeqNo, became: Publication) {
        if let Some(event) = self.in_flight.remove(&seq) {
            self.traces.published(&event, became, SystemTime::now());
        }
    }
}
