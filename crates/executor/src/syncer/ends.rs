//! Partitions whose log may be read to its end by now. One look is under way at a time, and takes all of them.

use std::collections::BTreeMap;

use cdc_syncer::Partition;

use cdc_ports::LedgerCommit;

/// Where the partitions stood at their last commit, until their logs are looked at.
#[derive(Debug, Default)]
pub(super) struct Ends {
    due: BTreeMap<Partition, LedgerCommit>,
    pub(super) is_looking: bool,
}

impl Ends {
    pub(super) fn committed(&mut self, records: &[LedgerCommit]) {
        self.due.extend(records.iter().map(|record| (record.partition, *record)));
    }

    /// What to look at now; `None` while a look is under way, or where there is nothing.
    pub(super) fn take(&mut self) -> Option<Vec<LedgerCommit>> {
        if self.is_looking || self.due.is_empty() {
            return None;
        }
        self.is_looking = true;
        Some(std::mem::take(&mut self.due).into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use cdc_machine::Epoch;

    use super::*;

    #[test]
    fn one_look_at_a_time_takes_the_newest_of_each_partition() {
        let at = |partition, next_offset| LedgerCommit {
            partition: Partition(partition),
            epoch: Epoch(0),
            next_offset,
        };
        let mut ends = Ends::default();
        assert_eq!(ends.take(), None);
        ends.committed(&[at(0, 5), at(1, 7)]);
        ends.committed(&[at(0, 6)]);
        assert_eq!(ends.take(), Some(vec![at(0, 6), at(1, 7)]));
        ends.committed(&[at(1, 8)]);
        assert_eq!(ends.take(), None, "a look is under way");
        ends.is_looking = false;
        assert_eq!(ends.take(), Some(vec![at(1, 8)]));
    }
}
