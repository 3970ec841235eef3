//! Explores a machine and writes down what it does: the state × input table and the state diagram are
//! read off the code, never drawn by hand.
//!
//! [`explore`] drives a machine breadth-first: from every situation it has not met before it tries every
//! input that [`Explore::inputs`] thinks plausible there, checks what has to hold, and notes the state before,
//! the input, the state after and the effects. Two machines of the same [`Explore::shape`] count as the same
//! situation, so that numbers which only ever grow (slots, requests, generations) do not make the search
//! infinite.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use cdc_machine::{Effects, Machine, StateName};

/// A machine that can be explored.
pub trait Explore: Machine + Clone {
    /// What tells two situations apart: the machine without the numbers that only grow.
    type Shape: Ord;

    /// The situation that this machine is in.
    fn shape(&self) -> Self::Shape;

    /// The state that this machine is in.
    fn state_name(&self) -> StateName;

    /// The inputs that may come now, late and doubled ones among them.
    fn inputs(&self, config: &Self::Config) -> Vec<Self::Input>;

    /// The input's row in the table, such as `TokenSaved` or `TokenSaved failed: transient`. Diagrams show the part
    /// before the colon.
    fn input_label(input: &Self::Input) -> String;

    /// The effect's name.
    fn effect_name(effect: &Self::Effect) -> &'static str;

    /// Checks what holds in every situation.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    fn check(&self, config: &Self::Config) -> Result<(), &'static str>;
}

/// What an input was seen to do in one state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The states it led to; the same state where it stayed.
    pub to: BTreeSet<StateName>,
    /// The names of the effects that it gave rise to, in any of the situations.
    pub effects: BTreeSet<&'static str>,
}

/// Every transition that an exploration met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    seen: BTreeMap<(StateName, String), Outcome>,
    situations: usize,
}

/// Explores from `start` under `config` and adds what it finds to `found`. At most `limit` situations are
/// visited; returns false where that cut the exploration short.
///
/// # Panics
/// Where an invariant does not hold.
pub fn explore<M: Explore>(config: &M::Config, start: M, limit: usize, found: &mut Transitions) -> bool {
    let mut met = BTreeSet::from([start.shape()]);
    let mut waiting = VecDeque::from([start]);
    let mut out = Effects::new();
    let mut is_complete = true;
    while let Some(machine) = waiting.pop_front() {
        found.situations += 1;
        for input in machine.inputs(config) {
            let label = M::input_label(&input);
            let mut next = machine.clone();
            next.step(config, input, &mut out);
            assert_eq!(next.check(config), Ok(()), "{label} in {}", machine.state_name());
            let outcome = found.seen.entry((machine.state_name(), label)).or_default();
            outcome.to.insert(next.state_name());
            outcome.effects.extend(out.drain().map(|effect| M::effect_name(&effect)));
            if met.len() < limit {
                if met.insert(next.shape()) {
                    waiting.push_back(next);
                }
            } else if is_complete {
                is_complete = met.contains(&next.shape());
            }
        }
    }
    is_complete
}

