use alloc::vec::Vec;
use core::mem;

use cdc_machine::{Backoff, EffectId, Epoch};

use crate::{Batch, Config, Partition, Row};

/// How often in a row a worker's retries start over because others have gone on. Beyond that the rows will hardly ever
/// get their turn, and a lag that grows in silence is worse than an end that says why.
pub(crate) const OVERTAKEN_MAX: u32 = 20;

/// One lane: the rows of the keys that route to it, in the order in which they were read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker<R> {
    pub(crate) waiting: Vec<Row<R>>,
    pub(crate) waiting_bytes: u64,
    /// How many of the waiting rows, from the front, leave without waiting longer.
    pub(crate) due: usize,
    pub(crate) writer: Writer<R>,
    /// What is left of a batch that was cut, the next piece last. Halving keeps it short.
    pub(crate) pieces: Vec<Piece<R>>,
    pub(crate) retries: Backoff,
    /// Whether another worker has written since the first of these retries.
    pub(crate) is_overtaken: bool,
    /// How often these retries have started over for that since rows of its own last went through.
    pub(crate) overtaken: u32,
}

/// What a worker's writer is at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Writer<R> {
    Idle,
    Writing {
        id: EffectId,
        piece: Piece<R>,
    },
    BackingOff(Piece<R>),
    /// PostgreSQL is out of reach: the piece is written again with everything else that waits for it.
    OutOfReach(Piece<R>),
    /// Its parked rows of these partitions are being tried again, and these given up.
    Retrying {
        id: EffectId,
        partitions: Vec<(Partition, Epoch)>,
        given_up: Vec<(Partition, i64)>,
    },
}

/// What a retry was asked for.
#[derive(Debug)]
pub(crate) struct Retried {
    pub(crate) partitions: Vec<(Partition, Epoch)>,
    pub(crate) given_up: Vec<(Partition, i64)>,
}

/// A batch, or a part of one, with the number of times that it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Piece<R> {
    pub(crate) batch: Batch<R>,
    pub(crate) attempts: u32,
    /// Whether its blocked rows are to be parked.
    pub(crate) parks: bool,
}

impl<R: Clone> Worker<R> {
    pub(crate) const fn new() -> Self {
        Self {
            waiting: Vec::new(),
            waiting_bytes: 0,
            due: 0,
            writer: Writer::Idle,
            pieces: Vec::new(),
            retries: Backoff::new(),
            is_overtaken: false,
            overtaken: 0,
        }
    }

