//! What the Syncer waits for, more exactly than the state says.

use cdc_machine::{StateName, labels};

use crate::Syncer;

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

impl<R: Clone> Syncer<R> {
    /// What it waits for.
    #[must_use]
    pub fn waits_for(&self) -> WaitsFor {
        match (self.state, self.parts.connection.waits_for()) {
            (StateName::Stopped, _) => WaitsFor::Nothing,
            (StateName::Connecting | StateName::Draining, Some(connection)) => connection,
            (StateName::Draining, None) if self.parts.partitions.in_hand().unsettled == 0 => {
                WaitsFor::Offsets
            }
            (StateName::AwaitingAck | StateName::Draining, _) => WaitsFor::Commits,
            (StateName::SavingToken, _) => WaitsFor::Offsets,
            (StateName::Connecting | StateName::Streaming, _) => WaitsFor::Record,
        }
    }
}
