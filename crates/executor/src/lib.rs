//! The effects executor: it carries out what the machines order, and tells them what became of it.
//!
//! One driver loop owns each machine. Lanes are the tasks that own a port; timers, signals, reports and the
//! lanes' answers meet in the loop and become inputs, one at a time. After each step every effect is carried
//! out before the next input is looked at. There is no second brain here: with a machine that orders
//! nothing, nothing is done. (A server that was quiet for a while is asked for a sign of life, but only in the
//! states in which the machine has it in use, and only health hears of it.)
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
mod pending_since;
mod report;
#[cfg(test)]
mod scripted;
mod shutdown;
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

/// Orders that a lane can owe at once, and answers that may wait for the driver. A machine has at most one
/// request of each kind outstanding, and there are fewer kinds than this.
pub(crate) const LANE_ORDERS: usize = 16;

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
