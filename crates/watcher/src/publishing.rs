//! Messages on their way into Kafka, and its reports on them. Reports come in every state; a bad one ends in one path,
//! the same as a lost source and a dead producer: everything in flight settles, the window rewinds, a stream is opened
//! after the last contiguous acked token. Nothing is ever sent again from memory.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use cdc_machine::{
    Asked, Backoff, Cause, EffectId, Fault, Plant, SeqNo, Settlement, Slot, Verdict, Watermark, ensure,
    planted, settle_through,
};

use crate::announcements::Announcements;
use crate::batches::Batches;
use crate::config::OnTooLarge;
use crate::context::Context;
use crate::ending::Ending;
use crate::record::Record;
use crate::trouble::Trouble;
use crate::verdict;
use crate::{Effect, Payload, TimerKind, TopicState};

/// The producer, and what it has in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Publishing<R, T> {
    has_producer: bool,
    /// A producer is being made.
    preparing: Asked,
    retries: Backoff,
    /// Which messages may share a batch.
    batches: Batches<T>,
    /// Slots whose message did not fit and whose marker is in flight instead.
    markers: BTreeSet<SeqNo>,
    announcements: Announcements<R>,
}

impl<R: Clone, T: Clone + Ord> Publishing<R, T> {
    pub(crate) const fn new() -> Self {
        Self {
            has_producer: false,
            preparing: Asked::nothing(),
            retries: Backoff::new(),
            batches: Batches::new(),
            markers: BTreeSet::new(),
            announcements: Announcements::new(),
        }
    }

    /// True once there is a producer; orders one where none is on its way.
    pub(crate) fn is_ready(&mut self, newest: Option<&T>, cx: &mut Context<'_, R, T>) -> bool {
        if !self.has_producer && !self.preparing.is_out() {
            let id = self.preparing.ask(cx.ids, ());
            cx.order(Effect::PrepareProducer { id, batching: self.batches.next(newest) });
        }
        self.has_producer
    }

