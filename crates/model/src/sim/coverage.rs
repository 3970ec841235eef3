//! What schedules have come to: moves, faults, and which input met which state.

use std::collections::BTreeMap;
use std::time::Duration;

use cdc_machine::StateName;

use super::schedule::Act;

mod page;

pub use page::{RARE, RARE_MAX, SEEDS, page};

const SECONDS_A_MINUTE: f64 = 60.0;

/// What a schedule has at least, to be worth its name.
pub const CHANGES_MIN: u32 = 50;
/// The same.
pub const FAULTS_MIN: u64 = 3;
/// Moves that half of the schedules have at least.
pub const MOVES_MEDIAN_MIN: u64 = 500;
/// Of a hundred schedules, those that die with work in hand and apply something after the last fault.
pub const BUSY_PERCENT_MIN: u64 = 20;

/// How many schedules are worth their name, by what they have.
#[derive(Clone, Debug, Default)]
pub struct Worth {
    /// [`CHANGES_MIN`] changes or more.
    pub changes: u64,
    /// [`FAULTS_MIN`] faults or more.
    pub faults: u64,
    /// A crash or more.
    pub crash: u64,
    /// A crash with work in flight, and something applied after the last fault.
    pub busy: u64,
    /// Schedules by the number of their moves.
    pub moves: BTreeMap<u64, u64>,
}

impl Worth {
    /// The moves that half of the schedules have at least.
    #[must_use]
    pub fn median_moves(&self) -> u64 {
        let half = self.moves.values().sum::<u64>().div_ceil(2);
        let mut counted = 0;
        let mut reaches = |count: &u64| {
            counted += count;
            counted >= half
        };
        self.moves.iter().find(|(_, count)| reaches(count)).map_or(0, |(moves, _)| *moves)
    }
}

/// How often the requests of one kind were answered well and badly in one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// As they were asked.
    pub well: u64,
    /// Refused, carried out unheard or late, or failed in a way of its own.
    pub badly: u64,
}

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
    /// How many of the schedules are worth their name.
    pub worth: Worth,
    /// What became of requests, by kind and by the state of who asked.
    pub answers: BTreeMap<(Act, StateName), Answered>,
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

    /// A request was answered, well or not.
    pub fn answer(&mut self, act: Act, state: StateName, is_good: bool) {
        let answered = self.answers.entry((act, state)).or_default();
        *(if is_good { &mut answered.well } else { &mut answered.badly }) += 1;
    }

    /// The schedule is over: what it is worth counts.
    pub fn close(&mut self, written: u32) {
        self.schedules = 1;
        self.worth = Worth {
            changes: u64::from(written >= CHANGES_MIN),
            faults: u64::from(self.faults() >= FAULTS_MIN),
            crash: u64::from(self.crashes >= 1),
            busy: u64::from(self.crashes_busy > 0 && self.after_faults > 0),
            moves: BTreeMap::from([(self.moves, 1)]),
        };
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

    /// What the schedules are worth, in one line.
    #[must_use]
    pub fn worth(&self) -> String {
        let Worth { changes, faults, crash, busy, .. } = self.worth;
        let share = |count: u64| count as f64 * 100.0 / self.schedules.max(1) as f64;
        format!(
            "of them {:.1} % write {CHANGES_MIN} times or more, {:.1} % meet {FAULTS_MIN} faults or more, {:.1} % a crash; {:.1} % die \
             with work in flight and apply something after the last fault; half have {} moves or more",
            share(changes),
            share(faults),
            share(crash),
            share(busy),
            self.worth.median_moves(),
        )
    }

    /// The same with what the schedules are worth, and the ends.
    #[must_use]
    pub fn summary(&self, took: Duration) -> String {
        let ends = self.ends.iter().map(|(cause, count)| format!("  {count} ended: {cause}\n"));
        format!("{}\n{}\n{}", self.line(took), self.worth(), ends.collect::<String>())
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
        let Worth { changes, faults, crash, busy, moves } = &other.worth;
        self.worth.changes += changes;
        self.worth.faults += faults;
        self.worth.crash += crash;
        self.worth.busy += busy;
        for (moves, count) in moves {
            *self.worth.moves.entry(*moves).or_default() += count;
        }
        for (key, Answered { well, badly }) in &other.answers {
            let answered = self.answers.entry(*key).or_default();
            answered.well += well;
            answered.badly += badly;
        }
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
