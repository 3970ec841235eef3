//! Messages on their way into Kafka, and its reports on them. Reports come in every state; a bad one ends in one path,
//! the same as a lost source and a dead producer: everything in flight settles, the window rewinds, a stream is opened
//! after the last contiguous acked token. Nothing is ever sent again from memory.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use cdc_machine::{Backoff, Cause, EffectId, Fault, SeqNo, Settlement, Verdict, ensure};

use crate::announcements::Announcements;
use crate::batches::Batches;
use crate::config::OnTooLarge;
use crate::context::{Context, byte};
use crate::ending::Ending;
use crate::record::Record;
use crate::trouble::Trouble;
use crate::verdict;
use crate::window::Window;
use crate::{Effect, Event, Payload, TimerKind, TopicState};

/// The producer, and what it has in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Publishing<R, T> {
    phase: Phase,
    retries: Backoff,
    /// Which messages may share a batch.
    batches: Batches<T>,
    /// Slots whose message did not fit and whose marker is in flight instead.
    markers: BTreeSet<SeqNo>,
    announcements: Announcements<R>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// A producer is to be made, anew where there was one.
    Due,
    BackingOff,
    Preparing {
        id: EffectId,
    },
    Ready,
}

impl<R: Clone, T: Clone + Ord> Publishing<R, T> {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Due,
            retries: Backoff::new(),
            batches: Batches::new(),
            markers: BTreeSet::new(),
            announcements: Announcements::new(),
        }
    }

    /// True once there is a producer; orders one where none is on its way.
    pub(crate) fn is_ready(&mut self, newest: Option<&T>, cx: &mut Context<'_, R, T>) -> bool {
        if self.phase == Phase::Due {
            let id = cx.ids.new_effect();
            self.phase = Phase::Preparing { id };
            cx.order(Effect::PrepareProducer { id, batching: self.batches.next(newest) });
        }
        self.phase == Phase::Ready
    }

    /// The topics, where the producer is ready now.
    pub(crate) fn on_prepared(
        &mut self,
        id: EffectId,
        result: Result<Vec<TopicState>, Fault>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<Option<Vec<TopicState>>, Ending> {
        if self.phase != (Phase::Preparing { id }) {
            cx.ids.ignore_reply(id);
            return Ok(None);
        }
        match result.map_err(verdict::on_kafka) {
            Ok(topics) => {
                self.phase = Phase::Ready;
                self.announcements.send_to(topics.iter().map(|topic| topic.partitions.max(1)).sum());
                Ok(Some(topics))
            }
            Err(Verdict::Retry(exhausted)) => self.make_after_wait(exhausted, cx).map(|()| None),
            Err(Verdict::End(cause)) => Err(Ending::Drain(cause)),
        }
    }

    /// A new producer, after a back-off, which uses up one of Kafka's retries.
    pub(crate) fn make_after_wait(
        &mut self,
        exhausted: Cause,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        let wait = self.retries.next(cx.config.retries.kafka).ok_or(Ending::Drain(exhausted))?;
        self.phase = Phase::BackingOff;
        cx.set_timer(TimerKind::Reconnect, wait);
        Ok(())
    }

    /// A new producer, at once.
    pub(crate) const fn make_anew(&mut self) {
        self.phase = Phase::Due;
    }

    /// A back-off has ended.
    pub(crate) fn on_wait_over(&mut self) {
        if self.phase == Phase::BackingOff {
            self.phase = Phase::Due;
        }
    }

    /// An end has begun: a producer that is being made is of no use any more.
    pub(crate) const fn give_up(&mut self) {
        if let Phase::Preparing { .. } = self.phase {
            self.phase = Phase::Due;
        }
    }

    /// Takes one event of the stream.
    pub(crate) fn publish(
        &mut self,
        event: Event<R, T>,
        window: &mut Window<T>,
        record: &mut Record<T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        let Event { token, payload } = event;
        match payload {
            Payload::Message { record: message, bytes, collection } => {
                record.fill(collection, &token);
                let seq = window.open(token, u64::from(bytes), 1);
                let partitions = record.partitions_of(collection);
                cx.order(Effect::Publish { seq, record: message, partitions });
            }
            Payload::Control { notices, gone, replaced } => {
                record.lose_collections(&token, &gone, replaced, window.newest());
                self.announcements.publish(token, notices, window, cx);
            }
            Payload::Oversized { marker } => match cx.config.on_too_large {
                OnTooLarge::DeadLetter => {
                    let seq = window.open(token, 0, 1);
                    self.markers.insert(seq);
                    cx.order(Effect::PublishMarker { seq, marker });
                }
                OnTooLarge::Skip => window.open_settled(token),
                OnTooLarge::Stop => return Err(Ending::Drain(Cause::BadRecord)),
            },
            Payload::Skip => window.open_settled(token),
        }
        Ok(())
    }

    pub(crate) fn on_delivered(
        &mut self,
        seqs: &[SeqNo],
        window: &mut Window<T>,
        cx: &mut Context<'_, R, T>,
    ) {
        let before = window.savable();
        for &seq in seqs {
            if window.settle(seq, cx.ids) == Settlement::Settled {
                self.markers.remove(&seq);
                self.announcements.on_settled(seq);
            }
        }
        // Progress is a longer prefix. Deliveries behind a message that always fails are none, or it would
        // be tried for ever.
        if window.savable() > before {
            self.retries.reset();
        }
    }

    /// What has to be rewound for, beside what is (`present`).
    pub(crate) fn on_delivery_failed(
        &mut self,
        (seq, fault): (SeqNo, Fault),
        present: Option<Trouble>,
        is_draining: bool,
        window: &mut Window<T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<Option<Trouble>, Ending> {
        let Some(position) = window.fail(seq, cx.ids) else { return Ok(None) };
        self.markers.remove(&seq);
        self.announcements.on_failed(seq);
        if is_draining {
            return Err(Ending::Undeliverable(Cause::DrainIncomplete));
        }
        match (fault, verdict::on_kafka(fault)) {
            (Fault::TooLarge, _) => Ok(Some(self.refuse_batch(position, present))),
            (_, Verdict::Retry(_)) => Ok(Some(Trouble::Producer)),
            (_, Verdict::End(cause)) => Err(Ending::Undeliverable(cause)),
        }
    }

    /// A batch was refused, and nobody knows which of its messages are too large. Told of messages that went
    /// alone, it would be so for ever: then it is a failure like others, and counted.
    fn refuse_batch(&mut self, position: T, present: Option<Trouble>) -> Trouble {
        let is_new = !self.batches.are_single();
        self.batches.refuse(position);
        if is_new || present == Some(Trouble::Refused) { Trouble::Refused } else { Trouble::Producer }
    }

    pub(crate) fn on_too_large(
        &mut self,
        seq: SeqNo,
        marker: R,
        present: Option<Trouble>,
        window: &mut Window<T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        if !window.is_in_flight(seq) {
            window.ignore(seq, cx.ids);
            return Ok(());
        }
        if present.is_some_and(Trouble::is_of_delivery) {
            // It is read again, and found too large again.
            window.fail(seq, cx.ids);
            self.markers.remove(&seq);
            return Ok(());
        }
        self.batches.explain();
        match cx.config.on_too_large {
            OnTooLarge::Skip => {
                window.settle(seq, cx.ids);
            }
            // A marker that does not fit either comes back here, and must not go round for ever.
            OnTooLarge::DeadLetter if self.markers.insert(seq) => {
                cx.order(Effect::PublishMarker { seq, marker });
            }
            OnTooLarge::DeadLetter | OnTooLarge::Stop => {
                window.fail(seq, cx.ids);
                self.markers.remove(&seq);
                return Err(Ending::Undeliverable(Cause::BadRecord));
            }
        }
        Ok(())
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub(crate) fn is_backing_off(&self) -> bool {
        self.phase == Phase::BackingOff
    }

    /// True once the messages of a refused batch have been read again: the next ones may share a batch.
    pub(crate) fn is_past_refused(&self, newest: Option<&T>) -> bool {
        self.batches.are_past_refused(newest)
    }

    /// The control messages of gaps.
    pub(crate) const fn announcements(&mut self) -> &mut Announcements<R> {
        &mut self.announcements
    }

    /// True where Kafka has a control message of every recorded gap.
    pub(crate) const fn are_gaps_told(&self) -> bool {
        self.announcements.are_all_told()
    }

    /// True where gaps are to be told to Kafka before the next event.
    pub(crate) const fn are_gaps_due(&self) -> bool {
        self.announcements.are_due()
    }

    /// What is in flight is forgotten, and sent again.
    pub(crate) fn rewind(&mut self) {
        self.markers.clear();
        self.announcements.rewind();
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    pub(crate) fn check(&self, window: &Window<T>) -> Result<(), &'static str> {
        let are_in_flight = self.markers.iter().all(|seq| window.is_in_flight(*seq));
        ensure(are_in_flight, "a marker stands for a slot in flight")?;
        self.announcements.check(window)
    }

    pub(crate) fn situation(&self) -> [u8; 5] {
        let phase = match self.phase {
            Phase::Due => 0,
            Phase::BackingOff => 1,
            Phase::Preparing { .. } => 2,
            Phase::Ready => 3,
        };
        [
            phase,
            byte(u64::from(self.retries.retries())),
            byte(self.markers.len() as u64),
            self.announcements.situation(),
            u8::from(self.batches.are_single()),
        ]
    }
}
