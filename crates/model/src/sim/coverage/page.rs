//! `specs/coverage.md`: which input met which state, and which fault. What nothing can bring about is told from what no
//! schedule has brought about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;

use cdc_machine::StateName;

use super::{Answered, Coverage};
use crate::explore::Transitions;
use crate::sim::schedule::Act;

/// The seeds whose schedules are counted; each run of `make test` plays them.
pub const SEEDS: Range<u64> = 0..1_500;

/// The states in which a process lives.
const LIVING: [StateName; 5] = [
    StateName::Connecting,
    StateName::Streaming,
    StateName::AwaitingAck,
    StateName::SavingToken,
    StateName::Draining,
];

/// Of what: an input of a machine, or a fault; its name, the states, and why it was not met there.
type Reason = (&'static str, &'static str, &'static [StateName], &'static str);

const FAULT: &str = "fault";
const NOT_A_MEMBER: &str = "a Syncer of the model is no member of the group while it is Connecting";
/// Of a cell that nothing keeps the schedules from: which of them these seeds come to changes with every change of the model.
pub const RARE: &str = "rare: it takes several misfortunes at once, and these seeds have none like it";
/// So many cells may be rare.
pub const RARE_MAX: usize = 30;
const NO_HOLD: &str = "the model's tables can always be written";

/// What could be and no schedule comes to, with the reason.
const UNREACHED: [Reason; 13] = [
    ("Watcher", "Signal Abort", &LIVING, "no schedule asks twice; the end-to-end tests do, in each state"),
    ("Syncer", "Signal Abort", &LIVING, "no schedule asks twice; the end-to-end tests do, in each state"),
    ("Syncer", "Signal Drain", &[StateName::Draining], "no schedule asks twice"),
    ("Syncer", "Assigned", &[StateName::Connecting], NOT_A_MEMBER),
    ("Syncer", "ConsumerFailed", &[StateName::Connecting], NOT_A_MEMBER),
    ("Syncer", "Lost", &[StateName::Connecting], NOT_A_MEMBER),
    ("Syncer", "Revoking", &[StateName::Connecting], NOT_A_MEMBER),
    (
        "Syncer",
        "Timer Flush",
        &[StateName::Streaming, StateName::AwaitingAck],
        "rows linger in every schedule, so that none gets as old",
    ),
    (
        "Syncer",
        "Timer HeldTable",
        &[StateName::Connecting, StateName::Streaming, StateName::AwaitingAck],
        NO_HOLD,
    ),
    (
        "Syncer",
        "Timer LockedTable",
        &[StateName::Connecting, StateName::Streaming, StateName::AwaitingAck],
        NO_HOLD,
    ),
    (FAULT, "evict", &[StateName::Connecting], NOT_A_MEMBER),
    (FAULT, "consumer fails", &[StateName::Connecting], NOT_A_MEMBER),
    (FAULT, "drain syncer", &[StateName::Draining], "no schedule asks twice"),
];

/// What a cell shows where no schedule came to it.
const IMPOSSIBLE: &str = "–";
const LATE_ONLY: &str = "·";
const MISSED: &str = "**none**";

/// The page.
#[must_use]
pub fn page(seen: &Coverage, watcher: &Transitions, syncer: &Transitions) -> String {
    let mut text = String::new();
    let (first, last) = (SEEDS.start, SEEDS.end - 1);
    let _ = write!(
        text,
        "# What the simulator has met

Generated from the schedules of the seeds {first} to {last} of the [simulator](simulator.md), which every run of `make test` plays. `make
specs` writes it anew.

A number says how often. `{LATE_ONLY}` stands where the input changes nothing in that state, which the explored tables of
[Watcher](watcher-states.md) and [Syncer](syncer-states.md) show: it is the late answer to what was given up, and did not come.
`{IMPOSSIBLE}` stands for what cannot be. `{MISSED}` stands for what could be and was not met; the reasons are below each table.
"
    );
    for (machine, transitions) in [("Watcher", watcher), ("Syncer", syncer)] {
        let _ = writeln!(text, "\n## Inputs of the {machine}\n");
        inputs(machine, seen, transitions, &mut text);
    }
    text.push_str("\n## Faults\n\nBy the state of the process that they strike; of what befalls a server, of the first process that uses it.\n\n");
    faults(seen, &mut text);
    text.push_str(
        "\n## Requests that end badly\n\nRefused, carried out unheard or late, or failed in a way of their own, by the state of who has asked: so many, of \
         so many answers. A request that is never out in a state cannot be answered there; where few were, all were answered well.\n\n",
    );
    answers(seen, &mut text);
    text
}

