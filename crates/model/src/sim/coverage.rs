//! What schedules have come to: moves, faults, and which input met which state.

use std::collections::BTreeMap;
use std::time::Duration;

use cdc_machine::StateName;

use super::schedule::Act;

const SECONDS_A_MINUTE: f64 = 60.0;

/// Counts of one schedule, or of many.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Schedules played.
    pub schedules: u64,
    /// Moves made.
    pub moves: u64,
    /// Changes that a majority came to have.
    pub changes: u64,
    /// Rows and deletes written.
    pub written: u64,
    /// Messages appended.
    pub appended: u64,
    /// Processes that ended in the middle, and those of them with work in hand.
    pub crashes: u64,
    /// Those of them that had something in flight.
    pub crashes_busy: u64,
    /// Faults by kind and by the state that they met.
    pub faults: BTreeMap<(Act, StateName), u64>,
    /// Inputs by machine, state and name.
    pub inputs: BTreeMap<(&'static str, StateName, &'static str), u64>,
    /// Ends by cause.
    pub ends: BTreeMap<String, u64>,
    /// Changes that reached the table's end of the pipeline after the last fault.
    pub after_faults: u64,
}

impl Coverage {
    /// A fault met this state.
    pub fn fault(&mut self, act: Act, state: StateName) {
        *self.faults.entry((act, state)).or_default() += 1;
    }

    /// A machine got an input.
    pub fn input(&mut self, machine: &'static str, state: StateName, name: &'static str) {
        *self.inputs.entry((machine, state, name)).or_default() += 1;
    }

    /// Faults in all.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// What was done, in one line.
    #[must_use]
    pub fn line(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64().max(f64::EPSILON);
        format!(
            "{} schedules in {seconds:.0} s, {:.0} a minute; {} moves, {} faults, {} crashes ({} with work in hand), \
             {} changes, {} rows written, {} cells of state and input, {} of fault and state",
            self.schedules,
            self.schedules as f64 * SECONDS_A_MINUTE / seconds,
            self.moves,
            self.faults(),
            self.crashes,
            self.crashes_busy,
            self.changes,
            self.written,
            self.inputs.len(),
            self.faults.len(),
        )
    }

    /// The same with the ends.
    #[must_use]
    pub fn summary(&self, took: Duration) -> String {
        let ends = self.ends.iter().map(|(cause, count)| format!("  {count} ended: {cause}\n"));
        format!("{}\n{}", self.line(took), ends.collect::<String>())
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.moves += other.moves;
        self.changes += other.changes;
        self.written += other.written;
        self.appended += other.appended;
        self.crashes += other.crashes;
        self.crashes_busy += other.crashes_busy;
        self.after_faults += other.after_faults;
        for (key, count) in &other.faults {
            *self.faults.entry(*key).or_default() += count;
        }
        for (key, count) in &other.inputs {
            *self.inputs.entry(*key).or_default() += count;
        }
        for (key, count) in &other.ends {
            *self.ends.entry(key.clone()).or_default() += count;
        }
    }
}
