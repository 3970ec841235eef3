use std::time::Duration;

use cdc_machine::{Epoch, Fault, Lineage, Signal};
use cdc_watcher::{
    Batch, Checkpoint, CollectionId, Contents, Event, Input, LeaseRefusal, Notice, Opened, Payload, Reading,
    Saved, SourceRefusal, StartAt, Taken, TopicState,
};

use super::orders::recorded;
use super::{GAP, PARTITIONS, RecordedGap, Sent, Sort, Token, World, is_control, is_large, is_skipped};

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
    /// The answer to a fetch of a closed stream arrives.
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
    /// The record is gone when the next process reads it.
    CrashAndFlush,
    /// The record is damaged when the next process reads it.
    CrashAndDamage,
    /// Somebody deletes the topic; the next preparation makes it anew.
    DeleteTopic,
}

impl World {
    pub(crate) fn make(&mut self, r#move: &Move) {
        match *r#move {
            Move::Write(events) => self.log += u32::from(events),
            Move::Source(outcome, at_most) => self.answer_source(outcome, at_most),
            Move::LateBatch => {
                if let Some(epoch) = self.late.take() {
                    let events = vec![event(self.log, Reading::Stripped)];
                    self.feed(Input::Fetched { epoch, result: Ok(Batch { events, idle: None }) });
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
                    self.copies.clear();
                    self.feed(Input::ProducerLost { fault: Fault::Fatal });
                }
            }
            Move::Store(outcome) => self.answer_save(outcome),
            Move::Lease(outcome) => self.answer_lease(outcome),
            Move::LeaseHeld => {
                if let Some((id, _)) = self.acquisition.take() {
                    self.feed(Input::LeaseTaken {
                        id,
                        result: Err(LeaseRefusal::Held { expires_in: Duration::from_secs(3) }),
                    });
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
            Move::CrashAndFlush => {
                // Without a message in the topic, nobody could tell it from a first start.
                if !self.acked.is_empty() && !self.is_topic_gone {
                    self.record = super::Record::default();
                    self.is_damaged = false;
                }
                self.crash();
            }
            Move::CrashAndDamage => {
                self.is_damaged = true;
                self.crash();
            }
            // The record and the topic lost at once look like a first start.
            Move::DeleteTopic => self.is_topic_gone |= self.record.saved.is_some(),
        }
    }

    pub(super) fn answer_source(&mut self, outcome: Outcome, at_most: u8) {
        if std::mem::take(&mut self.is_identity_asked) {
            let result = match outcome {
                Outcome::Good => Ok(()),
                Outcome::Bad(fault) => Err(SourceRefusal::Failed(fault)),
            };
            self.feed(Input::SourceIdentified { result });
        } else if let Some((epoch, from, reading)) = self.opening.take() {
            match outcome {
                Outcome::Good => self.open(epoch, from, reading),
                Outcome::Bad(fault) => self.feed(Input::StreamOpened { epoch, result: Err(fault) }),
            }
        } else if let Some((epoch, asked)) = self.fetch.take() {
            match outcome {
                Outcome::Good => self.send_batch(epoch, asked.min(u32::from(at_most))),
                Outcome::Bad(fault) => self.feed(Input::Fetched { epoch, result: Err(fault) }),
            }
        }
    }

    fn open(&mut self, epoch: Epoch, from: StartAt<Token>, reading: Reading) {
        let at = match from {
            StartAt::Now if self.record.saved.is_none() && !self.record.is_lost && self.acked.is_empty() => {
                self.birth = Some(self.log);
                self.log
            }
            StartAt::Now => {
                // Something was written since: a position at the present is behind all before it.
                self.log += 1;
                self.jumped_to = Some(self.log);
                self.birth.get_or_insert(self.log);
                self.log
            }
            StartAt::After(token) => token,
        };
        self.stream = Some((epoch, at, reading));
        self.feed(Input::StreamOpened {
            epoch,
            result: Ok(Opened { at, contents: vec![Contents::Absent], looked_at: self.log }),
        });
    }

    fn send_batch(&mut self, epoch: Epoch, at_most: u32) {
        let Some((_, cursor, reading)) = self.stream else {
            return;
        };
        let through = self.log.min(cursor + at_most);
        if reading == Reading::Whole && (cursor + 1..=through).any(is_large) {
            self.feed(Input::Fetched { epoch, result: Err(Fault::TooLarge) });
            return;
        }
        self.stream = Some((epoch, through, reading));
        let events: Vec<_> = (cursor + 1..=through).map(|token| event(token, reading)).collect();
        let idle = events.is_empty().then_some(through);
        self.feed(Input::Fetched { epoch, result: Ok(Batch { events, idle }) });
    }

    /// Kafka has one message, or one copy of one.
    fn take(&mut self, sent: Sent) {
        match sent.sort {
            Sort::Event | Sort::Marker => {
                self.acked.insert(sent.token);
                self.acked_and_past.insert(sent.token);
            }
            Sort::Control | Sort::Announcement => {
                let Some((taken, refused)) = self.copies.get_mut(&sent.seq) else { return };
                *taken += 1;
                let is_last = !self.in_flight.iter().any(|other| other.seq == sent.seq);
                if *refused || !is_last {
                    return;
                }
                if sent.sort == Sort::Announcement {
                    self.told.extend(self.announced.iter().copied());
                    self.announcing.remove(&sent.seq);
                } else {
                    let token = sent.token % GAP;
                    self.told.insert(token);
                    self.acked.insert(token);
                    self.acked_and_past.insert(token);
                }
            }
        }
    }

    fn refuse(&mut self, sent: Sent, fault: Fault) {
        if let Some((_, refused)) = self.copies.get_mut(&sent.seq) {
            *refused = true;
        }
        if fault == Fault::TooLarge && sent.sort == Sort::Event {
            self.refused_through = self.refused_through.max(Some(sent.token));
        }
        self.feed(Input::DeliveryFailed { seq: sent.seq, fault });
    }

    fn report(&mut self, which: usize, outcome: Outcome) {
        if which >= self.in_flight.len() {
            return;
        }
        let sent = self.in_flight.remove(which);
        match outcome {
            Outcome::Good if !sent.is_purged => {
                self.take(sent);
                self.feed(Input::Delivered { seqs: vec![sent.seq] });
            }
            Outcome::Good => self.refuse(sent, Fault::Transient),
            // A message that went alone is not refused for its batch.
            Outcome::Bad(Fault::TooLarge) if self.is_single => self.refuse(sent, Fault::Transient),
            Outcome::Bad(fault) => self.refuse(sent, fault),
        }
    }

    pub(super) fn deliver_all(&mut self) {
        let (purged, delivered): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.in_flight).into_iter().partition(|sent| sent.is_purged);
        for sent in &purged {
            if let Some((_, refused)) = self.copies.get_mut(&sent.seq) {
                *refused = true;
            }
        }
        for sent in &delivered {
            self.take(*sent);
        }
        if !delivered.is_empty() {
            self.feed(Input::Delivered { seqs: delivered.iter().rev().map(|sent| sent.seq).collect() });
        }
        for sent in purged {
            self.refuse(sent, Fault::Transient);
        }
    }

