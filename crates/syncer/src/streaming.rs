//! `Streaming`: one fetch at a time, as large as the room, routed to the lanes.
//!
//! Room is what every lane still takes, so that no answer can overflow one wherever its keys route, and what
//! is left of the bounds on records and bytes from poll to offset commit.

use alloc::vec::Vec;

use cdc_machine::Cause;

use crate::facts::Polling;
use crate::partitions::Admission;
use crate::turn::Turn;
use crate::{Effect, Record, Row, TimerKind};

/// What one fetch may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) records: u32,
    pub(crate) bytes: u64,
}

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn on_records(&mut self, records: Vec<Record<R>>) -> Result<(), Cause> {
        if !matches!(self.facts.polling, Polling::Fetching { .. }) {
            // Late, after a pause for good or the death of the consumer: all of it will be read again.
            self.facts.ignore(true);
            self.facts.ignored.records += records.len() as u64;
            return Ok(());
        }
        self.facts.polling = Polling::Idle;
        for record in records {
            self.route(record)?;
        }
        Ok(())
    }

    fn route(&mut self, record: Record<R>) -> Result<(), Cause> {
        let Record { partition, epoch, offset, route, bytes, handle } = record;
        let seq = match self.facts.partitions.open(partition, epoch, offset, bytes) {
            Admission::Opened(seq) => seq,
            Admission::Stale => {
                self.facts.ignored.records += 1;
                return Ok(());
            }
            Admission::OutOfOrder => {
                return Err(Cause::Invariant("a partition's offsets rise within an assignment"));
            }
        };
        // The remainder is below the number of workers, so it fits.
        let worker = (route % self.facts.workers.len() as u64) as usize;
        if let Some(worker) = self.facts.workers.get_mut(worker) {
            worker.push(Row { partition, epoch, seq, offset, route, bytes, handle });
        }
        Ok(())
    }

    /// Fetches where there is room; where there is none for long, has the partitions paused, so that the
    /// consumer goes on polling and stays in the group.
    pub(crate) fn poll(&mut self) {
        if matches!(self.facts.polling, Polling::Fetching { .. }) {
            return;
        }
        if !self.facts.partitions.is_serving_any() {
            if self.facts.polling == Polling::Stalled {
                self.cancel_timer(TimerKind::Pause);
                self.facts.polling = Polling::Idle;
            }
            return;
        }
        match self.room() {
            Some(room) => self.fetch(room),
            None if self.facts.polling == Polling::Idle => {
                self.set_timer(TimerKind::Pause, self.config.pause_after);
                self.facts.polling = Polling::Stalled;
            }
            None => {}
        }
    }

    pub(crate) fn on_pause(&mut self) {
        if self.facts.polling == Polling::Stalled {
            self.facts.polling = Polling::Paused;
            self.out.push(Effect::Pause);
        }
    }

    fn fetch(&mut self, room: Room) {
        self.cancel_timer(TimerKind::Pause);
        if self.facts.polling == Polling::Paused {
            self.out.push(Effect::Resume);
        }
        self.facts.polling = Polling::Fetching { asked: room.records };
        self.out.push(Effect::Fetch { max_records: room.records, max_bytes: room.bytes });
    }

    /// `None` where a fetch is not worth it.
    pub(crate) fn room(&self) -> Option<Room> {
        let least = self.config.fetch_records_min();
        let in_lanes = self.facts.workers.iter().map(|worker| worker.free(self.config)).min()?;
        let (in_window, bytes) = self.window_room()?;
        if in_lanes < least {
            return None;
        }
        let records =
            u64::min(in_lanes as u64, in_window).min(u64::from(self.config.max_fetch_records.max(1)));
        Some(Room { records: u32::try_from(records).unwrap_or(u32::MAX), bytes })
    }

    /// Records and bytes that may still be read before something is committed; `None` where that is hardly
    /// any.
    pub(crate) fn window_room(&self) -> Option<(u64, u64)> {
        let records = self.config.buffered_records().saturating_sub(self.facts.partitions.records());
        if records < self.config.fetch_records_min() as u64 {
            return None;
        }
        let buffered = self.facts.partitions.bytes();
        let bytes = self.config.max_buffered_bytes.saturating_sub(buffered);
        if buffered > 0 && bytes < self.config.fetch_bytes_min() {
            return None;
        }
        Some((records, bytes.max(1)))
    }
}
