//! What the services do, as OpenTelemetry spans. The crate knows no I/O and no clock: times come in, and finished spans
//! go to a [`SpanProcessor`](opentelemetry_sdk::trace::SpanProcessor).
//!
//! Spans are made when they are over, of explicit times: a machine says afterwards how long it stayed in a state, and a
//! span that is dropped half-way would leave as if it had ended. Where nothing is exported there are no [`Traces`], and
//! nothing is built.
//!
//! | module | what it holds |
//! |---|---|
//! | [`traces`](Traces) | the handle: identifiers, finished spans, the span that is under way |
//! | [`state_spans`](StateSpans) | the observer of one machine: its states and its requests |
//! | [`published`](Published) | a sampled event in the Watcher, from the commit at its source to the acknowledgement |
//! | [`written`](WrittenBatch) | sampled events in the Syncer, and the batch that wrote them |
//! | `budget` | how many spans a second |

mod budget;
mod context;
mod published;
mod state_spans;
mod traces;
mod written;

pub use published::{Publication, Published};
pub use state_spans::StateSpans;
pub use traces::{Span, Traces};
pub use written::{BatchTimes, EVENTS_PER_BATCH_MAX, WrittenBatch, WrittenEvent};
