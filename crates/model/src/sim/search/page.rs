//! `specs/exhaustive.md`, in parts that different runs make: the small searches by `make test`, the controls and the
//! large searches by `make proof`.

use std::fmt::Write as _;

use super::controls::Refuted;
use super::frontier::Found;
use super::scopes::{Scope, Which};

/// A search and what it came to.
pub type Searched = (Scope, Found);

/// The part with what every run of the tests searches.
pub const SMALL: &str = "searched by make test";
/// The part with what `make proof` searches.
pub const LARGE: &str = "searched by make proof";
/// The part with the shortest paths to the goals.
pub const GOALS: &str = "goals";
/// The part with the controls.
pub const CONTROLS: &str = "controls";

/// What comes before each part.
const PARTS: [(&str, &str); 4] =
    [(SMALL, SMALL_SAYS), (LARGE, LARGE_SAYS), (GOALS, GOALS_SAY), (CONTROLS, CONTROLS_SAY)];

const TITLE: &str = "# The exhaustive search

Every interleaving of a small world, breadth first, each situation once: [`search.rs`](../crates/model/src/sim/search.rs).
The machines are the real ones; the world and the [invariants](properties.md#invariants-of-the-whole) are those of
the [simulator](simulator.md). After each move the invariants are asked, and from each situation (or from one of so many, where
the table says so) the world gets well, comes to rest with every table as its collection is, and ends when asked.

A situation is all that decides what may come next: both machines, what they have asked, the servers, and what the invariants
remember. Two are the same where a digest of 64 bits is. A path may contain so many of each misfortune as its bounds say: a
crash leaves any part of what was in flight on the wire; a freeze is a process that another one replaces and that goes on later;
a rebalance takes partitions away; a restore is a copy of the database or its
return, so that it takes two; a failure is a request that is refused, carried out unheard, or carried out late; a timer is
the next one of a process, at any moment from the one at which it could run out. Clients write in the order of the
letters: a capital one makes or changes a document, a small one deletes it; A and B are in different partitions, A and D in one. Where the longest
path is given *by bound*, there are longer ones, which were not tried.

| world | what is in it | where it begins |
|---|---|---|
| watcher | one Watcher, the token store, a process that takes its place; Kafka and the source | before the first start |
| syncer | two Syncers, the group, PostgreSQL with the ledger, a log that holds what the clients wrote | one has all partitions, the other is about to join |
| database | one Syncer on such a log; PostgreSQL is copied and replaced by its copy | it has all partitions |
| pipeline | one Watcher and one Syncer, and all servers | both wait for the first change |

```console
$ cargo run -p cdc-model -- search                 # what make test searches
$ cargo run -p cdc-model -- search --large         # what make proof searches
$ cargo run -p cdc-model -- search --world syncer --writes AB --bounds freeze=1,failure=1
```
";

const SMALL_SAYS: &str = "## Searched in every run of the tests

No path breaks an invariant, and no limit cut a search short.
";

const LARGE_SAYS: &str = "## Searched by `make proof`

`cargo run -p cdc-model -- search --large --page specs/exhaustive.md` writes this table, which is empty until then.
";

const GOALS_SAY: &str = "## What has to come to pass

A search that never gets there has looked at nothing: each of these is reached in a run of the tests.
";

const CONTROLS_SAY: &str = "## Controls

With a [bug that is planted](simulator.md#planted-bugs), a search has to break the invariant that the bug is about; the machines'
own checks are off meanwhile. No shorter path does.
";

/// The page without its tables.
#[must_use]
pub fn frame() -> String {
    let mut text = String::from(TITLE);
    for (name, says) in PARTS {
        let _ = write!(text, "\n{says}\n{}\n{}\n", begin(name), end(name));
    }
    text
}

fn begin(name: &str) -> String {
    format!("<!-- {name} -->")
}

fn end(name: &str) -> String {
    format!("<!-- end of {name} -->")
}

/// The page with this text in place of one part; `None` where it has no such part.
#[must_use]
pub fn with_block(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&begin(name))?;
    let (_, after) = rest.split_once(&end(name))?;
    Some([before, &begin(name), "\n", text, &end(name), after].concat())
}

/// One part of a page.
#[must_use]
pub fn block<'p>(page: &'p str, name: &str) -> Option<&'p str> {
    let (_, rest) = page.split_once(&begin(name))?;
    let (text, _) = rest.split_once(&end(name))?;
    text.strip_prefix('\n')
}

/// What was searched.
#[must_use]
pub fn table(searched: &[Searched]) -> String {
    let mut text = String::from(
        "| world | writes | bounds | situations | moves | longest path | well again from |\n|---|---|---|---|---|---|---|\n",
    );
    for (scope, found) in searched {
        let Found { situations, moves, depth, recoveries, is_complete, is_bounded, .. } = found;
        let bounded = if *is_bounded { ", by bound" } else { "" };
        let bounds = scope.bounds.to_string();
        let bounds = if bounds.is_empty() { "none".to_owned() } else { bounds };
        let cut = if *is_complete { "" } else { ", cut short" };
        let _ = writeln!(
            text,
            "| {} | {} | {bounds} | {situations}{cut} | {moves} | {depth}{bounded} | {recoveries} |",
            scope.which.as_str(),
            scope.script,
        );
    }
    text
}

/// The goals that were reached, each with the shortest path of all searches of its world.
#[must_use]
pub fn goals(searched: &[Searched]) -> String {
    let mut text = String::from("| world | goal | moves |\n|---|---|---|\n");
    for which in Which::ALL {
        let of = || searched.iter().filter(move |(scope, _)| scope.which == which);
        for goal in of().next().map_or(&[][..], |(scope, _)| scope.goals()) {
            let reached = of().flat_map(|(_, found)| &found.goals).filter(|(it, _)| it == goal);
            let moves = reached.map(|(_, moves)| moves.to_string()).min_by_key(String::len);
            let moves = moves.unwrap_or_else(|| "not reached".to_owned());
            let _ = writeln!(text, "| {} | {} | {moves} |", which.as_str(), goal.as_str());
        }
    }
    text
}

/// The controls, each with its counterexample.
#[must_use]
pub fn controls(refuted: &[Refuted]) -> String {
    let mut text = String::from(
        "| bug | world | writes | bounds | invariant that falls | moves | situations |\n|---|---|---|---|---|---|---|\n",
    );
    for Refuted { bug, scope, counterexample, situations } in refuted {
        let invariant = counterexample.violation.invariant;
        let well = if counterexample.is_late { ", then well" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} {invariant:?} | {}{well} | {situations} |",
            bug.as_str(),
            scope.which.as_str(),
            scope.script,
            scope.bounds,
            invariant.id(),
            counterexample.moves.len(),
        );
    }
    for Refuted { bug, scope, counterexample, .. } in refuted {
        let story = counterexample.story(scope);
        let _ = write!(text, "\n### {}\n\n```text\n{story}\n```\n", bug.as_str());
    }
    text
}
