//! `Connecting`: the lease, then a producer, then a stream; at a first start its position is recorded before
//! anything is read.

use cdc_machine::{Cause, EffectId, Epoch, Fault};

use crate::config::OnHistoryLost;
use crate::facts::Origin;
use crate::state::{Connecting, State};
use crate::streaming::SourceVerdict;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Contents, Effect, GapCause, TopicState};

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    pub(crate) fn on_start(&mut self, state: State) -> State {
        if state == State::Connecting(Connecting::NotStarted) {
            return self.acquire_lease(false);
        }
        self.facts.ignore(false);
        state
    }

    /// A back-off, or a wait for somebody else's lease, has ended.
    pub(crate) fn on_wait_over(&mut self, state: State) -> State {
        match state {
            State::Connecting(Connecting::Lease) => self.acquire_lease(false),
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
        let newest = self.facts.newest().cloned();
        let batching = self.facts.batches.next(newest.as_ref());
        self.out.push(Effect::PrepareProducer { id, batching });
        State::Connecting(Connecting::Producer { id })
    }

    pub(crate) fn on_producer_ready(&mut self, state: State, id: EffectId, topics: &[TopicState]) -> State {
        if state != State::Connecting(Connecting::Producer { id }) {
            self.facts.ignore_reply(id);
            return state;
        }
        if let Err(cause) = self.look_at_topics(topics) {
            return self.end(state, cause);
        }
        let never_opened = self.facts.origin == Origin::Empty && self.facts.window.newest().is_none();
        if never_opened && self.facts.lost.is_none() && topics.iter().any(|topic| topic.holds_messages) {
            match self.config.on_history_lost {
                OnHistoryLost::Stop => return self.end(state, Cause::TokenMissing),
                OnHistoryLost::FromNow => self.facts.lost = Some(GapCause::TokenMissing),
            }
        }
        self.facts.outrank(topics.iter().filter_map(|topic| topic.lineage).max(), never_opened);
        self.open_stream()
    }

    pub(crate) fn on_producer_failed(&mut self, state: State, id: EffectId, fault: Fault) -> State {
        if state != State::Connecting(Connecting::Producer { id }) {
            self.facts.ignore_reply(id);
            return state;
        }
        match Verdict::on_kafka(fault) {
            Verdict::Retry(exhausted) => self.back_off_kafka(Connecting::ProducerDue, exhausted),
            Verdict::End(cause) => self.end(state, cause),
        }
    }

    pub(crate) fn open_stream(&mut self) -> State {
        let epoch = self.facts.new_epoch();
        let from = self.facts.resume_point();
        let (lineage, reading) = (self.facts.lineage, self.facts.reading);
        self.out.push(Effect::OpenStream { epoch, from, lineage, reading });
        State::Connecting(Connecting::Stream { epoch })
    }

    pub(crate) fn on_opened(
        &mut self,
        state: State,
        epoch: Epoch,
        at: T,
        contents: &[Contents],
        looked_at: T,
    ) -> State {
        if state != State::Connecting(Connecting::Stream { epoch }) {
            self.facts.ignore_epoch(epoch);
            return state;
        }
        let before = self.facts.newest().cloned();
        let lost = self.facts.lost.take();
        let starts = lost.is_some() || before.is_none();
        if starts && before.as_ref().is_some_and(|before| at <= *before) {
            return self.stop(Cause::Invariant("a stream that begins anew begins behind all before it"));
        }
        self.look_at_collections(contents, if starts { None } else { before.as_ref() }, looked_at);
        if let Some(cause) = lost {
            let all = self.all_collections();
            self.note_gap(before.clone(), at.clone(), cause, all);
        }
        match before {
            Some(before) if !starts => {
                if self.facts.has_start_to_record() {
                    // The same position once more: what is recorded with it is new.
                    self.facts.window.open_settled(before);
                }
            }
            _ => {
                self.facts.window.open_settled(at);
            }
        }
        State::Connecting(Connecting::RecordingStart { epoch })
    }

    pub(crate) fn on_open_failed(&mut self, state: State, epoch: Epoch, fault: Fault) -> State {
        if state != State::Connecting(Connecting::Stream { epoch }) {
            self.facts.ignore_epoch(epoch);
            return state;
        }
        // The stream that did not open needs no closing.
        let closed = State::Connecting(Connecting::StreamDue);
        match self.on_source_fault(fault) {
            SourceVerdict::Retry(exhausted) => self.back_off_mongodb(exhausted),
            SourceVerdict::Reopen => self.open_stream(),
            SourceVerdict::End(cause) => self.end(closed, cause),
        }
    }

    pub(crate) fn back_off_mongodb(&mut self, exhausted: Cause) -> State {
        let wait = self.facts.retries.mongodb.next(self.config.retries.mongodb);
        self.back_off(wait, Connecting::StreamDue, exhausted)
    }

    pub(crate) fn back_off_kafka(&mut self, then: Connecting, exhausted: Cause) -> State {
        let wait = self.facts.retries.kafka.next(self.config.retries.kafka);
        self.back_off(wait, then, exhausted)
    }
}