    pub(crate) fn push(&mut self, row: Row<R>) {
        self.waiting_bytes += u64::from(row.bytes);
        self.waiting.push(row);
    }

    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.writer, Writer::Idle)
    }

    /// True while PostgreSQL owes its writer an answer.
    pub(crate) const fn is_at_work(&self) -> bool {
        matches!(self.writer, Writer::Writing { .. } | Writer::Retrying { .. })
    }

    /// Rows of the batch being written, its other pieces included.
    pub(crate) fn rows_in_hand(&self) -> usize {
        let at_work = match &self.writer {
            Writer::Idle | Writer::Retrying { .. } => 0,
            Writer::Writing { piece, .. } | Writer::BackingOff(piece) | Writer::OutOfReach(piece) => {
                piece.batch.rows().len()
            }
        };
        at_work + self.pieces.iter().map(|piece| piece.batch.rows().len()).sum::<usize>()
    }

    /// Rows that the lane still takes.
    pub(crate) fn free(&self, config: &Config) -> usize {
        config.lane_rows().saturating_sub(self.rows_in_hand() + self.waiting.len())
    }

    pub(crate) fn is_full(&self, config: &Config) -> bool {
        self.waiting.len() >= config.batch_rows()
            || (!self.waiting.is_empty() && self.waiting_bytes >= config.buffer_bytes)
    }

    /// All that waits now is due.
    pub(crate) const fn make_due(&mut self) {
        self.due = self.waiting.len();
    }

    /// The piece that the reply is for; its writer is free again.
    pub(crate) fn finish(&mut self, id: EffectId) -> Option<Piece<R>> {
        match mem::replace(&mut self.writer, Writer::Idle) {
            Writer::Writing { id: writing, piece } if writing == id => {
                Some(Piece { attempts: piece.attempts.saturating_add(1), ..piece })
            }
            writer @ (Writer::Idle
            | Writer::Writing { .. }
            | Writer::BackingOff(_)
            | Writer::OutOfReach(_)
            | Writer::Retrying { .. }) => {
                self.writer = writer;
                None
            }
        }
    }

    /// The retry that the reply is for; the writer is free again.
    pub(crate) fn finish_retry(&mut self, id: EffectId) -> Option<Retried> {
        match mem::replace(&mut self.writer, Writer::Idle) {
            Writer::Retrying { id: asked, partitions, given_up } if asked == id => {
                Some(Retried { partitions, given_up })
            }
            writer @ (Writer::Idle
            | Writer::Writing { .. }
            | Writer::BackingOff(_)
            | Writer::OutOfReach(_)
            | Writer::Retrying { .. }) => {
                self.writer = writer;
                None
            }
        }
    }

    /// The back-off is over: its piece is the next to be written.
    pub(crate) fn end_back_off(&mut self) {
        match mem::replace(&mut self.writer, Writer::Idle) {
            Writer::BackingOff(piece) => self.pieces.push(piece),
            writer @ (Writer::Idle
            | Writer::Writing { .. }
            | Writer::OutOfReach(_)
            | Writer::Retrying { .. }) => {
                self.writer = writer;
            }
        }
    }

    /// PostgreSQL is to be tried again: the piece that waits for it is the next to be written.
    pub(crate) fn end_outage(&mut self) {
        match mem::replace(&mut self.writer, Writer::Idle) {
            Writer::OutOfReach(piece) => self.pieces.push(piece),
            writer @ (Writer::Idle
            | Writer::Writing { .. }
            | Writer::BackingOff(_)
            | Writer::Retrying { .. }) => {
                self.writer = writer;
            }
        }
    }

    /// Progress: the schedule starts over.
    pub(crate) fn forget_retries(&mut self) {
        self.retries.reset();
        self.is_overtaken = false;
    }

    /// The schedule starts over where others have gone on meanwhile, unless that was so too often in a row.
    pub(crate) fn start_over_if_overtaken(&mut self) {
        if self.is_overtaken && self.overtaken < OVERTAKEN_MAX {
            self.overtaken += 1;
            self.forget_retries();
        }
    }

    /// Rows of its own went through.
    pub(crate) fn go_on(&mut self) {
        self.overtaken = 0;
        self.forget_retries();
    }

    /// Takes as many rows as fit one batch, at least one where there is one.
    pub(crate) fn take_batch(&mut self, config: &Config) -> Batch<R> {
        let (rows, bytes) = self.batch_extent(config);
        let rest = self.waiting.split_off(rows);
        self.waiting_bytes -= bytes;
        self.due = self.due.saturating_sub(rows);
        Batch::new(mem::replace(&mut self.waiting, rest))
    }

    fn batch_extent(&self, config: &Config) -> (usize, u64) {
        if self.waiting.len() <= config.batch_rows() && self.waiting_bytes <= config.buffer_bytes {
            return (self.waiting.len(), self.waiting_bytes);
        }
        let (mut rows, mut bytes) = (0, 0);
        for row in self.waiting.iter().take(config.batch_rows()) {
            let with_row = bytes + u64::from(row.bytes);
            if rows > 0 && with_row > config.buffer_bytes {
                break;
            }
            rows += 1;
            bytes = with_row;
        }
        (rows, bytes)
    }

    /// Drops waiting rows, wherever they stand.
    pub(crate) fn retain_waiting(&mut self, is_live: impl Fn(&Row<R>) -> bool) {
        let (mut index, mut due, mut bytes) = (0, 0, 0);
        let were_due = self.due;
        self.waiting.retain(|row| {
            let keep = is_live(row);
            if keep {
                bytes += u64::from(row.bytes);
                due += usize::from(index < were_due);
            }
            index += 1;
            keep
        });
        self.due = due;
        self.waiting_bytes = bytes;
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
