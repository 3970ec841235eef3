//! `AwaitingAck`: Kafka's reports. They come in every state; a bad one ends in one path, the same as a lost
//! source and a dead producer: everything in flight settles, the window rewinds, a stream is opened after
//! the last contiguous acked token. Nothing is ever sent again from memory.

use cdc_machine::{Cause, Dependency, Fault, SeqNo, Settlement};

use crate::Effect;
use crate::config::OnTooLarge;
use crate::state::{Awaiting, Connecting, State, Trouble};
use crate::turn::Turn;
use crate::verdict::Verdict;

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    pub(crate) fn on_delivered(&mut self, state: State, seqs: &[SeqNo]) -> State {
        let before = self.facts.window.savable_weight();
        for &seq in seqs {
            match self.facts.window.settle(seq) {
                Settlement::Settled => {
                    self.facts.markers.remove(&seq);
                    self.mark_announced(seq);
                }
                Settlement::Awaited => {}
                Settlement::Stale => self.facts.ignore_seq(seq),
            }
        }
        // Progress is a longer prefix. Deliveries behind a message that always fails are none, or it would
        // be tried for ever.
        if self.facts.window.savable_weight() > before {
            self.facts.retries.kafka.reset();
        }
        state
    }

    pub(crate) fn on_delivery_failed(&mut self, state: State, seq: SeqNo, fault: Fault) -> State {
        let position = self.facts.window.position(seq).cloned();
        if self.facts.window.fail(seq) == Settlement::Stale {
            self.facts.ignore_seq(seq);
            return state;
        }
        self.facts.markers.remove(&seq);
        // Whatever its other copies come to, it is sent again.
        self.facts.announcing.take_if(|(announcing, _)| *announcing == seq);
        if let State::Draining { .. } = state {
            return self.drain_incompletely(state);
        }
        match (fault, Verdict::on_kafka(fault)) {
            (Fault::TooLarge, _) => {
                let trouble = self.refuse_batch(state, position);
                self.rewind_for(state, trouble)
            }
            // The topic is not what it was: a new producer looks at it anew.
            (Fault::HistoryLost, _) => self.rewind_for(state, Trouble::Producer),
            (_, Verdict::Retry(_)) => self.rewind_for(state, Trouble::Delivery),
            (_, Verdict::End(cause)) => {
                let next = self.end(state, cause);
                self.out.push(Effect::PurgeQueued);
                next
            }
        }
    }

    /// A batch was refused, and nobody knows which of its messages are too large. Told of messages that went
    /// alone, it would be so for ever: then it is a failure like others, and counted.
    fn refuse_batch(&mut self, state: State, position: Option<T>) -> Trouble {
        let is_new = !self.facts.batches.are_single();
        if let Some(position) = position {
            self.facts.batches.refuse(position);
        }
        let is_settling = matches!(state, State::AwaitingAck(Awaiting::Rewind(Trouble::Refused)));
        if is_new || is_settling { Trouble::Refused } else { Trouble::Producer }
    }

    fn rewind_for(&mut self, state: State, trouble: Trouble) -> State {
        if let State::AwaitingAck(Awaiting::Rewind(
            present @ (Trouble::Delivery | Trouble::Refused | Trouble::Producer),
        )) = state
        {
            return State::AwaitingAck(Awaiting::Rewind(present.max(trouble)));
        }
        self.close_stream(state);
        self.out.push(Effect::PurgeQueued);
        State::AwaitingAck(Awaiting::Rewind(trouble))
    }

    pub(crate) fn on_too_large(&mut self, state: State, seq: SeqNo, marker: R) -> State {
        if !self.facts.window.is_in_flight(seq) {
            self.facts.ignore_seq(seq);
            return state;
        }
        if let State::AwaitingAck(Awaiting::Rewind(
            Trouble::Delivery | Trouble::Refused | Trouble::Producer,
        )) = state
        {
            // It is read again, and found too large again.
            self.facts.window.fail(seq);
            self.facts.markers.remove(&seq);
            return state;
        }
        self.facts.batches.explain();
        match self.config.on_too_large {
            OnTooLarge::Skip => {
                self.facts.window.settle(seq);
                self.out.push(Effect::LeaveOut { marker });
                state
            }
            // A marker that does not fit either comes back here, and must not go round for ever.
            OnTooLarge::DeadLetter if self.facts.markers.insert(seq) => {
                self.out.push(Effect::PublishMarker { seq, marker });
                state
            }
            OnTooLarge::DeadLetter | OnTooLarge::Stop => {
                self.facts.window.fail(seq);
                self.facts.markers.remove(&seq);
                self.end_for_bad_record(state)
            }
        }
    }

    /// The producer died, and with it the reports on what it held: all of that is read again.
    pub(crate) fn on_producer_lost(&mut self, state: State, fault: Fault) -> State {
        match state {
            State::Connecting(
                Connecting::NotStarted
                | Connecting::Lease
                | Connecting::ProducerDue
                | Connecting::Producer { .. },
            )
            | State::Stopped(_) => {
                // There is none, or a new one is on its way.
                self.facts.ignore(true);
                state
            }
            State::Draining { .. } => {
                let lost = self.facts.window.unsettled() > 0;
                self.facts.rewind();
                if lost { self.drain_incompletely(state) } else { state }
            }
            State::Connecting(
                Connecting::StreamDue | Connecting::Stream { .. } | Connecting::RecordingStart { .. },
            )
            | State::Streaming { .. }
            | State::AwaitingAck(_)
            | State::SavingToken { .. } => {
                self.facts.rewind();
                if fault == Fault::Auth {
                    return self.end(state, Cause::Refused(Dependency::Kafka));
                }
                self.close_stream(state);
                State::AwaitingAck(Awaiting::Rewind(Trouble::Producer))
            }
        }
    }

    /// Everything in flight is answered: rewinds, and goes back to where the trouble was.
    pub(crate) fn reconnect(&mut self, trouble: Trouble) -> State {
        self.facts.rewind();
        let away = Cause::Unavailable;
        match trouble {
            Trouble::Reopen => self.open_stream(),
            Trouble::Rebatch | Trouble::Refused => self.prepare_producer(),
            Trouble::Source => self.back_off_mongodb(away(Dependency::MongoDb)),
            Trouble::Misfit => self.back_off_mongodb(Cause::Unsupported(Dependency::MongoDb)),
            Trouble::Delivery => self.back_off_kafka(Connecting::StreamDue, away(Dependency::Kafka)),
            Trouble::Producer => self.back_off_kafka(Connecting::ProducerDue, away(Dependency::Kafka)),
        }
    }
}