    /// The topics, where the producer is ready now.
    pub(crate) fn on_prepared(
        &mut self,
        id: EffectId,
        result: Result<Vec<TopicState>, Fault>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<Option<Vec<TopicState>>, Ending> {
        let Some(()) = self.preparing.answer(id, cx.ids) else { return Ok(None) };
        match result {
            Ok(topics) => {
                self.has_producer = true;
                self.announcements.send_to(topics.iter().map(|topic| topic.partitions.max(1)).sum());
                Ok(Some(topics))
            }
            Err(fault) => self.retry(verdict::on_kafka(fault), cx).map(|()| None),
        }
    }

    /// Uses up one of Kafka's retries: nothing is connected before it is due.
    pub(crate) fn retry(&mut self, verdict: Verdict, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        let retry = cx.config.retries.kafka;
        verdict.back_off(TimerKind::Reconnect, &mut self.retries, retry, cx).map_err(Ending::Drain)
    }

    /// A new producer is to be made.
    pub(crate) const fn make_anew(&mut self) {
        self.has_producer = false;
    }

    /// An end has begun: a producer that is being made is of no use any more.
    pub(crate) fn give_up(&mut self) {
        self.preparing.forget();
    }

    /// Takes one event of the stream.
    pub(crate) fn publish(
        &mut self,
        token: T,
        payload: Payload<R>,
        window: &mut Watermark<T>,
        record: &mut Record<T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        match payload {
            Payload::Message { record: message, bytes, collection } => {
                record.fill(collection, &token);
                let seq =
                    window.open(Slot { position: token, weight: 1, bytes: u64::from(bytes), reports: 1 });
                if planted(Plant::SaveBeforeAck) {
                    window.settle(seq);
                }
                let partitions = record.partitions_of(collection);
                cx.order(Effect::Publish { seq, record: message, partitions });
            }
            Payload::Control { notices, gone, replaced } => {
                record.lose_collections(&token, &gone, replaced, window.newest());
                self.announcements.publish(token, notices, window, cx);
            }
            Payload::Oversized { marker } => match cx.config.on_too_large {
                OnTooLarge::DeadLetter => {
                    let seq = window.open(Slot { position: token, weight: 1, bytes: 0, reports: 1 });
                    self.markers.insert(seq);
                    cx.order(Effect::PublishMarker { seq, marker });
                }
                OnTooLarge::Skip => drop(window.open_settled(token)),
                OnTooLarge::Stop => return Err(Ending::Drain(Cause::BadRecord)),
            },
            Payload::Skip => drop(window.open_settled(token)),
        }
        Ok(())
    }

    pub(crate) fn on_delivered(
        &mut self,
        seqs: &[SeqNo],
        window: &mut Watermark<T>,
        cx: &mut Context<'_, R, T>,
    ) {
        let (before, next) = (window.savable_weight(), window.next_seq());
        if planted(Plant::NewestAck) {
            seqs.iter().for_each(|seq| settle_through(window, *seq));
        }
        window.settle_all(seqs, |seq, settlement| match settlement {
            Settlement::Settled => {
                self.markers.remove(&seq);
                self.announcements.on_settled(seq);
            }
            Settlement::Awaited => {}
            Settlement::Stale => cx.ids.ignore(seq < next),
        });
        // Progress is a longer prefix. Deliveries behind a message that always fails are none, or it would
        // be tried for ever.
        if window.savable_weight() > before {
            self.retries.reset();
        }
    }

    /// What has to be rewound for, beside what is (`present`).
    pub(crate) fn on_delivery_failed(
        &mut self,
        (seq, fault): (SeqNo, Fault),
        present: Option<Trouble>,
        is_draining: bool,
        window: &mut Watermark<T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<Option<Trouble>, Ending> {
        if planted(Plant::SwallowedNack) {
            self.on_delivered(&[seq], window, cx);
            return Ok(None);
        }
        let position = window.position(seq).cloned();
        let Some(position) = position.filter(|_| window.fail(seq) != Settlement::Stale) else {
            cx.ids.ignore(seq < window.next_seq());
            return Ok(None);
        };
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
        window: &mut Watermark<T>,
        record: &mut Record<T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        if !window.is_in_flight(seq) {
            cx.ids.ignore(seq < window.next_seq());
            return Ok(());
        }
        if present.is_some_and(Trouble::is_of_delivery) {
            // It is read again, and found too large again.
            window.fail(seq);
            self.markers.remove(&seq);
            return Ok(());
        }
        self.batches.explain();
        if let Some(position) = window.position(seq) {
            record.leave_empty(position);
        }
        match cx.config.on_too_large {
            OnTooLarge::Skip => {
                window.settle(seq);
            }
            // A marker that does not fit either comes back here, and must not go round for ever.
            OnTooLarge::DeadLetter if self.markers.insert(seq) => {
                cx.order(Effect::PublishMarker { seq, marker });
            }
            OnTooLarge::DeadLetter | OnTooLarge::Stop => {
                window.fail(seq);
                self.markers.remove(&seq);
                return Err(Ending::Undeliverable(Cause::BadRecord));
            }
        }
        Ok(())
    }

    pub(crate) const fn has_producer(&self) -> bool {
        self.has_producer
    }

    /// True once the messages of a refused batch have been read again: the next ones may share a batch.
    pub(crate) fn is_past_refused(&self, newest: Option<&T>) -> bool {
        self.batches.are_past_refused(newest)
    }

    /// The control messages of gaps.
    pub(crate) const fn announcements(&self) -> &Announcements<R> {
        &self.announcements
    }

    pub(crate) const fn announcements_mut(&mut self) -> &mut Announcements<R> {
        &mut self.announcements
    }

    /// What is in flight is forgotten, and sent again.
    pub(crate) fn rewind(&mut self) {
        self.markers.clear();
        self.announcements.rewind();
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    pub(crate) fn check(&self, window: &Watermark<T>) -> Result<(), &'static str> {
        let are_in_flight = self.markers.iter().all(|seq| window.is_in_flight(*seq));
        ensure(are_in_flight, "a marker stands for a slot in flight")?;
        self.announcements.check(window)
    }

    pub(crate) fn situation(&self) -> [u64; 5] {
        [
            u64::from(self.has_producer) << 1 | u64::from(self.preparing.is_out()),
            u64::from(self.retries.retries()),
            self.markers.len() as u64,
            self.announcements.situation(),
            u64::from(self.batches.are_single()),
        ]
    }
}
