use alloc::vec::Vec;
use core::mem;

use cdc_machine::{Backoff, EffectId, ensure};

use super::queue::Queue;
use super::retries::WriteRetries;
use crate::context::Timers;
use crate::outage::Outage;
use crate::parked::Retried;
use crate::{Batch, Config, Row, TimerKind, WorkerId};

/// One worker: the rows of the keys that route to it, in the order in which they were read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker<R> {
    queue: Queue<R>,
    writer: Writer<R>,
    /// What is left of a batch that was cut, the next piece last. Halving keeps it short.
    pieces: Vec<Piece<R>>,
    retries: WriteRetries,
}

/// What a worker's writer is at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Writer<R> {
    Idle,
    Writing {
        id: EffectId,
        piece: Piece<R>,
    },
    BackingOff(Piece<R>),
    /// PostgreSQL is out of reach: the piece is written again with everything else that waits for it.
    OutOfReach(Piece<R>),
    /// Its parked rows are being tried again.
    Retrying {
        id: EffectId,
        retried: Retried,
    },
}

/// A batch, or a part of one, with the number of times that it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Piece<R> {
    pub(crate) batch: Batch<R>,
    pub(crate) attempts: u32,
    /// Whether its blocked rows are to be parked.
    pub(crate) parks: bool,
}

impl<R> Writer<R> {
    /// What it is at, if it is that; it is idle then.
    fn take_if(&mut self, is_it: impl FnOnce(&Self) -> bool) -> Option<Self> {
        is_it(self).then(|| mem::replace(self, Self::Idle))
    }

    const fn piece(&self) -> Option<&Piece<R>> {
        match self {
            Self::Idle | Self::Retrying { .. } => None,
            Self::Writing { piece, .. } | Self::BackingOff(piece) | Self::OutOfReach(piece) => Some(piece),
        }
    }
}

impl<R: Clone> Worker<R> {
    pub(super) fn new() -> Self {
        Self {
            queue: Queue::new(),
            writer: Writer::Idle,
            pieces: Vec::new(),
            retries: WriteRetries::default(),
        }
    }

    pub(crate) const fn queue(&mut self) -> &mut Queue<R> {
        &mut self.queue
    }

    pub(crate) const fn retries(&mut self) -> &mut WriteRetries {
        &mut self.retries
    }

    /// Retries used.
    pub(super) const fn retries_used(&self) -> Backoff {
        self.retries.used()
    }

