//! The kernel that both services are built on: what a machine is, and the few types whose invariants
//! carry the pipeline's promises.
//!
//! A [`Machine`] is a total, pure transition function over explicit states. Facts about the world come in
//! as inputs, orders to the world go out as effects. The crate is `no_std`: it can reach no clock, no
//! randomness, no I/O.
//!
//! | module | what it holds |
//! |---|---|
//! | [`machine`](Machine) | the trait, and the reused [`Effects`] buffer |
//! | [`state`](StateName) | the five states and `Stopped`, named by what the service waits for |
//! | [`watermark`](Watermark) | in-order progress over out-of-order completions, and its proofs |
//! | [`fault`](Fault) | what an adapter may report: a closed list |
//! | [`backoff`](Backoff) | the retry schedule, in durations |
//! | [`ids`](SeqNo) | correlation: slots, streams, requests, timers |
//! | [`cause`](Cause) | why a machine stopped, and the exit code that says so |
//! | [`explore`] | the state diagram and the state × input table, read off the code |

#![no_std]
extern crate alloc;

mod backoff;
mod cause;
mod explore;
mod fault;
mod ids;
mod machine;
mod observer;
mod state;
mod watermark;

pub use backoff::{Backoff, Retry};
pub use cause::{Cause, Dependency};
pub use explore::{Explore, Outcome, Transitions, explore};
pub use fault::Fault;
pub use ids::{EffectId, Epoch, Lineage, SeqNo, TimerId};
pub use machine::{Effects, Machine, Signal};
pub use observer::{Observer, Step};
pub use state::StateName;
pub use watermark::{Settled, Settlement, Slot, Watermark};
