//! The tables, with what was deleted from them.

use crate::sim::message::{KEYS, TABLES, Version};

/// A row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// Its unique name.
    pub name: u16,
}

/// A table and a key.
pub type Place = (u8, u8);

/// The tables with their tombstones.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct Tables {
    /// The rows.
    pub rows: [[Option<Stored>; KEYS]; TABLES],
    /// Versions of deletes.
    pub tombstones: [[Version; KEYS]; TABLES],
}

impl Tables {
    pub(super) fn row(&mut self, (table, key): Place) -> &mut Option<Stored> {
        &mut self.rows[usize::from(table)][usize::from(key)]
    }

    pub(super) fn tombstone(&mut self, (table, key): Place) -> &mut Version {
        &mut self.tombstones[usize::from(table)][usize::from(key)]
    }

    pub(super) fn has_name(&self, (table, key): Place, name: u16) -> bool {
        let rows = self.rows[usize::from(table)].iter().enumerate();
        rows.into_iter()
            .any(|(other, row)| other != usize::from(key) && row.is_some_and(|row| row.name == name))
    }
}