    /// Rows that the queue still takes.
    pub(super) fn credit(&self, config: &Config) -> usize {
        config.queue_rows().saturating_sub(self.rows_in_hand() + self.queue.rows().len())
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.writer, Writer::Idle)
    }

    /// True while PostgreSQL is to answer.
    pub(super) const fn is_at_work(&self) -> bool {
        matches!(self.writer, Writer::Writing { .. } | Writer::Retrying { .. })
    }

    /// True between two batches.
    pub(super) const fn has_nothing_begun(&self) -> bool {
        self.is_idle() && self.pieces.is_empty()
    }

    /// True where rows wait for time to pass.
    pub(super) const fn waits(&self, lingers: bool) -> bool {
        self.queue.is_any_not_due() && (self.is_idle() || !lingers)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.is_idle() && self.queue.rows().is_empty()
    }

    /// The next piece to write: of a batch that was begun, or of rows that are due.
    pub(super) fn next_piece(&mut self, config: &Config) -> Option<Piece<R>> {
        let begun = self.pieces.pop();
        if begun.is_some() || !self.queue.is_due(config) {
            return begun;
        }
        Some(Piece { batch: self.queue.take_batch(config), attempts: 0, parks: false })
    }

    pub(super) fn push_piece(&mut self, piece: Piece<R>) {
        self.pieces.push(piece);
    }

    pub(super) fn begin(&mut self, id: EffectId, piece: Piece<R>) {
        self.writer = Writer::Writing { id, piece };
    }

    pub(super) fn begin_retry(&mut self, id: EffectId, retried: Retried) {
        self.writer = Writer::Retrying { id, retried };
    }

    pub(crate) fn finish(&mut self, id: EffectId) -> Option<Piece<R>> {
        let is_it = |writer: &_| matches!(writer, Writer::Writing { id: asked, .. } if *asked == id);
        let Writer::Writing { piece, .. } = self.writer.take_if(is_it)? else { return None };
        Some(Piece { attempts: piece.attempts.saturating_add(1), ..piece })
    }

    pub(crate) fn finish_retry(&mut self, id: EffectId) -> Option<Retried> {
        let is_it = |writer: &_| matches!(writer, Writer::Retrying { id: asked, .. } if *asked == id);
        let Writer::Retrying { retried, .. } = self.writer.take_if(is_it)? else { return None };
        Some(retried)
    }

    pub(super) fn back_off(&mut self, piece: Piece<R>) {
        self.writer = Writer::BackingOff(piece);
    }

    /// The back-off is over: its piece is the next to be written.
    pub(crate) fn end_back_off(&mut self) {
        let backed_off = self.writer.take_if(|writer| matches!(writer, Writer::BackingOff(_)));
        if let Some(Writer::BackingOff(piece)) = backed_off {
            self.pieces.push(piece);
        }
    }

    /// PostgreSQL is out of reach.
    pub(crate) fn begin_outage(&mut self, piece: Piece<R>) {
        self.writer = Writer::OutOfReach(piece);
    }

    pub(super) fn end_outage(&mut self) {
        let out_of_reach = self.writer.take_if(|writer| matches!(writer, Writer::OutOfReach(_)));
        if let Some(Writer::OutOfReach(piece)) = out_of_reach {
            self.pieces.push(piece);
        }
    }

    /// All rows in its hands.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<R>> {
        self.queue.rows().iter().chain(self.pieces_in_hand().flat_map(|piece| piece.batch.rows()))
    }

    pub(super) fn check(&self, id: WorkerId, config: &Config, timers: &Timers) -> Result<(), &'static str> {
        ensure(
            matches!(self.writer, Writer::BackingOff(_)) == timers.is_running(TimerKind::WriteRetry(id)),
            "a writer that backs off has its timer",
        )?;
        ensure(
            !matches!(self.writer, Writer::OutOfReach(_)) || timers.is_running(TimerKind::OutageRetry),
            "what waits for PostgreSQL is tried again in time",
        )?;
        let in_hand = self.rows_in_hand();
        ensure(
            in_hand + self.queue.rows().len() <= config.queue_rows(),
            "a queue holds at most a batch and a channel",
        )?;
        ensure(in_hand <= config.batch_rows(), "a batch is bounded")?;
        ensure(!self.is_idle() || self.pieces.is_empty(), "an idle writer has no pieces left")?;
        ensure(!self.is_idle() || !self.queue.is_due(config), "what is due is written")?;
        self.queue.check()
    }

    pub(super) fn situation(&self, is_current: impl Fn(&Row<R>) -> bool, outage: &Outage) -> Vec<u64> {
        let (tag, late) = match &self.writer {
            Writer::Idle => (0, false),
            Writer::Writing { id, .. } => (1, outage.is_late(*id)),
            Writer::BackingOff(_) => (2, false),
            Writer::Retrying { id, .. } => (3, outage.is_late(*id)),
            Writer::OutOfReach(_) => (4, false),
        };
        let [due, waiting] = self.queue.situation();
        let retries = u64::from(self.retries_used().retries());
        let mut situation = Vec::from([tag, u64::from(late), retries, due, waiting]);
        for piece in self.pieces_in_hand() {
            let rows = piece.batch.rows();
            let current = rows.iter().filter(|row| is_current(row)).count();
            situation.extend([rows.len() as u64, current as u64, u64::from(piece.parks)]);
        }
        situation.push(u64::MAX);
        situation
    }

    /// The batch being written, its other pieces included.
    fn pieces_in_hand(&self) -> impl Iterator<Item = &Piece<R>> {
        self.writer.piece().into_iter().chain(&self.pieces)
    }

    fn rows_in_hand(&self) -> usize {
        self.pieces_in_hand().map(|piece| piece.batch.rows().len()).sum()
    }
}

impl<R: Clone> Piece<R> {
    /// The piece without the rows that are of no use any more; `None` where no row is left.
    pub(crate) fn retain(self, is_live: impl Fn(&Row<R>) -> bool) -> Option<Self> {
        let rows = self.batch.rows();
        let live = rows.iter().filter(|row| is_live(row)).count();
        if live == 0 {
            return None;
        }
        if live == rows.len() {
            return Some(self);
        }
        let rows = rows.iter().filter(|row| is_live(row)).cloned().collect();
        Some(Self { batch: Batch::new(rows), ..self })
    }
}