    fn report_too_large(&mut self, which: usize) {
        if self.in_flight.get(which).is_some_and(|sent| sent.sort == Sort::Event && !sent.is_purged) {
            let sent = self.in_flight.remove(which);
            self.feed(Input::DeliveryTooLarge { seq: sent.seq, marker: sent.token });
        }
    }

    pub(super) fn answer_producer(&mut self, outcome: Outcome) {
        if let Some(id) = self.preparation.take() {
            match outcome {
                Outcome::Good => {
                    self.producer_is_ready = true;
                    let was_made = std::mem::take(&mut self.is_topic_gone);
                    let holds_messages = !was_made && !self.acked.is_empty();
                    let topic =
                        TopicState { partitions: PARTITIONS, was_made, holds_messages, lineage: None };
                    self.feed(Input::ProducerPrepared { id, result: Ok(vec![topic]) });
                }
                Outcome::Bad(fault) => self.feed(Input::ProducerPrepared { id, result: Err(fault) }),
            }
        }
    }

    pub(super) fn answer_save(&mut self, outcome: Outcome) {
        let Some((id, token, change)) = self.save.take() else {
            return;
        };
        match outcome {
            Outcome::Good => {
                self.failed_saves = 0;
                self.record.saved = Some(*token.position());
                self.record.is_lost = false;
                self.record.known = change.known.first().copied();
                if change.announced {
                    self.record.gaps.iter_mut().for_each(|gap| gap.announced = true);
                }
                let opened: Vec<RecordedGap> = change.gaps.iter().map(recorded).collect();
                self.record.gaps.extend(&opened);
                self.unsaved = self.unsaved.split_off(&(token.position() + 1));
                self.feed(Input::TokenSaved { id, result: Ok(notices(&opened)) });
            }
            Outcome::Bad(fault) => {
                self.failed_saves += 1;
                self.feed(Input::TokenSaved { id, result: Err(fault) });
                let max = self.config.retries.token_store.max_retries;
                let exhausted = max.is_some_and(|max| self.failed_saves > max);
                assert!(!exhausted || self.stop.is_some(), "one save is tried at most 1 + {max:?} times");
            }
        }
    }

