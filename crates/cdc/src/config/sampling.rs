//! Which events are followed to their rows: what the Watcher alone decides of `tracing`.

use cdc_event::Sampling;
use cdc_machine::{Visitor as _, options};

use super::described::Preset;
use super::section::Section;

/// A share is read in millionths.
const WHOLE: f64 = 1_000_000.0;

options! {
    /// Which events are followed.
    #[derive(Clone, Debug)]
    pub struct SamplingOptions for pub(super) Section<'_> {
        /// The share of events that are followed from MongoDB to PostgreSQL: measured in `cdc_stage_seconds`, and, where
        /// spans are exported, shown as traces. The event's position decides. Each message of such an event is 66 bytes
        /// longer. See docs/tracing.md.
        pub sample_ratio: u32 = 10_000 => share("tracing.sample_ratio"),
        /// The field of the documents in which the application leaves its own trace context: a `traceparent` as text, or a
        /// document with `traceparent` and `tracestate`. Where its flag says that it is recorded, the event is followed in
        /// that trace, for up to 100 events a second. None: no document is looked into.
        pub context_field: Option<String> = None => text("tracing.context_field", Preset::Nothing),
    }
}

impl SamplingOptions {
    /// The share, as the choice is made by it.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        Sampling::of(f64::from(self.sample_ratio) / WHOLE)
    }
}
