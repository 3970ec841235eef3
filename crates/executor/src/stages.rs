//! Where the time of a sampled event goes, from the commit at its source to the commit of its row.

use std::time::SystemTime;

use cdc_machine::labels;
use metrics::{Histogram, histogram};

use crate::metrics::STAGE_SECONDS;

labels! {
    /// A part of an event's way, named after what ends it. In a row they are the whole way: where the Watcher's last one
    /// (`acknowledge`) begins, the Syncer's first one (`fetch`) does.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Stage {
        /// From the commit at the source to the arrival of the reply that holds the event.
        Read: "read",
        /// To its message.
        Encode: "encode",
        /// To the Kafka client.
        HandOver: "hand_over",
        /// To Kafka's acknowledgement.
        Acknowledge: "acknowledge",
        /// From the record's time stamp, which is when the Kafka client took it, to the poll that gives it out.
        Fetch: "fetch",
        /// To the worker that gets its batch.
        Queue: "queue",
        /// To the transaction: decoded, planned, a connection in hand.
        Prepare: "prepare",
        /// To the verified commit.
        Write: "write",
    }
}

/// One service's stages, in order.
pub(crate) struct StageSeconds<const N: usize>([Histogram; N]);

impl StageSeconds<4> {
    /// The Watcher's.
    pub(crate) fn watcher() -> Self {
        Self::new([Stage::Read, Stage::Encode, Stage::HandOver, Stage::Acknowledge])
    }

    /// The Syncer's.
    pub(crate) fn syncer() -> Self {
        Self::new([Stage::Fetch, Stage::Queue, Stage::Prepare, Stage::Write])
    }
}

impl<const N: usize> StageSeconds<N> {
    fn new(stages: [Stage; N]) -> Self {
        Self(stages.map(|stage| histogram!(STAGE_SECONDS, "stage" => stage.as_str())))
    }

    /// An event has passed through all of them. The first began at `begun`; each ended at its time. Clocks of several
    /// machines are never quite even: a stage that ends before it begins took no time.
    pub(crate) fn passed(&self, begun: SystemTime, ends: [SystemTime; N]) {
        let mut from = begun;
        for (histogram, end) in self.0.iter().zip(ends) {
            histogram.record(end.duration_since(from).unwrap_or_default());
            from = end;
        }
    }
}