    pub(super) fn answer_lease(&mut self, outcome: Outcome) {
        if let Some((id, over_damage)) = self.acquisition.take() {
            let input = match outcome {
                Outcome::Good if self.is_damaged && !over_damage => {
                    Input::LeaseTaken { id, result: Err(LeaseRefusal::Damaged) }
                }
                Outcome::Good => {
                    if std::mem::take(&mut self.is_damaged) {
                        self.record = super::Record { is_lost: true, ..super::Record::default() };
                    }
                    self.lease(id)
                }
                Outcome::Bad(fault) => Input::LeaseTaken { id, result: Err(LeaseRefusal::Failed(fault)) },
            };
            self.feed(input);
        } else if let Some(id) = self.renewal.take() {
            self.feed(match outcome {
                Outcome::Good => Input::LeaseRenewed { id, result: Ok(()) },
                Outcome::Bad(fault) => Input::LeaseRenewed { id, result: Err(fault) },
            });
        } else if let Some(id) = self.release.take() {
            self.feed(Input::LeaseReleased { id, result: () });
        }
    }

    fn lease(&self, id: cdc_machine::EffectId) -> Input<Token, Token> {
        let saved = match self.record.saved {
            Some(token) => {
                Saved::Position(Checkpoint { token, lineage: Lineage(1), known: vec![self.record.known] })
            }
            None if self.record.is_lost => Saved::Lost,
            None => Saved::Nothing,
        };
        Input::LeaseTaken {
            id,
            result: Ok(Taken { saved, unannounced: notices(&self.record.gaps), fresh: Lineage(1) }),
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

/// The control messages of the gaps that Kafka may not have.
fn notices(gaps: &[RecordedGap]) -> Vec<Notice<Token>> {
    gaps.iter().filter(|gap| !gap.announced).map(|gap| notice(GAP + gap.to)).collect()
}

const fn notice(record: Token) -> Notice<Token> {
    Notice { record, bytes: 0 }
}

fn event(token: Token, reading: Reading) -> Event<Token, Token> {
    let players = CollectionId(0);
    let payload = if is_skipped(token) {
        Payload::Skip
    } else if token.is_multiple_of(14) {
        let notices = vec![notice(token), notice(GAP + token)];
        Payload::Control { notices, gone: vec![], replaced: vec![players] }
    } else if is_control(token) {
        Payload::Control { notices: vec![notice(token)], gone: vec![players], replaced: vec![] }
    } else if is_large(token) && reading == Reading::Stripped {
        Payload::Oversized { marker: token }
    } else {
        Payload::Message { record: token, bytes: 1, collection: players }
    };
    Event { token, payload }
}
