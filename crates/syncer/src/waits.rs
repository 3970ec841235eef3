//! What the Syncer waits for, more exactly than the state says.

use cdc_machine::labels;

labels! {
    /// What a Syncer waits for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum WaitsFor {
        /// To be started.
        Start: "start",
        /// The pool is open and the tables are known.
        Database: "database",
        /// The consumer is subscribed.
        Group: "group",
        /// The end of a back-off.
        BackOff: "back_off",
        /// The next record.
        Record: "record",
        /// PostgreSQL commits what the workers write.
        Commits: "commits",
        /// The ledger and Kafka have the offsets.
        Offsets: "offset_commit",
        /// The group is left.
        Leave: "group_leave",
        /// Nothing: it has ended.
        Nothing: "nothing",
    }
}
