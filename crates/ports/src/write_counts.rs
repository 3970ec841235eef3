//! What a batch did, in rows. The counters stand in one table: what they are called in the code, in the log and in
//! `cdc_rows_total` follows from it. A new one is a line here, and the place that counts it.

use cdc_event::Operation;
use cdc_machine::labels;
use cdc_syncer::Partition;

/// Hands the table of counters to the macro `$then`, behind `$with`.
///
/// `rows` are told in the log and, by the label behind them, in `cdc_rows_total`; `logged` only in the log; `others`
/// where they are named.
#[macro_export]
macro_rules! write_counters {
    ($then:ident { $($with:tt)* }) => {
        $then! {
            { $($with)* }
            rows {
                /// Rows that were not there.
                inserted: "inserted";
                /// Rows that were there and older.
                updated: "updated";
                /// Rows deleted (or marked so).
                deleted: "deleted";
                /// Rows, parked rows or tombstones that were newer already.
                fenced: "fenced";
                /// Deletes of rows that were not there.
                absent: "absent";
                /// Updates whose document was gone at look-up: they touch nothing.
                null_lookups: "null_lookup";
                /// Kafka tombstones and control messages.
                ignored: "ignored";
                /// Records that a newer record of the same batch replaced.
                merged: "merged";
                /// Rows and deletes parked: other rows stand in their way.
                parked: "parked";
            }
            logged {
                /// Parked rows that a newer write or delete took the place of.
                superseded;
            }
            others {
                /// Of those that are fenced, the ones that met a higher lineage: no replay, but a source or a token
                /// record that was replaced.
                fenced_by_lineage;
                /// Statements that went by COPY.
                copied_statements;
                /// Statements that went by a prepared `unnest`.
                prepared_statements;
            }
        }
    };
}

macro_rules! define_write_counts {
    (
        {}
        rows { $($(#[$row_doc:meta])* $row:ident: $label:literal;)* }
        logged { $($(#[$logged_doc:meta])* $logged:ident;)* }
        others { $($(#[$other_doc:meta])* $other:ident;)* }
    ) => {
        /// What a batch did, in rows. What becomes of a record is one of `rows`, or it is rejected: all of them together
        /// are the records of the batch.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct WriteCounts {
            $($(#[$row_doc])* pub $row: u64,)*
            $($(#[$logged_doc])* pub $logged: u64,)*
            $($(#[$other_doc])* pub $other: u64,)*
            /// The control messages among those that are ignored, by [`CONTROL_KINDS`].
            pub controls: [u64; CONTROL_KINDS.len()],
            /// Cluster time of the newest event written, in Unix seconds; 0 where there is none.
            pub newest_unix_seconds: u32,
            /// By when the oldest change of these was committed at the source, in Unix milliseconds; `None` where there is
            /// none, or nobody knows.
            pub oldest_unix_ms: Option<i64>,
            /// The same rows topic by topic, as far as that is known: rows that were written piece by piece around others
            /// may be missing here.
            pub by_topic: Vec<TopicRows>,
            /// What became of sampled records, by their index in the batch, where it is known of each by itself.
            pub sampled: Vec<(usize, Fate)>,
        }

        impl WriteCounts {
            /// What `cdc_rows_total` is labelled with.
            pub const OUTCOMES: [&'static str; [$($label),*].len()] = [$($label),*];

            /// How many rows each of [`Self::OUTCOMES`] has.
            #[must_use]
            pub const fn by_outcome(&self) -> [u64; Self::OUTCOMES.len()] {
                [$(self.$row),*]
            }

            /// Adds what another batch did, but for its topics, which are summed by name, and its sampled records. Taken
            /// apart in full, so that what is forgotten here does not compile.
            pub fn add(&mut self, other: &Self) {
                let Self {
                    $($row,)* $($logged,)* $($other,)*
                    controls,
                    newest_unix_seconds,
                    oldest_unix_ms,
                    by_topic: _,
                    sampled: _,
                } = other;
                $(self.$row += $row;)*
                $(self.$logged += $logged;)*
                $(self.$other += $other;)*
                for (sum, messages) in self.controls.iter_mut().zip(controls) {
                    *sum += messages;
                }
                self.newest_unix_seconds = self.newest_unix_seconds.max(*newest_unix_seconds);
                self.older(*oldest_unix_ms);
            }

            /// A change was committed by this time.
            pub fn older(&mut self, unix_ms: Option<i64>) {
                self.oldest_unix_ms = [self.oldest_unix_ms, unix_ms].into_iter().flatten().min();
            }
        }
    };
}

write_counters!(define_write_counts {});

labels! {
    /// What became of one record, where its batch did not simply write it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fate {
        /// A newer record of the same batch replaced it.
        Merged: "merged",
        /// Other rows stand in its way.
        Parked: "parked",
        /// Its document was gone at look-up.
        NullLookup: "null_lookup",
        /// It concerns no row.
        Ignored: "ignored",
    }
}

impl WriteCounts {
    /// What has become of rows since `before` was taken is its topic's.
    pub fn attribute(&mut self, before: Option<TopicRows>) {
        let Some(TopicRows { partition, inserted, updated, deleted, fenced }) = before else { return };
        let rows = TopicRows {
            partition,
            inserted: self.inserted - inserted,
            updated: self.updated - updated,
            deleted: self.deleted - deleted,
            fenced: self.fenced - fenced,
        };
        if rows.all() > 0 {
            self.by_topic.push(rows);
        }
    }

    /// What has become of rows so far, whose ever they are.
    #[must_use]
    pub const fn so_far(&self, partition: Partition) -> TopicRows {
        let Self { inserted, updated, deleted, fenced, .. } = *self;
        TopicRows { partition, inserted, updated, deleted, fenced }
    }
}

/// The kinds of control messages, in the order of [`WriteCounts::controls`].
pub const CONTROL_KINDS: [Operation; 5] =
    [Operation::SnapshotBegin, Operation::SnapshotEnd, Operation::Drop, Operation::Rename, Operation::Gap];

/// What became of the rows of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRows {
    /// One of the topic's partitions.
    pub partition: Partition,
    /// Rows that were not there.
    pub inserted: u64,
    /// Rows that were there and older.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Rows that were newer already.
    pub fenced: u64,
}

impl TopicRows {
    /// No row yet.
    #[must_use]
    pub const fn of(partition: Partition) -> Self {
        Self { partition, inserted: 0, updated: 0, deleted: 0, fenced: 0 }
    }

    /// Adds what became of others.
    pub fn add(&mut self, other: &Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.fenced += other.fenced;
    }

    /// How many of them were written.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    /// How many rows there were.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.inserted + self.updated + self.deleted + self.fenced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_rows_and_sums_leave_nothing_out() {
        let of = |rows| WriteCounts {
            inserted: rows,
            parked: 2 * rows,
            superseded: 3 * rows,
            ..WriteCounts::default()
        };
        let mut sum = of(1);
        sum.add(&of(10));
        assert_eq!(sum, of(11));
        let told: Vec<(&str, u64)> = WriteCounts::OUTCOMES.into_iter().zip(sum.by_outcome()).collect();
        assert_eq!((told[0], told[8]), (("inserted", 11), ("parked", 22)));
    }
}
