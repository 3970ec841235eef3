//! Where a partition is read from: the ledger decides, the group may set it back, the log has the last word.

use cdc_machine::{Plant, planted};

use crate::{Acquired, OffsetGap, OffsetLoss, OffsetPolicy, StartOffset};

/// What follows from what is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Read from here.
    At(StartOffset),
    /// Read from behind a gap, once that is recorded.
    Behind(OffsetGap),
    /// The policy is to stop.
    Nowhere,
}

/// The lower of ledger and group: an operator may have set the group back, and a PostgreSQL that was restored
/// from a copy lags behind the group. A group's offset outside of the log is nobody's wish and is passed over.
///
/// A ledger at 0 is somebody's rewind to the log's start: whatever the policy, that is where reading goes on, and the
/// records that the log has lost since are a gap.
pub(crate) fn start_of(row: &Acquired, policy: OffsetPolicy) -> Start {
    let Some(ledger) = row.ledger else {
        let latest = StartOffset::At(row.log.end);
        return Start::At(if planted(Plant::ResetToLatest) { latest } else { StartOffset::Beginning });
    };
    if row.log.holds(ledger) {
        let set_back = row.group.filter(|group| *group < ledger && row.log.holds(*group));
        return Start::At(StartOffset::At(set_back.unwrap_or(ledger)));
    }
    let behind = |to, loss| {
        Start::Behind(OffsetGap { partition: row.partition, epoch: row.epoch, from: ledger, to, loss })
    };
    // The topic was made anew, and all of the old one had been written.
    if ledger > row.log.end && row.end_seen == Some(ledger) {
        return behind(row.log.first, None);
    }
    let to = match policy {
        OffsetPolicy::Earliest => row.log.first,
        OffsetPolicy::Latest | OffsetPolicy::Stop if ledger == 0 => row.log.first,
        OffsetPolicy::Latest => row.log.end,
        OffsetPolicy::Stop => return Start::Nowhere,
    };
    let loss = if ledger < row.log.first { OffsetLoss::Expired } else { OffsetLoss::Truncated };
    behind(to, Some(loss))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::{LogBounds, Partition};
    use cdc_machine::Epoch;
    use std::{assert_eq, panic};

    fn row(ledger: Option<i64>, group: Option<i64>) -> Acquired {
        let log = LogBounds { first: 10, end: 20 };
        Acquired {
            partition: Partition(0),
            epoch: Epoch(0),
            ledger,
            group,
            log,
            end_seen: None,
            parked: std::vec![],
        }
    }

    #[test]
    fn the_lower_of_ledger_and_group_within_the_log() {
        for (ledger, group, expected) in [
            (None, None, StartOffset::Beginning),
            (None, Some(15), StartOffset::Beginning),
            (Some(15), None, StartOffset::At(15)),
            (Some(15), Some(15), StartOffset::At(15)),
            // An operator's rewind.
            (Some(15), Some(12), StartOffset::At(12)),
            // A PostgreSQL that was restored.
            (Some(12), Some(15), StartOffset::At(12)),
            (Some(10), Some(20), StartOffset::At(10)),
            (Some(20), None, StartOffset::At(20)),
            // A group's offset that the log does not hold.
            (Some(15), Some(9), StartOffset::At(15)),
            (Some(15), Some(21), StartOffset::At(15)),
        ] {
            for policy in [OffsetPolicy::Earliest, OffsetPolicy::Latest, OffsetPolicy::Stop] {
                assert_eq!(
                    start_of(&row(ledger, group), policy),
                    Start::At(expected),
                    "{ledger:?} {group:?}"
                );
            }
        }
    }

    #[test]
    fn a_rewind_to_the_start_is_none_to_the_end() {
        for policy in [OffsetPolicy::Earliest, OffsetPolicy::Latest, OffsetPolicy::Stop] {
            let Start::Behind(gap) = start_of(&row(Some(0), Some(15)), policy) else {
                panic!("0 is in the log");
            };
            assert_eq!((gap.from, gap.to, gap.loss), (0, 10, Some(OffsetLoss::Expired)), "{policy:?}");
        }
    }

    #[test]
    fn an_offset_outside_of_the_log_follows_the_policy() {
        for (ledger, loss) in [(9, OffsetLoss::Expired), (21, OffsetLoss::Truncated)] {
            for (policy, to) in [(OffsetPolicy::Earliest, 10), (OffsetPolicy::Latest, 20)] {
                // Whatever the group says: the log is not the one that it was about.
                for group in [None, Some(9), Some(15), Some(21)] {
                    let Start::Behind(gap) = start_of(&row(Some(ledger), group), policy) else {
                        panic!("{ledger} is in the log");
                    };
                    assert_eq!((gap.from, gap.to, gap.loss), (ledger, to, Some(loss)));
                }
            }
            assert_eq!(start_of(&row(Some(ledger), None), OffsetPolicy::Stop), Start::Nowhere);
        }
    }

    #[test]
    fn a_log_that_was_read_to_its_end_and_made_anew_has_lost_nothing() {
        for policy in [OffsetPolicy::Earliest, OffsetPolicy::Latest, OffsetPolicy::Stop] {
            let read = Acquired { end_seen: Some(21), ..row(Some(21), None) };
            let Start::Behind(gap) = start_of(&read, policy) else { panic!("21 is in the log") };
            assert_eq!((gap.from, gap.to, gap.loss), (21, 10, None), "{policy:?}");
        }
        // What was written since, nobody has seen the end of; and what has expired was not read.
        for (ledger, end_seen) in [(22, 21), (9, 9)] {
            let unseen = Acquired { end_seen: Some(end_seen), ..row(Some(ledger), None) };
            let Start::Behind(gap) = start_of(&unseen, OffsetPolicy::Earliest) else { panic!("no gap") };
            assert!(gap.loss.is_some(), "{ledger}");
        }
    }
}
