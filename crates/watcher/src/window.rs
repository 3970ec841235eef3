//! What was read, what Kafka has of it, and what the store has of that; and the credit that is left to read more.

use cdc_machine::{Ids, SeqNo, Settlement, Slot, Watermark, ensure};

use crate::context::byte;
use crate::{AckedToken, Config};

/// The slots between the saved position and the newest event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window<T> {
    slots: Watermark<T>,
    /// The position that the store held: the first event comes after it.
    begins_after: Option<T>,
}

impl<T: Clone + Ord> Window<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Watermark::starting_at(SeqNo(0)), begins_after: None }
    }

    /// The store held this position.
    pub(crate) fn begin_after(&mut self, token: T) {
        self.begins_after = Some(token);
    }

    /// The position that the next stream's events come after, where it is known.
    pub(crate) fn newest(&self) -> Option<&T> {
        self.slots.newest().or(self.begins_after.as_ref())
    }

    /// True before the first slot: no stream was open yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.slots.newest().is_none()
    }

    /// Opens a slot for an event, in flight.
    pub(crate) fn open(&mut self, position: T, bytes: u64, reports: u32) -> SeqNo {
        self.slots.open(Slot { position, weight: 1, bytes, reports })
    }

    /// A position that nothing has to be delivered for.
    pub(crate) fn open_settled(&mut self, position: T) {
        self.slots.open_settled(position);
    }

    /// Kafka has one of the slot's messages. A report that nobody waits for is counted.
    pub(crate) fn settle(&mut self, seq: SeqNo, ids: &mut Ids) -> Settlement {
        let settlement = self.slots.settle(seq);
        if settlement == Settlement::Stale {
            self.ignore(seq, ids);
        }
        settlement
    }

    /// Kafka does not have one of the slot's messages: gives back the slot's position. A report that nobody waits for is
    /// counted, and `None`.
    pub(crate) fn fail(&mut self, seq: SeqNo, ids: &mut Ids) -> Option<T> {
        let position = self.slots.position(seq).cloned();
        if self.slots.fail(seq) == Settlement::Stale {
            self.ignore(seq, ids);
            return None;
        }
        position
    }

    pub(crate) fn ignore(&self, seq: SeqNo, ids: &mut Ids) {
        ids.ignore(seq < self.slots.next_seq());
    }

    pub(crate) fn is_in_flight(&self, seq: SeqNo) -> bool {
        self.slots.is_in_flight(seq)
    }

    /// Messages handed to Kafka and not yet answered.
    pub(crate) const fn unsettled(&self) -> u64 {
        self.slots.unsettled()
    }

    /// Events that a crash now would replay.
    pub(crate) const fn unsaved(&self) -> u64 {
        self.slots.unsaved_weight()
    }

    /// Events that a save now would cover.
    pub(crate) const fn savable(&self) -> u64 {
        self.slots.savable_weight()
    }

    /// What a save now would record; `None` where that is recorded.
    pub(crate) fn unsaved_prefix(&self) -> Option<&AckedToken<T>> {
        self.slots.unsaved_prefix()
    }

    pub(crate) fn mark_saved(&mut self, token: &AckedToken<T>) {
        self.slots.mark_saved(token);
    }

    /// Forgets what is in flight; it is read again.
    pub(crate) fn rewind(&mut self) {
        self.slots.rewind();
    }

    /// Events that may still be read before a crash could replay more than allowed.
    pub(crate) fn credit(&self, config: &Config) -> u64 {
        config.max_replay_events.max(1).saturating_sub(self.unsaved())
    }

    /// Bytes that may still be handed to Kafka.
    pub(crate) fn credit_bytes(&self, config: &Config) -> u64 {
        config.max_in_flight_bytes.max(1).saturating_sub(self.slots.unsettled_bytes())
    }

    /// How many events the next fetch may bring; 0 where there is no credit for any.
    pub(crate) fn fetch_credit(&self, config: &Config) -> u32 {
        if self.credit_bytes(config) == 0 {
            return 0;
        }
        let events = u32::try_from(self.credit(config)).unwrap_or(u32::MAX);
        events.min(config.max_fetch_events.max(1))
    }

    /// A save of `token` is of what Kafka has acknowledged in order.
    pub(crate) fn check_save(&self, token: &AckedToken<T>) -> Result<(), &'static str> {
        let prefix = self.slots.prefix().ok_or("a save has a settled prefix")?;
        ensure(token.through() <= prefix.through(), "a saved token is in the settled prefix")?;
        ensure(token.position() <= prefix.position(), "a saved token is not newer than the prefix")
    }

    pub(crate) fn check(&self, config: &Config) -> Result<(), &'static str> {
        self.slots.check()?;
        let is_bounded = self.unsaved() <= config.max_replay_events.max(1);
        ensure(is_bounded, "a crash replays at most max_replay_events")
    }

    /// Which of the last slots are in flight: as many as a small machine may have, idle ones between them included.
    pub(crate) fn situation(&self) -> [u8; 4] {
        let next = self.slots.next_seq().0;
        let in_flight = (next.saturating_sub(5)..next)
            .fold(0, |bits, seq| (bits << 1) | u8::from(self.is_in_flight(SeqNo(seq))));
        [byte(self.unsaved()), byte(self.savable()), in_flight, u8::from(self.unsaved_prefix().is_some())]
    }
}
