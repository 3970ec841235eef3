//! `Connecting`: the lease, then a producer, then a stream; at a first start its position is recorded before
//! anything is read.

use cdc_machine::{Cause, Dependency, EffectId, Epoch, Fault};

use crate::Effect;
use crate::facts::Origin;
use crate::state::{Connecting, State};
use crate::turn::Turn;
use crate::verdict::Verdict;

impl<R, T: Clone + Ord> Turn<'_, R, T> {
    pub(crate) fn on_start(&mut self, state: State) -> State {
        if state == State::Connecting(Connecting::NotStarted) {
            return self.acquire_lease();
        }
        self.facts.ignore(false);
        state
    }

    /// A back-off, or a wait for somebody else's lease, has ended.
    pub(crate) fn on_wait_over(&mut self, state: State) -> State {
        match state {
            State::Connecting(Connecting::Lease) => self.acquire_lease(),
            State::Connecting(Connecting::ProducerDue) => self.prepare_producer(),
            State::Connecting(Connecting::StreamDue) => self.open_stream(),
            State::Connecting(
                Connecting::NotStarted
                | Connecting::Producer { .. }
                | Connecting::Stream { .. }
                | Connecting::RecordingStart { .. },
            )
            | State::Streaming { .. }
            | State::AwaitingAck(_)
            | State::SavingToken { .. }
            | State::Draining { .. }
            | State::Stopped(_) => state,
        }
    }

    pub(crate) fn prepare_producer(&mut self) -> State {
        let id = self.facts.new_effect();
        self.out.push(Effect::PrepareProducer { id });
        State::Connecting(Connecting::Producer { id })
    }

    pub(crate) fn on_producer_ready(&mut self, state: State, id: EffectId, holds_messages: bool) -> State {
        if state != State::Connecting(Connecting::Producer { id }) {
            self.facts.ignore_reply(id);
            return state;
        }
        let never_opened = self.facts.origin == Origin::Empty && self.facts.window.newest().is_none();
        if never_opened && holds_messages {
            return self.end_for_source(state, Cause::TokenMissing);
        }
        self.open_stream()
    }

    pub(crate) fn on_producer_failed(&mut self, state: State, id: EffectId, fault: Fault) -> State {
        if state != State::Connecting(Connecting::Producer { id }) {
            self.facts.ignore_reply(id);
            return state;
        }
        match Verdict::on_kafka(fault) {
            Verdict::Retry => self.back_off_kafka(Connecting::ProducerDue),
            Verdict::End(cause) => self.end(state, cause),
        }
    }

    pub(crate) fn open_stream(&mut self) -> State {
        let epoch = self.facts.new_epoch();
        let from = self.facts.resume_point();
        self.out.push(Effect::OpenStream { epoch, from, lineage: self.facts.lineage });
        State::Connecting(Connecting::Stream { epoch })
    }

    pub(crate) fn on_opened(&mut self, state: State, epoch: Epoch, at: T) -> State {
        if state != State::Connecting(Connecting::Stream { epoch }) {
            self.facts.ignore_epoch(epoch);
            return state;
        }
        if self.facts.origin == Origin::Empty && self.facts.window.newest().is_none() {
            self.facts.window.open_settled(at);
        }
        State::Connecting(Connecting::RecordingStart { epoch })
    }

    pub(crate) fn on_open_failed(&mut self, state: State, epoch: Epoch, fault: Fault) -> State {
        if state != State::Connecting(Connecting::Stream { epoch }) {
            self.facts.ignore_epoch(epoch);
            return state;
        }
        match Verdict::on_source(fault) {
            Verdict::Retry => self.back_off_mongodb(Connecting::StreamDue),
            // The stream that did not open needs no closing.
            Verdict::End(cause) => self.end_for_source(State::Connecting(Connecting::StreamDue), cause),
        }
    }

    pub(crate) fn back_off_mongodb(&mut self, then: Connecting) -> State {
        let wait = self.facts.retries.mongodb.next(self.config.retries.mongodb);
        self.back_off(wait, then, Cause::Unavailable(Dependency::MongoDb))
    }

    pub(crate) fn back_off_kafka(&mut self, then: Connecting) -> State {
        let wait = self.facts.retries.kafka.next(self.config.retries.kafka);
        self.back_off(wait, then, Cause::Unavailable(Dependency::Kafka))
    }
}
