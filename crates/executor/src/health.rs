use std::time::Duration;

use cdc_machine::StateName;
use tokio::sync::watch;

/// How long a dependency may owe an answer before the service says that it is not well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// What a service says of itself, for probes and the status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `watcher` or `syncer`.
    pub service: &'static str,
    /// The machine's state.
    pub state: StateName,
    /// True while the stream is active or partitions are served, idle included.
    pub healthy: bool,
    /// True once the service has begun its work for the first time and as long as it is healthy.
    pub ready: bool,
    /// Why it is not healthy; what it is doing where it is.
    pub reason: String,
}

impl Health {
    /// A service that has not begun.
    #[must_use]
    pub fn starting(service: &'static str) -> Self {
        Self {
            service,
            state: StateName::Connecting,
            healthy: false,
            ready: false,
            reason: "starting".to_owned(),
        }
    }
}

/// The executor's end of a service's health.
#[derive(Debug)]
pub(crate) struct HealthSign {
    sender: watch::Sender<Health>,
}

impl HealthSign {
    pub(crate) fn new(service: &'static str) -> (Self, watch::Receiver<Health>) {
        let (sender, receiver) = watch::channel(Health::starting(service));
        (Self { sender }, receiver)
    }

    /// Publishes what has changed. `trouble` is the reason for not being healthy although the machine is in
    /// a working state: somebody owes an answer for too long.
    pub(crate) fn update(&self, state: StateName, trouble: Option<&str>) {
        let working = matches!(state, StateName::Streaming | StateName::AwaitingAck | StateName::SavingToken);
        let healthy = working && trouble.is_none();
        let reason = match (trouble, state) {
            (Some(trouble), _) => trouble,
            (None, StateName::Connecting) => "connecting",
            (None, StateName::Streaming) => "streaming",
            (None, StateName::AwaitingAck) => "waiting for acknowledgements",
            (None, StateName::SavingToken) => "saving progress",
            (None, StateName::Draining) => "draining",
            (None, StateName::Stopped) => "stopped",
        };
        self.sender.send_if_modified(|health| {
            let changed = health.state != state || health.healthy != healthy || health.reason != reason;
            if changed {
                health.state = state;
                health.healthy = healthy;
                health.ready = healthy;
                reason.clone_into(&mut health.reason);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_working_state_without_trouble_is_healthy() {
        let (sign, receiver) = HealthSign::new("watcher");
        for state in StateName::ALL {
            sign.update(state, None);
            let working = !matches!(state, StateName::Connecting | StateName::Draining | StateName::Stopped);
            assert_eq!(receiver.borrow().healthy, working, "{state}");
            sign.update(state, Some("redis owes an answer for 9 s"));
            assert!(!receiver.borrow().healthy, "{state}");
            assert_eq!(receiver.borrow().reason, "redis owes an answer for 9 s");
        }
    }
}
