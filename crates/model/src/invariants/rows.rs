//! The rows: none gets older, stands in another's table, or holds what its document never held.

use std::collections::BTreeMap;

use super::{Invariant, Violation, demand};

/// A row as a table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its version, of a row or of its tombstone.
    pub version: u64,
    /// Its unique name; `None` where there is no row.
    pub name: Option<u16>,
}

/// A position, and what a document held from there on.
type State = (u64, Option<u16>);

/// What the documents held, and which versions the rows have had.
#[derive(Clone, Debug, Default, Hash)]
pub struct Rows {
    /// Of each document, what it held from which position on.
    held: BTreeMap<(u8, u8), Vec<State>>,
    versions: BTreeMap<(u8, u8), u64>,
}

impl Rows {
    /// A majority has this state of a document.
    pub fn happened(&mut self, document: (u8, u8), token: u64, name: Option<u16>) {
        self.held.entry(document).or_default().push((token, name));
    }

    /// A transaction was committed that leaves a row like this. `of` is the document whose message it came from, `token`
    /// the message's position.
    ///
    /// # Errors
    /// Where the row is older than before, another document's, or of nobody's.
    pub fn written(
        &mut self,
        row: (u8, u8),
        of: (u8, u8),
        token: u64,
        known: Known,
    ) -> Result<(), Violation> {
        demand(row == of, Invariant::OwnTable, || format!("the row {row:?} is written with {of:?}"))?;
        let before = self.versions.insert(row, known.version).unwrap_or(0);
        demand(before <= known.version, Invariant::NoStaleRow, || {
            format!("the row {row:?} goes from version {before:x} to {:x}", known.version)
        })?;
        let mut held = self.held.get(&row).into_iter().flatten();
        let is_held = held.any(|(at, name)| *at >= token && *name == known.name);
        demand(is_held, Invariant::NoInvention, || {
            format!("the row {row:?} holds {:?}, which its document never held from {token} on", known.name)
        })
    }

    /// The database was restored: its rows are what the copy holds.
    pub fn restored(&mut self, versions: impl Iterator<Item = ((u8, u8), u64)>) {
        self.versions = versions.collect();
    }

    /// Everything is at rest: a row like this is what `document` may look like. `is_owed` says whether a change, given
    /// its position and the name that it gave, had to get to the table.
    ///
    /// # Errors
    /// Where the row is older than the last change that had to arrive, or holds what no later one gave.
    pub fn at_rest(
        &self,
        document: (u8, u8),
        row: Option<u16>,
        is_owed: impl Fn(u64, Option<u16>) -> bool,
    ) -> Result<(), Violation> {
        let held = self.held.get(&document).map_or(&[][..], Vec::as_slice);
        let last_owed = held.iter().rposition(|(token, name)| is_owed(*token, *name));
        let may_be = |at: usize| held.iter().skip(at).any(|(_, name)| *name == row);
        let holds = last_owed.map_or_else(|| row.is_none() || may_be(0), may_be);
        demand(holds, Invariant::Convergence, || {
            format!("the row {document:?} holds {row:?}, and its document held {held:?}")
        })
    }
}
