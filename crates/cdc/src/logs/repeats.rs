//! Repeated warnings and errors, cut short with a count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// How many lines of one place in the code are written in one [`WINDOW`].
const LINES: u32 = 10;

/// After this long a place may write again.
const WINDOW: Duration = Duration::from_secs(1);

/// Counts the lines of each place in the code. Only warnings and errors are cut short: what a service tells
/// of its normal work, a line for each batch, is complete.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats {
    /// As many entries as there are places in the code that warn.
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    written: u32,
    left_out: u64,
}

/// What was left out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LeftOut {
    lines: u64,
    target: &'static str,
    line: u32,
}

impl Repeats {
    /// True where one more line of this place may be written now.
    fn admit(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        if *metadata.level() > Level::WARN {
            return true;
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(metadata.callsite()).or_insert(Place {
            metadata,
            since: now,
            written: 0,
            left_out: 0,
        });
        if now.duration_since(place.since) >= WINDOW {
            (place.since, place.written) = (now, 0);
        }
        if place.written < LINES {
            place.written += 1;
            true
        } else {
            place.left_out += 1;
            false
        }
    }

    /// What was left out since the last call.
    fn take(&self) -> Vec<LeftOut> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = places.values_mut().filter(|place| place.left_out > 0);
        let taken = counted.map(|place| LeftOut {
            lines: std::mem::take(&mut place.left_out),
            target: place.metadata.target(),
            line: place.metadata.line().unwrap_or_default(),
        });
        taken.collect()
    }

    /// Writes what was left out since the last call.
    pub(super) fn tell(&self) {
        for LeftOut { lines, target, line } in self.take() {
            tracing::info!(
                operation = "log",
                left_out = lines,
                place = format!("{target}:{line}"),
                "repeated lines were left out"
            );
        }
    }
}

impl<S> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admit(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite as _;

    use super::*;

    fn warning() -> &'static Metadata<'static> {
        tracing::callsite!(name: "warning", kind: tracing::metadata::Kind::EVENT, target: "here", level: Level::WARN, fields:).metadata()
    }

    #[test]
    fn a_place_is_cut_short_until_its_window_is_over_and_the_rest_is_counted() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let written = |at| (0..25).filter(|_| repeats.admit(warning(), at)).count();
        assert_eq!(written(start), 10);
        assert_eq!(written(start + WINDOW / 2), 0);
        assert_eq!(written(start + WINDOW), 10);
        let left_out: Vec<_> = repeats.take().iter().map(|it| (it.lines, it.target)).collect();
        assert_eq!(left_out, [(15 + 25 + 15, "here")]);
        assert_eq!(repeats.take(), []);
    }

    #[test]
    fn what_is_no_warning_is_never_cut_short() {
        let info = tracing::callsite!(name: "batch", kind: tracing::metadata::Kind::EVENT, target: "here", level: Level::INFO, fields:).metadata();
        let repeats = Repeats::default();
        assert!((0..1000).all(|_| repeats.admit(info, Instant::now())));
    }
}