impl Transitions {
    /// Nothing explored yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { seen: BTreeMap::new(), situations: 0 }
    }

    /// How many situations were visited.
    #[must_use]
    pub const fn situations(&self) -> usize {
        self.situations
    }

    /// What `input` (a label) was seen to do in `state`.
    #[must_use]
    pub fn outcome(&self, state: StateName, input: &str) -> Option<&Outcome> {
        self.seen.get(&(state, String::from(input)))
    }

    /// Every cell of the table: the state, the input's label, and what the input was seen to do there.
    pub fn cells(&self) -> impl Iterator<Item = (StateName, &str, &Outcome)> {
        self.seen.iter().map(|((state, label), outcome)| (*state, label.as_str(), outcome))
    }

    /// The moves between different states, with the inputs that cause them.
    fn moves(&self) -> BTreeMap<(StateName, StateName), BTreeSet<&str>> {
        let mut moves: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for ((from, label), outcome) in &self.seen {
            for to in outcome.to.iter().filter(|to| *to != from) {
                let name = label.split_once(':').map_or(label.as_str(), |(name, _)| name);
                moves.entry((*from, *to)).or_default().insert(name);
            }
        }
        moves
    }

    /// The state diagram for Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("stateDiagram-v2\n    [*] --> Connecting\n");
        for ((from, to), names) in self.moves() {
            let names = joined(names, "<br/>");
            // Writing into a String cannot fail.
            let _ = writeln!(text, "    {from} --> {to}: {names}");
        }
        text.push_str("    Stopped --> [*]\n");
        text
    }

    /// The state diagram for Graphviz; `name` is the graph's.
    #[must_use]
    pub fn dot(&self, name: &str) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "digraph {name} {{");
        text.push_str("    rankdir = TB;\n    node [shape = box, style = rounded];\n");
        text.push_str("    start [shape = point];\n    start -> Connecting;\n");
        for ((from, to), names) in self.moves() {
            let names = joined(names, "\\n");
            let _ = writeln!(text, "    {from} -> {to} [label = \"{names}\"];");
        }
        text.push_str("    Stopped [peripheries = 2];\n}\n");
        text
    }

    /// The state × input table in Markdown: one section for each state, one row for each input.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for state in StateName::ALL {
            let rows = self.seen.iter().filter(|((from, _), _)| *from == state);
            let mut quiet = Vec::new();
            let mut table = String::new();
            for ((_, label), outcome) in rows {
                if outcome.effects.is_empty() && outcome.to.iter().all(|to| *to == state) {
                    quiet.push(label.as_str());
                    continue;
                }
                let to = joined(outcome.to.iter().map(|to| to.as_str()), ", ");
                let effects = joined(outcome.effects.iter().copied(), ", ");
                let _ = writeln!(table, "| {label} | {to} | {effects} |");
            }
            let _ = writeln!(text, "## {state}\n");
            if !table.is_empty() {
                text.push_str("| input | next state | effects, in some situation |\n|---|---|---|\n");
                text.push_str(&table);
                text.push('\n');
            }
            if !quiet.is_empty() {
                let _ = writeln!(text, "No effect and no move: {}.\n", joined(quiet, ", "));
            }
        }
        let kept = text.trim_end().len();
        text.truncate(kept);
        text.push('\n');
        text
    }
}

fn joined<'a>(names: impl IntoIterator<Item = &'a str>, between: &str) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(between);
        }
        text.push_str(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cdc_machine::ensure;

    /// Opens, counts its turns for ever, closes.
    #[derive(Clone)]
    enum Door {
        Shut { turns: u64 },
        Open,
    }

    enum Push {
        Hard,
        Soft,
    }

    impl Machine for Door {
        type Config = ();
        type Input = Push;
        type Effect = &'static str;

        fn step(&mut self, (): &(), input: Push, out: &mut Effects<&'static str>) {
            if let (Self::Shut { turns }, Push::Hard) = (&mut *self, &input) {
                *turns += 1;
                if *turns > 1 {
                    out.push("Creak");
                    *self = Self::Open;
                }
            }
        }
    }

    impl Explore for Door {
        type Shape = (bool, u64);

        fn shape(&self) -> (bool, u64) {
            match self {
                Self::Shut { turns } => (false, (*turns).min(3)),
                Self::Open => (true, 0),
            }
        }

        fn state_name(&self) -> StateName {
            match self {
                Self::Shut { .. } => StateName::Connecting,
                Self::Open => StateName::Stopped,
            }
        }

        fn inputs(&self, (): &()) -> Vec<Push> {
            vec![Push::Hard, Push::Soft]
        }

        fn input_label(input: &Push) -> String {
            match input {
                Push::Hard => String::from("Push: hard"),
                Push::Soft => String::from("Push: soft"),
            }
        }

        fn effect_name(effect: &&'static str) -> &'static str {
            effect
        }

        fn check(&self, (): &()) -> Result<(), &'static str> {
            ensure(!matches!(self, Self::Shut { turns: 2.. }), "a door opens at the second turn")
        }
    }

    #[test]
    fn every_situation_is_met_once_and_every_move_is_drawn() {
        let mut found = Transitions::new();
        assert!(explore(&(), Door::Shut { turns: 0 }, 100, &mut found));
        assert_eq!(found.situations(), 3);
        let hard = found.outcome(StateName::Connecting, "Push: hard").map(|outcome| format!("{outcome:?}"));
        assert_eq!(hard.as_deref(), Some("Outcome { to: {Connecting, Stopped}, effects: {\"Creak\"} }"));
        assert_eq!(
            found.mermaid(),
            "stateDiagram-v2\n    [*] --> Connecting\n    Connecting --> Stopped: Push\n    Stopped --> [*]\n"
        );
        assert!(found.dot("door").contains("Connecting -> Stopped [label = \"Push\"];"));
        let table = found.markdown();
        assert!(table.contains("| Push: hard | Connecting, Stopped | Creak |"));
        assert!(table.contains("## Stopped\n\nNo effect and no move: Push: hard, Push: soft.\n"));
    }

    #[test]
    fn a_limit_that_cuts_the_search_short_is_reported() {
        let mut found = Transitions::new();
        assert!(!explore(&(), Door::Shut { turns: 0 }, 1, &mut found));
    }
}
