//! The effects executor: it carries out what the machines order, and tells them what became of it.
//!
//! One driver loop owns each machine. A port that is spoken to in calls and answers has a task of its own. Timers,
//! signals, reports and the tasks' answers meet in the loop and become inputs, one at a time. The loop carries out every
//! effect of a step before it looks at the next input. With a machine that orders nothing, it does nothing; what it does
//! beside that stands in ARCHITECTURE.md under "Named exceptions".
//!
//! | module | what it holds |
//! |---|---|
//! | [`WatcherService`] | the Watcher's loop and its `match effect` |
//! | [`SyncerService`] | the Syncer's loop and its `match effect` |
//! | [`metrics`] | the metrics' names |

mod clock;
mod ended;
mod given_up;
mod health;
mod jitter;
pub mod metrics;
mod observer;
mod pending_since;
mod report;
#[cfg(test)]
mod scripted;
mod shutdown;
mod stages;
mod syncer;
mod timers;
mod watcher;

use std::time::Duration;

use cdc_machine::StateName;

pub use ended::Ended;
pub use given_up::GIVEN_UP;
pub use health::{Health, HeldTopic, TopicLag};
pub use jitter::Jitter;
pub use shutdown::{Shutdown, Signals};
pub use syncer::{BatchLog, SyncerService};
pub use watcher::WatcherService;

/// Orders that may wait for a task, and answers that may wait for the driver. A machine has at most one
/// request of each kind outstanding, and there are fewer kinds than this.
pub(crate) const TASK_ORDERS: usize = 16;

/// How often gauges are brought up to date and health is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// The states that a service passes through for every event are told at debug level, the others at info.
pub(crate) fn log_transition(service: &'static str, from: StateName, to: StateName, input: &'static str) {
    let quiet =
        |state| matches!(state, StateName::Streaming | StateName::AwaitingAck | StateName::SavingToken);
    let (from_name, state) = (from.as_str(), to.as_str());
    if quiet(from) && quiet(to) {
        tracing::debug!(service, operation = "transition", from = from_name, state, input, "state changed");
    } else {
        tracing::info!(service, operation = "transition", from = from_name, state, input, "state changed");
    }
}
