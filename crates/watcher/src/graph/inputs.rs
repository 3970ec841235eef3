//! What may come to a small machine, in each situation.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Epoch, Fault, Lineage, SeqNo, TimerId};

use super::{CONTENTS, NOBODY, NOTICE, Small, recent};
use crate::facts::Lease;
use crate::state::{Connecting, State};
use crate::{Checkpoint, CollectionId, Contents, Event, Input, Known, Payload, Saved, TimerKind, TopicState};

const SOURCE_FAULTS: [Fault; 6] =
    [Fault::Transient, Fault::HistoryLost, Fault::TooLarge, Fault::Auth, Fault::Unfit, Fault::Fatal];
const KAFKA_FAULTS: [Fault; 4] = [Fault::Transient, Fault::HistoryLost, Fault::Auth, Fault::Fatal];
pub(super) const STORE_FAULTS: [Fault; 4] = [Fault::Transient, Fault::Fenced, Fault::Auth, Fault::Fatal];

impl Small {
    pub(super) fn push_timers(&self, inputs: &mut Vec<Input<u8, u32>>) {
        for kind in TimerKind::ALL {
            let late = TimerId { kind, generation: u64::MAX };
            let running = self.facts.timers.is_running(kind);
            inputs.push(Input::Timer(if running { self.facts.timers.current(kind) } else { late }));
        }
    }

    pub(super) fn push_lease_replies(&self, inputs: &mut Vec<Input<u8, u32>>) {
        let (acquisition, renewal, release) = match self.facts.lease {
            Lease::Free => (NOBODY, NOBODY, NOBODY),
            Lease::Acquiring { id } => (id, NOBODY, NOBODY),
            Lease::Held { renewal, .. } => (NOBODY, renewal.unwrap_or(NOBODY), NOBODY),
            Lease::Releasing { id } => (NOBODY, NOBODY, id),
        };
        let known = Known { contents: CONTENTS, partitions: Some(1), holds_messages: true };
        let saved = Saved::Position(Checkpoint { token: 1, lineage: Lineage(1), known: vec![Some(known)] });
        let fresh = Lineage(2);
        let acquired =
            |saved, unannounced| Input::LeaseAcquired { id: acquisition, saved, unannounced, fresh };
        inputs.extend([
            acquired(Saved::Nothing, Vec::new()),
            acquired(Saved::Lost, Vec::new()),
            acquired(saved.clone(), Vec::new()),
            acquired(saved, vec![NOTICE]),
            Input::LeaseDamaged { id: acquisition },
            Input::LeaseUnreadable { id: acquisition },
            Input::LeaseHeld { id: acquisition, expires_in: Duration::from_secs(1) },
            Input::LeaseForeign { id: acquisition },
            Input::LeaseRenewed { id: renewal },
            Input::LeaseReleased { id: release },
        ]);
        for fault in STORE_FAULTS {
            inputs.push(Input::LeaseFailed { id: acquisition, fault });
            inputs.push(Input::LeaseRenewFailed { id: renewal, fault });
        }
    }

    pub(super) fn push_producer_replies(&self, inputs: &mut Vec<Input<u8, u32>>) {
        let id = match self.state {
            State::Connecting(Connecting::Producer { id }) => id,
            State::Connecting(_)
            | State::Streaming { .. }
            | State::AwaitingAck(_)
            | State::SavingToken { .. }
            | State::Draining { .. }
            | State::Stopped(_) => NOBODY,
        };
        let topic = TopicState { partitions: 1, was_made: false, holds_messages: true, lineage: None };
        let empty = TopicState { holds_messages: false, ..topic };
        for topic in [topic, empty, TopicState { was_made: true, ..empty }] {
            inputs.push(Input::ProducerReady { id, topics: vec![topic] });
        }
        if let [Some(Known { partitions: Some(1), .. })] = self.facts.known.as_slice() {
            inputs.extend([0, 2].map(|partitions| {
                let topics = vec![TopicState { partitions, ..topic }];
                Input::ProducerReady { id, topics }
            }));
        }
        for fault in KAFKA_FAULTS {
            inputs.push(Input::ProducerFailed { id, fault });
            inputs.push(Input::ProducerLost { fault });
        }
    }

    pub(super) fn push_source_replies(&self, inputs: &mut Vec<Input<u8, u32>>) {
        let epoch = self.state.epoch().unwrap_or(Epoch(u64::MAX));
        let next = self.facts.newest().map_or(2, |newest| newest + 1);
        for contents in [CONTENTS, Contents::Uuid([2; 16])] {
            let looked_at = next;
            inputs.push(Input::Opened { epoch, at: next, contents: vec![contents], looked_at });
        }
        for fault in SOURCE_FAULTS {
            inputs.push(Input::OpenFailed { epoch, fault });
            inputs.push(Input::SourceFailed { epoch, fault });
        }
        let message = |token| Event {
            token,
            payload: Payload::Message { record: 0, bytes: 1, collection: CollectionId(0) },
        };
        let skip = Event { token: next, payload: Payload::Skip };
        let oversized = Event { token: next, payload: Payload::Oversized { marker: 0 } };
        let replaced =
            Payload::Control { notices: vec![NOTICE], gone: Vec::new(), replaced: vec![CollectionId(0)] };
        let replaced = Event { token: next, payload: replaced };
        let asked = match self.state {
            State::Streaming { asked, .. } => asked,
            State::Connecting(_)
            | State::AwaitingAck(_)
            | State::SavingToken { .. }
            | State::Draining { .. }
            | State::Stopped(_) => 1,
        };
        inputs.extend([
            Input::Batch { epoch, events: Vec::new(), idle: None },
            Input::Batch { epoch, events: Vec::new(), idle: Some(next) },
            Input::Batch { epoch, events: vec![message(0)], idle: None },
            Input::Batch { epoch, events: vec![skip], idle: None },
            Input::Batch { epoch, events: vec![oversized], idle: None },
            Input::Batch { epoch, events: vec![replaced], idle: None },
            Input::Batch { epoch, events: vec![message(next)], idle: None },
        ]);
        if asked > 1 {
            let events = vec![message(next), message(next + 1)];
            inputs.push(Input::Batch { epoch, events, idle: None });
        }
    }

    pub(super) fn push_reports(&self, inputs: &mut Vec<Input<u8, u32>>) {
        let window = &self.facts.window;
        let mut seqs: Vec<SeqNo> =
            recent(window.next_seq()).filter(|seq| window.is_in_flight(*seq)).collect();
        if seqs.is_empty() {
            seqs.push(SeqNo(u64::MAX));
        }
        for seq in seqs {
            inputs.push(Input::Delivered { seqs: vec![seq] });
            inputs.push(Input::DeliveryTooLarge { seq, marker: 0 });
            inputs.extend(KAFKA_FAULTS.map(|fault| Input::DeliveryFailed { seq, fault }));
            inputs.push(Input::DeliveryFailed { seq, fault: Fault::TooLarge });
        }
    }
}
