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

/// A time in Unix seconds for people: `2026-11-27T18:20:01Z`.
pub(crate) fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let rows = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_705_318_200, "2024-01-15T11:30:00Z"),
            (i64::from(u32::MAX), "2106-02-07T06:28:15Z"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(utc(seconds), expected);
        }
    }
}
