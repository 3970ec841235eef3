use std::time::Duration;

use cdc_machine::{Epoch, Fault, Lineage, Signal};
use cdc_watcher::{Checkpoint, Event, Input, Payload, StartAt};

use super::{Token, World, is_skipped};

/// How a neighbour answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Bad(Fault),
}

/// One move of the world. What cannot happen now does nothing.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    /// This many new events in the source.
    Write(u8),
    /// The source answers; `at_most` bounds a batch.
    Source(Outcome, u8),
    /// The answer to a pull of a closed stream arrives.
    LateBatch,
    /// Kafka reports on one of the messages in flight, oldest first from 0.
    Report(u8, Outcome),
    /// Kafka has everything in flight, and says so newest first.
    AllDelivered,
    /// One message in flight does not fit.
    TooLarge(u8),
    Producer(Outcome),
    LoseProducer,
    Store(Outcome),
    Lease(Outcome),
    LeaseHeld,
    /// The nth of the running timers, the drain's excepted.
    Timer(u8),
    Drain,
    DrainTimeout,
    Abort,
    Crash,
}

impl World {
    pub(crate) fn make(&mut self, r#move: &Move) {
        match *r#move {
            Move::Write(events) => self.log += u32::from(events),
            Move::Source(outcome, at_most) => self.answer_source(outcome, at_most),
            Move::LateBatch => {
                if let Some(epoch) = self.late.take() {
                    self.feed(Input::Batch { epoch, events: vec![message(self.log)], idle: None });
                }
            }
            Move::Report(which, outcome) => self.report(usize::from(which), outcome),
            Move::AllDelivered => self.deliver_all(),
            Move::TooLarge(which) => self.report_too_large(usize::from(which)),
            Move::Producer(outcome) => self.answer_producer(outcome),
            Move::LoseProducer => {
                if self.producer_is_ready && self.preparation.is_none() {
                    self.producer_is_ready = false;
                    self.in_flight.clear();
                    self.feed(Input::ProducerLost { fault: Fault::Fatal });
                }
            }
            Move::Store(outcome) => self.answer_save(outcome),
            Move::Lease(outcome) => self.answer_lease(outcome),
            Move::LeaseHeld => {
                if let Some(id) = self.acquisition.take() {
                    self.feed(Input::LeaseHeld { id, expires_in: Duration::from_secs(3) });
                }
            }
            Move::Timer(which) => self.fire(usize::from(which)),
            Move::Drain => {
                self.is_draining = true;
                self.feed(Input::Signal(Signal::Drain));
            }
            Move::DrainTimeout => {
                if let Some(timer) = self.timers.remove(&cdc_watcher::TimerKind::Drain) {
                    self.feed(Input::Timer(timer));
                }
            }
            Move::Abort => self.feed(Input::Signal(Signal::Abort)),
            Move::Crash => self.crash(),
        }
    }

    pub(super) fn answer_source(&mut self, outcome: Outcome, at_most: u8) {
        if let Some((epoch, from)) = self.opening.take() {
            match outcome {
                Outcome::Good => self.open(epoch, from),
                Outcome::Bad(fault) => self.feed(Input::OpenFailed { epoch, fault }),
            }
        } else if let Some((epoch, asked)) = self.pull.take() {
            match outcome {
                Outcome::Good => self.send_batch(epoch, asked.min(u32::from(at_most))),
                Outcome::Bad(fault) => self.feed(Input::SourceFailed { epoch, fault }),
            }
        }
    }

    fn open(&mut self, epoch: Epoch, from: StartAt<Token>) {
        let at = match from {
            StartAt::Now => {
                assert_eq!(self.saved, None, "only a first start begins at the present");
                self.birth = Some(self.log);
                self.log
            }
            StartAt::After(token) => token,
        };
        self.stream = Some((epoch, at));
        self.feed(Input::Opened { epoch, at });
    }

    fn send_batch(&mut self, epoch: Epoch, at_most: u32) {
        let Some((_, cursor)) = &mut self.stream else {
            return;
        };
        let through = self.log.min(*cursor + at_most);
        let events: Vec<_> = (*cursor + 1..=through).map(message).collect();
        *cursor = through;
        let idle = events.is_empty().then_some(through);
        self.feed(Input::Batch { epoch, events, idle });
    }

    fn report(&mut self, which: usize, outcome: Outcome) {
        if which >= self.in_flight.len() {
            return;
        }
        let sent = self.in_flight.remove(which);
        match outcome {
            Outcome::Good if !sent.is_purged => {
                self.acked.insert(sent.token);
                self.acked_and_past.insert(sent.token);
                self.feed(Input::Delivered { seqs: vec![sent.seq] });
            }
            Outcome::Good => self.feed(Input::DeliveryFailed { seq: sent.seq, fault: Fault::Transient }),
            Outcome::Bad(fault) => self.feed(Input::DeliveryFailed { seq: sent.seq, fault }),
        }
    }

    pub(super) fn deliver_all(&mut self) {
        let (purged, delivered): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.in_flight).into_iter().partition(|sent| sent.is_purged);
        self.acked.extend(delivered.iter().map(|sent| sent.token));
        self.acked_and_past.extend(delivered.iter().map(|sent| sent.token));
        if !delivered.is_empty() {
            self.feed(Input::Delivered { seqs: delivered.iter().rev().map(|sent| sent.seq).collect() });
        }
        for sent in purged {
            self.feed(Input::DeliveryFailed { seq: sent.seq, fault: Fault::Transient });
        }
    }

    fn report_too_large(&mut self, which: usize) {
        if self.in_flight.get(which).is_some_and(|sent| !sent.is_marker && !sent.is_purged) {
            let sent = self.in_flight.remove(which);
            self.feed(Input::DeliveryTooLarge { seq: sent.seq, marker: sent.token });
        }
    }

    pub(super) fn answer_producer(&mut self, outcome: Outcome) {
        if let Some(id) = self.preparation.take() {
            match outcome {
                Outcome::Good => {
                    self.producer_is_ready = true;
                    self.feed(Input::ProducerReady { id, holds_messages: !self.acked.is_empty() });
                }
                Outcome::Bad(fault) => self.feed(Input::ProducerFailed { id, fault }),
            }
        }
    }

    pub(super) fn answer_save(&mut self, outcome: Outcome) {
        let Some((id, token)) = self.save.take() else {
            return;
        };
        match outcome {
            Outcome::Good => {
                self.failed_saves = 0;
                self.saved = Some(*token.position());
                self.unsaved = self.unsaved.split_off(&(token.position() + 1));
                self.feed(Input::Saved { id });
            }
            Outcome::Bad(fault) => {
                self.failed_saves += 1;
                self.feed(Input::SaveFailed { id, fault });
                let max = self.config.retries.token_store.max_retries;
                let exhausted = max.is_some_and(|max| self.failed_saves > max);
                assert!(!exhausted || self.stop.is_some(), "one save is tried at most 1 + {max:?} times");
            }
        }
    }

    pub(super) fn answer_lease(&mut self, outcome: Outcome) {
        if let Some(id) = self.acquisition.take() {
            let saved = self.saved.map(|token| Checkpoint { token, lineage: Lineage(1) });
            self.feed(match outcome {
                Outcome::Good => Input::LeaseAcquired { id, saved, fresh: Lineage(1) },
                Outcome::Bad(fault) => Input::LeaseFailed { id, fault },
            });
        } else if let Some(id) = self.renewal.take() {
            self.feed(match outcome {
                Outcome::Good => Input::LeaseRenewed { id },
                Outcome::Bad(fault) => Input::LeaseRenewFailed { id, fault },
            });
        } else if let Some(id) = self.release.take() {
            self.feed(Input::LeaseReleased { id });
        }
    }

    fn fire(&mut self, which: usize) {
        let running: Vec<_> =
            self.timers.values().copied().filter(|t| t.kind != cdc_watcher::TimerKind::Drain).collect();
        if let Some(timer) = running.get(which) {
            self.timers.remove(&timer.kind);
            self.feed(Input::Timer(*timer));
        }
    }
}

fn message(token: Token) -> Event<Token, Token> {
    let payload =
        if is_skipped(token) { Payload::Skip } else { Payload::Message { record: token, bytes: 1 } };
    Event { token, payload }
}
