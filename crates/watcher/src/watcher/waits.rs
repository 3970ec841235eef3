//! What the Watcher waits for, more exactly than the state says.

use cdc_machine::{StateName, labels};

use super::{Parts, Watcher};
use crate::TimerKind;
use crate::ending::Life;

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

impl<R: Clone, T: Clone + Ord> Watcher<R, T> {
    /// What it waits for.
    #[must_use]
    pub fn waits_for(&self) -> WaitsFor {
        match self.state {
            StateName::Connecting => self.connects_to(),
            StateName::Streaming => WaitsFor::Event,
            StateName::AwaitingAck => WaitsFor::Reports,
            StateName::SavingToken => WaitsFor::Save,
            StateName::Draining if self.parts.window.unsettled() > 0 => WaitsFor::Reports,
            StateName::Draining if self.parts.lease.is_releasing() => WaitsFor::Release,
            StateName::Draining => WaitsFor::Save,
            StateName::Stopped => WaitsFor::Nothing,
        }
    }

    /// The parts connect one after the other; the first that is not there is the one that is waited for.
    fn connects_to(&self) -> WaitsFor {
        let Parts { identity, lease, publishing, stream, life, .. } = &self.parts;
        if *life == Life::NotStarted {
            WaitsFor::Start
        } else if self.timers.is_running(TimerKind::Reconnect) {
            WaitsFor::BackOff
        } else if !identity.has_answered() {
            WaitsFor::Identity
        } else if self.timers.is_running(TimerKind::LeaseWait) {
            WaitsFor::OtherHolder
        } else if !lease.is_held() {
            WaitsFor::Lease
        } else if !publishing.has_producer() {
            WaitsFor::Producer
        } else if !stream.is_idle() {
            WaitsFor::Stream
        } else {
            WaitsFor::FirstSave
        }
    }
}
