//! The kernel that both services are built on: what a machine is, and the few types whose invariants
//! carry the pipeline's promises.
//!
//! A [`Machine`] is a total, pure transition function over explicit states. Facts about the world come in
//! as inputs, orders to the world go out as effects. The crate is `no_std`: it can reach no clock, no
//! randomness, no I/O.
//!
//! | module | what it holds |
//! |---|---|
//! | [`machine`](Machine) | the trait, the reused [`Effects`] buffer, and how an invariant is checked |
//! | [`state`](StateName) | the five states and `Stopped`, named by what the service waits for |
//! | [`watermark`](Watermark) | in-order progress over out-of-order completions, and its proofs |
//! | [`fault`](Fault) | what an adapter may report: a closed list |
//! | [`verdict`](Verdict) | what a fault leads to: another try, or the end |
//! | [`backoff`](Backoff) | the retry schedule, in durations |
//! | [`ids`](SeqNo) | correlation: slots, streams, requests; [`Ids`] gives the numbers, [`Asked`] waits for one reply |
//! | [`timers`](Timers) | which timers run, each with a name and a generation |
//! | [`request`](Request) | a request as an observer sees it, and which reply is a failure |
//! | [`requests!`](requests!) | the tables of what a machine asks, orders and hears |
//! | [`sampled`](Sampled) | what replies may carry, for whoever plays the world |
//! | [`context`](Context) | what every handler is handed beside its own part |
//! | [`labels!`](macro@labels) | closed lists whose members have a label each |
//! | [`cause`](Cause) | why a machine stopped, and the exit code that says so |
//! | [`plant`](Plant) | bugs on purpose, for the proof that the simulator finds bugs |
//! | [`options`](Visitor), [`units`] | options and their words, each defined once beside its field |

#![no_std]
extern crate alloc;

mod backoff;
mod cause;
mod context;
mod fault;
mod ids;
mod labels;
mod machine;
mod options;
mod plant;
mod request;
mod requests;
mod sampled;
mod state;
mod timers;
pub mod units;
mod verdict;
mod watermark;

pub use backoff::{Backoff, Retry};
pub use cause::{Cause, Dependency};
pub use context::Context;
pub use fault::Fault;
pub use ids::{Asked, EffectId, Epoch, Ids, Lineage, SeqNo};
pub use machine::{Effects, Machine, Signal, ensure};
pub use options::{Key, Number, Visitor, Word};
#[cfg(feature = "plants")]
pub use plant::plant;
pub use plant::{Plant, planted, settle_through};
pub use request::{Answered, FailureWord, Reply, Request, RequestKey, request_key};
pub use sampled::Sampled;
pub use state::StateName;
pub use timers::{TimerEffects, TimerId, TimerKey, Timers};
pub use verdict::Verdict;
pub use watermark::{Settled, Settlement, Slot, Watermark};