fn head(first: &str, text: &mut String) {
    let states: Vec<&str> = LIVING.iter().map(|state| state.as_str()).collect();
    let _ = writeln!(text, "| {first} | {} |\n|---|{}", states.join(" | "), "---|".repeat(LIVING.len()));
}

fn inputs(machine: &str, seen: &Coverage, transitions: &Transitions, text: &mut String) {
    let mut known: BTreeMap<(&str, StateName), bool> = BTreeMap::new();
    for (state, label, outcome) in transitions.cells() {
        let name = label.split_once(':').map_or(label, |(name, _)| name);
        let does = !outcome.effects.is_empty() || outcome.to.iter().any(|to| *to != state);
        *known.entry((name, state)).or_default() |= does;
    }
    let met = seen.inputs.iter().filter(|((of, ..), _)| *of == machine);
    let met: BTreeMap<(&str, StateName), u64> =
        met.map(|((_, state, name), count)| ((*name, *state), *count)).collect();
    let names: BTreeSet<&str> =
        known.keys().map(|(name, _)| *name).chain(met.keys().map(|(name, _)| *name)).collect();
    head("input", text);
    let (mut hit, mut missed) = (0, Vec::new());
    for name in names {
        let cells = LIVING.map(|state| match (met.get(&(name, state)), known.get(&(name, state))) {
            (Some(count), _) => {
                hit += 1;
                count.to_string()
            }
            (None, Some(true)) => {
                missed.push((name, state));
                MISSED.to_owned()
            }
            (None, Some(false)) => LATE_ONLY.to_owned(),
            (None, None) => IMPOSSIBLE.to_owned(),
        });
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    reasons(machine, hit, missed, text);
}

/// How many cells are met, and why the others are not. A reason for what is met by now says so.
fn reasons(of: &str, hit: usize, mut missed: Vec<(&str, StateName)>, text: &mut String) {
    let _ = writeln!(text, "\n{hit} cells are met, {} could be and are not:\n", missed.len());
    for (_, name, states, why) in UNREACHED.iter().filter(|(it, ..)| *it == of) {
        let is_it = |(other, state): &(&str, StateName)| other == name && states.contains(state);
        let found = missed.iter().filter(|it| is_it(it)).count();
        missed.retain(|it| !is_it(it));
        let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        let stale = if found < states.len() { " (**partly met by now**)" } else { "" };
        let _ = writeln!(text, "- {name} in {}: {why}{stale}", names.join(", "));
    }
    for (name, state) in missed {
        let _ = writeln!(text, "- {name} in {state}: {RARE}");
    }
}

fn faults(seen: &Coverage, text: &mut String) {
    head("fault", text);
    let (mut hit, mut missed) = (0, Vec::new());
    for act in Act::ALL.into_iter().filter(|act| act.is_fault()) {
        let cells = LIVING.map(|state| match seen.faults.get(&(act, state)) {
            Some(count) => {
                hit += 1;
                count.to_string()
            }
            None => {
                missed.push((act.as_str(), state));
                MISSED.to_owned()
            }
        });
        let _ = writeln!(text, "| {} | {} |", act.as_str(), cells.join(" | "));
    }
    reasons(FAULT, hit, missed, text);
}

fn answers(seen: &Coverage, text: &mut String) {
    head("request", text);
    for act in Act::ALL.into_iter().filter(|act| act.is_answer()) {
        let cells = LIVING.map(|state| match seen.answers.get(&(act, state)) {
            None => IMPOSSIBLE.to_owned(),
            Some(Answered { badly: 0, well }) => format!("{MISSED} of {well}"),
            Some(Answered { badly, well }) => format!("{badly} of {}", badly + well),
        });
        let _ = writeln!(text, "| {} | {} |", act.as_str(), cells.join(" | "));
    }
}
