//! SIGTERM and SIGINT: which of them count, and what each asks for.

use std::io;
use std::time::{Duration, Instant};

use cdc_machine::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// Signals that come closer together than this are one: supervisors send theirs to the whole group, shells double it.
pub const SAME_SIGNAL_WITHIN: Duration = Duration::from_millis(50);

/// The signals of this process.
#[derive(Debug)]
pub struct Arrivals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Arrivals {
    /// Installs the handlers. To be called within the runtime that is to hear of them.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Which signals count: the first asks for a drain, the second for an end at once, further ones for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    last: Option<(Instant, Signal)>,
}

impl Count {
    /// What a signal that comes now asks for; `None` where it says nothing new.
    pub fn on(&mut self, now: Instant) -> Option<Signal> {
        let signal = match self.last {
            None => Signal::Drain,
            Some((at, Signal::Drain)) if now.duration_since(at) >= SAME_SIGNAL_WITHIN => Signal::Abort,
            Some(_) => return None,
        };
        self.last = Some((now, signal));
        Some(signal)
    }

    /// The last that counted.
    #[must_use]
    pub fn told(&self) -> Option<Signal> {
        self.last.map(|(_, signal)| signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_signal_is_one_and_a_later_one_the_second() {
        let begun = Instant::now();
        let mut count = Count::default();
        assert_eq!(count.told(), None);
        let after = |millis| begun + Duration::from_millis(millis);
        assert_eq!(count.on(after(0)), Some(Signal::Drain));
        assert_eq!(count.on(after(0)), None);
        assert_eq!(count.on(after(49)), None);
        assert_eq!(count.on(after(50)), Some(Signal::Abort), "it counts from the one that was told");
        assert_eq!(count.on(after(51)), None);
        assert_eq!(count.on(after(900)), None, "there is nothing beyond");
        assert_eq!(count.told(), Some(Signal::Abort));
    }
}
