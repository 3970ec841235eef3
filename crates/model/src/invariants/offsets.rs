//! From Kafka to PostgreSQL: what an offset may cover.

use std::collections::BTreeSet;

use super::{Invariant, Violation, demand};

/// The records of all partitions, with those that are settled without a row.
#[derive(Clone, Debug, Hash)]
pub struct Offsets<M> {
    partitions: Vec<Partition<M>>,
    /// Put aside durably, or given up by policy.
    aside: BTreeSet<(usize, i64)>,
    /// Named by a gap, from the first offset up to the second.
    gaps: Vec<(usize, i64, i64)>,
}

#[derive(Clone, Debug, Hash)]
struct Partition<M> {
    records: Vec<(i64, M)>,
    /// So many of them are known to be covered rightly.
    checked: usize,
}

impl<M: Copy> Offsets<M> {
    /// So many partitions without a record.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        let empty = || Partition { records: Vec::new(), checked: 0 };
        Self {
            partitions: std::iter::repeat_with(empty).take(partitions).collect(),
            aside: BTreeSet::new(),
            gaps: Vec::new(),
        }
    }

    /// The log holds this record now.
    pub fn appended(&mut self, partition: usize, offset: i64, message: M) {
        if let Some(it) = self.partitions.get_mut(partition) {
            it.records.push((offset, message));
        }
    }

    /// The record is put aside, or given up by policy.
    pub fn set_aside(&mut self, partition: usize, offset: i64) {
        self.aside.insert((partition, offset));
    }

    /// A gap names the records from one offset up to another.
    ///
    /// # Errors
    /// Where the log still holds some of them: `first` is the oldest that it holds.
    pub fn given_up(&mut self, partition: usize, from: i64, to: i64, first: i64) -> Result<(), Violation> {
        self.gaps.push((partition, from, to));
        demand(to <= first, Invariant::GapsExplained, || {
            format!(
                "offsets {from} to {to} of partition {partition} are given up, and the log begins at {first}"
            )
        })
    }

    /// Everything below `next` is on record as written. `is_durable` says whether a message's row, or a newer one, is
    /// committed.
    ///
    /// # Errors
    /// Where some record below is neither written nor put aside nor named by a gap.
    pub fn recorded(
        &mut self,
        partition: usize,
        next: i64,
        is_durable: impl Fn(&M) -> bool,
    ) -> Result<(), Violation> {
        let Some(it) = self.partitions.get_mut(partition) else { return Ok(()) };
        while let Some((offset, message)) = it.records.get(it.checked).filter(|(offset, _)| *offset < next) {
            let is_given_up =
                || self.gaps.iter().any(|(of, from, to)| *of == partition && (*from..*to).contains(offset));
            let is_covered =
                is_durable(message) || self.aside.contains(&(partition, *offset)) || is_given_up();
            demand(is_covered, Invariant::OffsetCoversWritten, || {
                format!("offset {next} of partition {partition} is recorded, and {offset} is not written")
            })?;
            it.checked += 1;
        }
        Ok(())
    }

    /// The database was restored: what its rows cover is to be looked at anew.
    pub fn restored(&mut self) {
        self.partitions.iter_mut().for_each(|it| it.checked = 0);
    }

    /// Every record that any log ever held.
    pub fn records(&self) -> impl Iterator<Item = &M> {
        self.partitions.iter().flat_map(|it| &it.records).map(|(_, message)| message)
    }

    /// The records that gaps name: they may be missing from their tables.
    pub fn given_up_records(&self) -> impl Iterator<Item = &M> {
        self.gaps.iter().flat_map(|(of, from, to)| {
            let records = self.partitions.get(*of).into_iter().flat_map(|it| &it.records);
            records.filter(|(offset, _)| (*from..*to).contains(offset)).map(|(_, message)| message)
        })
    }
}
