use alloc::collections::VecDeque;

use cdc_machine::{SeqNo, Settlement, Slot, Watermark, ensure};

use crate::WrittenOffset;

/// The records of one assignment of one partition, from poll to offset commit. Its position is the next
/// offset to read: a record's offset + 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    marks: Watermark<i64>,
    /// Sizes of the records that no commit covers yet, oldest first.
    sizes: VecDeque<u32>,
    /// Slot of the oldest of them.
    oldest: SeqNo,
    bytes: u64,
}

impl Window {
    pub(crate) fn new() -> Self {
        let oldest = SeqNo::default();
        Self { marks: Watermark::starting_at(oldest), sizes: VecDeque::new(), oldest, bytes: 0 }
    }

    /// Opens a slot; `None` where the offset is not above all before it.
    pub(crate) fn open(&mut self, offset: i64, bytes: u32) -> Option<SeqNo> {
        if self.marks.newest().is_some_and(|next| offset < *next) {
            return None;
        }
        let position = offset.checked_add(1)?;
        self.sizes.push_back(bytes);
        self.bytes += u64::from(bytes);
        Some(self.marks.open(Slot { position, weight: 1, bytes: u64::from(bytes), reports: 1 }))
    }

    pub(crate) fn settle(&mut self, seq: SeqNo) -> Settlement {
        self.marks.settle(seq)
    }

    /// The offset below which everything is settled; `None` before the first record is.
    pub(crate) fn settled(&self) -> Option<i64> {
        self.marks.prefix().map(|prefix| *prefix.position())
    }

    /// What may be committed and is not.
    pub(crate) fn unsaved(&self) -> Option<&WrittenOffset> {
        self.marks.unsaved_prefix()
    }

    pub(crate) fn mark_saved(&mut self, offset: &WrittenOffset) {
        self.marks.mark_saved(offset);
        while self.oldest <= offset.through() {
            let Some(size) = self.sizes.pop_front() else { break };
            self.bytes -= u64::from(size);
            self.oldest = self.oldest.next();
        }
    }

    /// Records from poll to offset commit.
    pub(crate) fn records(&self) -> u64 {
        self.marks.unsaved_weight()
    }

    /// Their bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn unsettled(&self) -> u64 {
        self.marks.unsettled()
    }

    /// One above the newest offset read.
    pub(crate) fn next_offset(&self) -> i64 {
        self.marks.newest().copied().unwrap_or_default()
    }

    pub(crate) fn is_in_flight(&self, seq: SeqNo) -> bool {
        self.marks.is_in_flight(seq)
    }

    pub(crate) fn covers(&self, offset: &WrittenOffset) -> bool {
        self.marks.prefix().is_some_and(|prefix| prefix.position() >= offset.position())
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.marks.check()?;
        ensure(
            self.sizes.len() as u64 == self.marks.unsaved_weight(),
            "each record that is not committed has its size recorded",
        )?;
        let bytes: u64 = self.sizes.iter().map(|size| u64::from(*size)).sum();
        ensure(bytes == self.bytes, "a window's bytes sum its records")
    }
}
