use tokio::time::Instant;

/// The time that timers run by: the runtime's.
///
/// In tests it can stand still while anything is left to do and jump to the next timer when nothing is, so that
/// a schedule of minutes is seen to the microsecond in no time. (Tokio's own paused clock is a feature of the
/// whole crate, and would be compiled into every binary of the workspace.)
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    Runtime,
    #[cfg(test)]
    Jumping(std::sync::Arc<std::sync::Mutex<Instant>>),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Runtime => Instant::now(),
            #[cfg(test)]
            Self::Jumping(now) => *now.lock().unwrap(),
        }
    }

    pub(crate) async fn sleep_until(&self, at: Instant) {
        match self {
            Self::Runtime => tokio::time::sleep_until(at).await,
            #[cfg(test)]
            Self::Jumping(now) => {
                // On a runtime with one thread everything that is ready gets its turn meanwhile.
                for _ in 0..64 {
                    tokio::task::yield_now().await;
                }
                let mut now = now.lock().unwrap();
                *now = at.max(*now);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn jumping() -> Self {
        Self::Jumping(std::sync::Arc::new(std::sync::Mutex::new(Instant::now())))
    }
}
