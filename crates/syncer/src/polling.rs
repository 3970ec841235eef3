//! One fetch at a time, as large as the credit, routed to the workers' queues.
//!
//! Credit is what every queue still takes, so that no answer can overflow one wherever its keys route, and what
//! is left of the bounds on records and bytes from poll to offset commit.

use alloc::vec::Vec;

use cdc_machine::{Cause, Plant, ensure, planted};

use crate::context::{Context, Timers};
use crate::partitions::{InHand, Partitions, Stage};
use crate::writers::Writers;
use crate::{Config, Effect, Record, Row, TimerKind};

/// How it stands with fetching. Variants exclude each other: a paused consumer brings no records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Polling {
    /// Nothing asked for, nothing to wait for.
    #[default]
    Idle,
    /// One fetch is outstanding, which keeps the consumer polling.
    Fetching { asked: u32 },
    /// No credit; the pause timer runs.
    Stalled,
    /// No credit for long, or a drain: the partitions are paused.
    Paused,
}

/// What one fetch may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credit {
    records: u32,
    bytes: u64,
}

impl Polling {
    pub(crate) fn on_records<R: Clone>(
        &mut self,
        records: Vec<Record<R>>,
        partitions: &mut Partitions,
        writers: &mut Writers<R>,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if !matches!(self, Self::Fetching { .. }) {
            // Late, after a pause for good or the death of the consumer: all of it will be read again.
            cx.ids.ignore(true);
            partitions.ignore_records(records.len() as u64);
            return Ok(());
        }
        *self = Self::Idle;
        for record in records {
            if let Some(seq) = partitions.open(&record)? {
                let Record { partition, epoch, offset, route, bytes, handle } = record;
                writers.push(Row { partition, epoch, seq, offset, route, bytes, handle });
            }
        }
        Ok(())
    }

    /// Fetches where there is credit; where there is none for long, has the partitions paused, so that the
    /// consumer goes on polling and stays in the group.
    pub(crate) fn poll<R: Clone>(
        &mut self,
        partitions: &Partitions,
        writers: &Writers<R>,
        cx: &mut Context<'_, R>,
    ) {
        if self.is_fetching() {
            return;
        }
        if !partitions.iter().any(|(_, it)| matches!(it.stage, Stage::Serving(_))) {
            if *self == Self::Stalled {
                self.end(cx);
            }
        } else if let Some(credit) = credit(partitions, writers, cx.config) {
            self.fetch(credit, cx);
        } else if *self == Self::Idle {
            cx.set_timer(TimerKind::Pause, cx.config.pause_after);
            *self = Self::Stalled;
        }
    }

    /// There has been no credit for long.
    pub(crate) fn on_stalled<R>(&mut self, cx: &mut Context<'_, R>) {
        if *self == Self::Stalled {
            *self = Self::Paused;
            cx.order(Effect::Pause);
        }
    }

    /// Nothing more is read: for good where we are members, else there is nobody to read from.
    pub(crate) fn begin_draining<R>(&mut self, is_member: bool, cx: &mut Context<'_, R>) {
        cx.cancel_timer(TimerKind::Pause);
        if is_member {
            if *self != Self::Paused {
                cx.order(Effect::Pause);
            }
            *self = Self::Paused;
        }
    }

    /// There is nothing to read from any more.
    pub(crate) fn end<R>(&mut self, cx: &mut Context<'_, R>) {
        cx.cancel_timer(TimerKind::Pause);
        *self = Self::Idle;
    }

    pub(crate) const fn is_fetching(self) -> bool {
        matches!(self, Self::Fetching { .. })
    }

    pub(crate) fn check(self, timers: &Timers) -> Result<(), &'static str> {
        ensure(
            (self == Self::Stalled) == timers.is_running(TimerKind::Pause),
            "the pause timer runs exactly while there is no credit",
        )
    }

    pub(crate) const fn situation(self) -> u64 {
        match self {
            Self::Idle => 0,
            Self::Stalled => 1,
            Self::Paused => 2,
            Self::Fetching { asked } => 3 + asked as u64,
        }
    }

    fn fetch<R>(&mut self, credit: Credit, cx: &mut Context<'_, R>) {
        cx.cancel_timer(TimerKind::Pause);
        if *self == Self::Paused && !planted(Plant::LeftPaused) {
            cx.order(Effect::Resume);
        }
        *self = Self::Fetching { asked: credit.records };
        cx.order(Effect::Fetch { max_records: credit.records, max_bytes: credit.bytes });
    }
}

/// What a fetch may bring; `None` where it is not worth it.
pub(crate) fn credit<R: Clone>(
    partitions: &Partitions,
    writers: &Writers<R>,
    config: &Config,
) -> Option<Credit> {
    let in_queues = writers.credit(config)?;
    let (in_window, bytes) = window_credit(partitions, config)?;
    if in_queues < config.fetch_records_min() {
        return None;
    }
    let records = u64::min(in_queues as u64, in_window).min(u64::from(config.max_fetch_records.max(1)));
    Some(Credit { records: u32::try_from(records).unwrap_or(u32::MAX), bytes })
}

/// Records and bytes that may still be read before something is committed; `None` where that is hardly any.
pub(crate) fn window_credit(partitions: &Partitions, config: &Config) -> Option<(u64, u64)> {
    let InHand { records, bytes: buffered, .. } = partitions.in_hand();
    let records = config.buffered_records().saturating_sub(records);
    if records < config.fetch_records_min() as u64 {
        return None;
    }
    let bytes = config.max_buffered_bytes.saturating_sub(buffered);
    if buffered > 0 && bytes < config.fetch_bytes_min() {
        return None;
    }
    Some((records, bytes.max(1)))
}
