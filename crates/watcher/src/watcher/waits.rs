//! What the Watcher waits for, more exactly than the state says.

use cdc_machine::{StateName, labels};

labels! {
    /// What a Watcher waits for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum WaitsFor {
        /// To be started.
        Start: "start",
        /// The source says who it is.
        Identity: "source_identity",
        /// The token store hands out the lease with the position.
        Lease: "lease",
        /// The one who holds the lease lets go of it.
        OtherHolder: "lease_of_another",
        /// The producer is made and its topics exist.
        Producer: "producer",
        /// The change stream opens.
        Stream: "change_stream",
        /// The start is on record.
        FirstSave: "first_save",
        /// The end of a back-off.
        BackOff: "back_off",
        /// The next event.
        Event: "event",
        /// Kafka's delivery reports.
        Reports: "delivery_reports",
        /// The token store records the position.
        Save: "token_save",
        /// The lease is given back.
        Release: "lease_release",
        /// Nothing: it has ended.
        Nothing: "nothing",
    }
}

impl WaitsFor {
    /// The state of a service that waits for it, unless it drains.
    pub(super) const fn state(self) -> StateName {
        match self {
            Self::Start
            | Self::Identity
            | Self::Lease
            | Self::OtherHolder
            | Self::Producer
            | Self::Stream
            | Self::FirstSave
            | Self::BackOff => StateName::Connecting,
            Self::Event => StateName::Streaming,
            Self::Reports => StateName::AwaitingAck,
            Self::Save => StateName::SavingToken,
            Self::Release => StateName::Draining,
            Self::Nothing => StateName::Stopped,
        }
    }
}
