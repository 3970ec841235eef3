//! Control messages: those that the stream brings, and those of recorded gaps, which go to Kafka before the next event.

use alloc::vec::Vec;

use cdc_machine::{SeqNo, Slot, Watermark, ensure};

use crate::context::Context;
use crate::{Effect, Notice};

/// The control messages of gaps, until Kafka has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Announcements<R> {
    /// Those of recorded gaps that Kafka may not have.
    waiting: Vec<Notice<R>>,
    /// The slot in which the first so many of them are on their way.
    in_flight: Option<(SeqNo, usize)>,
    /// Copies of one control message: the partitions of all topics.
    copies: u32,
}

impl<R: Clone> Announcements<R> {
    pub(crate) const fn new() -> Self {
        Self { waiting: Vec::new(), in_flight: None, copies: 1 }
    }

    /// The topics have so many partitions in all.
    pub(crate) const fn send_to(&mut self, partitions: u32) {
        self.copies = partitions;
    }

    /// The record holds the gaps of these.
    pub(crate) fn add(&mut self, notices: Vec<Notice<R>>) {
        self.waiting.extend(notices);
    }

    /// True where gaps are to be told to Kafka before the next event.
    pub(crate) const fn are_due(&self) -> bool {
        self.in_flight.is_none() && !self.waiting.is_empty()
    }

    /// True where Kafka has a control message of every recorded gap.
    pub(crate) const fn are_all_told(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends the control messages of recorded gaps.
    pub(crate) fn send_waiting<T: Clone + Ord>(
        &mut self,
        window: &mut Watermark<T>,
        cx: &mut Context<'_, R, T>,
    ) {
        let Some(position) = window.newest().cloned() else { return };
        let notices = self.waiting.clone();
        let count = notices.len();
        let seq = self.publish(position, notices, window, cx);
        self.in_flight = Some((seq, count));
    }

    /// Hands control messages to every partition, in one slot.
    pub(crate) fn publish<T: Clone + Ord>(
        &self,
        position: T,
        notices: Vec<Notice<R>>,
        window: &mut Watermark<T>,
        cx: &mut Context<'_, R, T>,
    ) -> SeqNo {
        let copies = self.copies;
        let bytes: u64 = notices.iter().map(|notice| u64::from(notice.bytes)).sum();
        let messages = u32::try_from(notices.len()).unwrap_or(u32::MAX);
        let bytes = bytes.saturating_mul(u64::from(copies));
        let reports = copies.saturating_mul(messages);
        let seq = window.open(Slot { position, weight: 1, bytes, reports });
        let records = notices.into_iter().map(|notice| notice.record).collect();
        cx.order(Effect::PublishControl { seq, records, copies });
        seq
    }

    /// Kafka has every copy of a slot's messages.
    pub(crate) fn on_settled(&mut self, seq: SeqNo) {
        if let Some((_, count)) = self.in_flight.take_if(|(in_flight, _)| *in_flight == seq) {
            self.waiting.drain(..count.min(self.waiting.len()));
        }
    }

    /// Whatever a slot's other copies come to, it is sent again.
    pub(crate) fn on_failed(&mut self, seq: SeqNo) {
        self.in_flight.take_if(|(in_flight, _)| *in_flight == seq);
    }

    /// What is in flight is forgotten, and sent again.
    pub(crate) const fn rewind(&mut self) {
        self.in_flight = None;
    }

    pub(crate) fn check<T: Clone + Ord>(&self, window: &Watermark<T>) -> Result<(), &'static str> {
        let Some((seq, count)) = self.in_flight else { return Ok(()) };
        ensure(
            window.is_in_flight(seq) && (1..=self.waiting.len()).contains(&count),
            "an announcement in flight is of gaps that are not announced",
        )
    }

    pub(crate) fn situation(&self) -> u64 {
        u64::from(!self.waiting.is_empty()) << 1 | u64::from(self.in_flight.is_some())
    }
}
