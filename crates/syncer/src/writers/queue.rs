use alloc::vec::Vec;
use core::mem;

use cdc_machine::{Epoch, ensure};

use crate::{Batch, Config, Partition, Row};

/// The rows that wait for one worker, in the order in which they were read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Queue<R> {
    rows: Vec<Row<R>>,
    bytes: u64,
    /// How many of them, from the front, leave without waiting longer.
    due: usize,
}

impl<R> Queue<R> {
    pub(super) const fn new() -> Self {
        Self { rows: Vec::new(), bytes: 0, due: 0 }
    }

    pub(super) fn push(&mut self, row: Row<R>) {
        self.bytes += u64::from(row.bytes);
        self.rows.push(row);
    }

    pub(super) const fn rows(&self) -> &[Row<R>] {
        self.rows.as_slice()
    }

    /// All that waits now is due.
    pub(crate) const fn make_due(&mut self) {
        self.due = self.rows.len();
    }

    /// The rows of these assignments are, and all before them.
    pub(super) fn make_due_through(&mut self, of: &[(Partition, Epoch)]) {
        let last = self.rows.iter().rposition(|row| of.contains(&(row.partition, row.epoch)));
        self.due = self.due.max(last.map_or(0, |last| last + 1));
    }

    pub(super) const fn is_any_not_due(&self) -> bool {
        self.rows.len() > self.due
    }

    /// True where a batch is to leave.
    pub(super) fn is_due(&self, config: &Config) -> bool {
        let is_full = self.rows.len() >= config.batch_rows()
            || (!self.rows.is_empty() && self.bytes >= config.buffer_bytes);
        self.due > 0 || is_full
    }

    /// Takes as many rows as fit one batch, at least one where there is one.
    pub(super) fn take_batch(&mut self, config: &Config) -> Batch<R> {
        let (rows, bytes) = self.batch_extent(config);
        let rest = self.rows.split_off(rows);
        self.bytes -= bytes;
        self.due = self.due.saturating_sub(rows);
        Batch::new(mem::replace(&mut self.rows, rest))
    }

    /// Drops rows, wherever they stand.
    pub(super) fn retain(&mut self, is_live: impl Fn(&Row<R>) -> bool) {
        let (mut index, mut due, mut bytes) = (0, 0, 0);
        let were_due = self.due;
        self.rows.retain(|row| {
            let keep = is_live(row);
            if keep {
                bytes += u64::from(row.bytes);
                due += usize::from(index < were_due);
            }
            index += 1;
            keep
        });
        (self.due, self.bytes) = (due, bytes);
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        ensure(self.due <= self.rows.len(), "only what waits is due")?;
        let bytes: u64 = self.rows.iter().map(|row| u64::from(row.bytes)).sum();
        ensure(bytes == self.bytes, "a queue's bytes sum its rows")
    }

    pub(super) const fn situation(&self) -> [u64; 2] {
        [self.due as u64, self.rows.len() as u64]
    }

    fn batch_extent(&self, config: &Config) -> (usize, u64) {
        if self.rows.len() <= config.batch_rows() && self.bytes <= config.buffer_bytes {
            return (self.rows.len(), self.bytes);
        }
        let (mut rows, mut bytes) = (0, 0);
        for row in self.rows.iter().take(config.batch_rows()) {
            let with_row = bytes + u64::from(row.bytes);
            if rows > 0 && with_row > config.buffer_bytes {
                break;
            }
            rows += 1;
            bytes = with_row;
        }
        (rows, bytes)
    }
}
