//! Repeated warnings and errors, cut short with a count: per operation and fault, so that one neighbour's troubles do
//! not hide another's.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cdc_executor::GIVEN_UP;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// How many lines of one matter are written in one [`WINDOW`].
const LINES: u32 = 10;

/// After this long a matter may be written of again.
const WINDOW: Duration = Duration::from_secs(1);

/// Matters that are told apart. Operations and faults are words of the program, so there are fewer; were there more, the
/// rest would be told apart by their place in the code alone.
const MATTERS_MAX: usize = 1024;

/// Counts the lines of each matter. Only warnings and errors are cut short: what a service tells of its normal work is
/// bounded by itself. A record that is given up is told in any case: its line is the only trace that people read.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats {
    matters: Arc<Mutex<HashMap<Matter, Count>>>,
}

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Matter {
    /// Whose it is; empty where the line does not say.
    service: String,
    /// What was being done; empty where the line does not say.
    operation: String,
    /// What kind of failure it met.
    fault: String,
    /// Where in the code it is told: for lines that name no operation, as those of libraries do.
    place: Option<Identifier>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    metadata: &'static Metadata<'static>,
    since: Instant,
    written: u32,
    left_out: u64,
}

/// What was left out of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LeftOut {
    lines: u64,
    service: String,
    operation: String,
    fault: String,
    target: &'static str,
    line: u32,
}

/// The fields that say what a line is about.
#[derive(Default)]
struct Words {
    service: String,
    operation: String,
    fault: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "service" => value.clone_into(&mut self.service),
            "operation" => value.clone_into(&mut self.operation),
            "fault" => value.clone_into(&mut self.fault),
            // Lines without a fault of the list have a coarser word.
            "error_type" if self.fault.is_empty() => value.clone_into(&mut self.fault),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(field.name(), "service" | "operation" | "fault") {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

impl Matter {
    fn of(event: &Event<'_>) -> Self {
        let mut words = Words::default();
        event.record(&mut words);
        let Words { service, operation, fault } = words;
        let place = operation.is_empty().then(|| event.metadata().callsite());
        Self { service, operation, fault, place }
    }

    fn of_place(place: Identifier) -> Self {
        Self { service: String::new(), operation: String::new(), fault: String::new(), place: Some(place) }
    }
}

impl Repeats {
    /// True where one more line of this matter may be written now.
    fn admit(&self, mut matter: Matter, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let mut matters = self.matters.lock().unwrap_or_else(PoisonError::into_inner);
        if matters.len() >= MATTERS_MAX && !matters.contains_key(&matter) {
            matter = Matter::of_place(metadata.callsite());
        }
        let count = matters.entry(matter).or_insert(Count { metadata, since: now, written: 0, left_out: 0 });
        if now.duration_since(count.since) >= WINDOW {
            (count.since, count.written) = (now, 0);
        }
        if count.written < LINES {
            count.written += 1;
            true
        } else {
            count.left_out += 1;
            false
        }
    }

    /// What was left out since the last call.
    fn take(&self) -> Vec<LeftOut> {
        let mut matters = self.matters.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = matters.iter_mut().filter(|(_, count)| count.left_out > 0);
        let taken = counted.map(|(matter, count)| LeftOut {
            lines: std::mem::take(&mut count.left_out),
            service: matter.service.clone(),
            operation: matter.operation.clone(),
            fault: matter.fault.clone(),
            target: count.metadata.target(),
            line: count.metadata.line().unwrap_or_default(),
        });
        taken.collect()
    }

    /// Writes what was left out since the last call.
    pub(super) fn tell(&self) {
        for LeftOut { lines, service, operation, fault, target, line } in self.take() {
            tracing::info!(
                operation = "log",
                left_out = lines,
                of_service = service,
                of_operation = operation,
                of_fault = fault,
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
        let metadata = event.metadata();
        let is_bounded = *metadata.level() <= Level::WARN && metadata.target() != GIVEN_UP;
        !is_bounded || self.admit(Matter::of(event), metadata, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite as _;

    use super::*;

    fn warning() -> &'static Metadata<'static> {
        tracing::callsite!(name: "warning", kind: tracing::metadata::Kind::EVENT, target: "here", level: Level::WARN, fields:).metadata()
    }

    fn matter(operation: &str, fault: &str) -> Matter {
        Matter { service: "syncer".into(), operation: operation.into(), fault: fault.into(), place: None }
    }

    #[test]
    fn a_matter_is_cut_short_until_its_window_is_over_and_the_rest_is_counted() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let written = |at| {
            (0..25).filter(|_| repeats.admit(matter("postgres_write", "transient"), warning(), at)).count()
        };
        assert_eq!(written(start), 10);
        assert_eq!(written(start + WINDOW / 2), 0);
        assert_eq!(written(start + WINDOW), 10);
        let left_out: Vec<_> = repeats.take().iter().map(|it| (it.lines, it.operation.clone())).collect();
        assert_eq!(left_out, [(15 + 25 + 15, "postgres_write".to_owned())]);
        assert_eq!(repeats.take(), []);
    }

    #[test]
    fn one_matter_does_not_hide_another() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        for (operation, fault) in
            [("postgres_write", "transient"), ("postgres_write", "auth"), ("kafka_commit", "transient")]
        {
            let written = (0..25).filter(|_| repeats.admit(matter(operation, fault), warning(), now)).count();
            assert_eq!(written, 10, "{operation} {fault}");
        }
    }

    #[test]
    fn however_many_matters_there_are_they_take_bounded_memory() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        for number in 0..2 * MATTERS_MAX {
            repeats.admit(matter(&number.to_string(), ""), warning(), now);
        }
        assert_eq!(repeats.matters.lock().unwrap().len(), MATTERS_MAX + 1);
        assert_eq!(repeats.take().iter().map(|it| it.lines).sum::<u64>(), MATTERS_MAX as u64 - 10);
    }
}
