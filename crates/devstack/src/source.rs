//! What a pipeline copies: collections of one database, each into a typed table or a mirror.
//!
//! The collections of the demo and the end-to-end tests are two pairs. Both typed tables have one shape, as all
//! mirrors have, and the workload uses the same `_id`s in all four: so a row that went into another collection's
//! table shows.

use crate::role::Role;

/// The seed's table, as its design document has it.
pub const PLAYERS_TABLE: &str = include_str!("../../../deploy/sql/players.sql");

/// The kind of table that a collection is copied into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A table of the shape of the seed's `players`; it is there before the Syncer is.
    Typed,
    /// A table with the whole document, which the Syncer makes.
    Mirror,
}

/// A collection and what it is copied into: a table of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The collection's name.
    pub name: &'static str,
    /// Its table's kind.
    pub target: Target,
}

/// The seed's collection alone.
pub const PLAYERS: [Copied; 1] = [Copied { name: "players", target: Target::Typed }];

/// Two typed tables and two mirrors, the seed's among them.
pub const COLLECTIONS: [Copied; 4] = [
    PLAYERS[0],
    Copied { name: "guests", target: Target::Typed },
    Copied { name: "matches", target: Target::Mirror },
    Copied { name: "items", target: Target::Mirror },
];

/// Collections of one database.
#[derive(Clone, Debug)]
pub struct Source {
    /// The database's name in MongoDB.
    pub database: String,
    /// Its collections, as far as they are copied.
    pub collections: &'static [Copied],
}

impl Source {
    /// These collections of this database.
    #[must_use]
    pub fn new(database: impl Into<String>, collections: &'static [Copied]) -> Self {
        Self { database: database.into(), collections }
    }

    /// The collections' topics, in their order.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.names().map(|name| format!("cdc.{}.{name}", self.database)).collect()
    }

    /// The collections' names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.collections.iter().map(|copied| copied.name)
    }

    /// The typed tables' statements. The seed's is among them as it is; the others are made like it.
    #[must_use]
    pub fn tables_sql(&self) -> String {
        let typed = self.collections.iter().filter(|copied| copied.target == Target::Typed);
        let statements = typed.map(|copied| match copied.name {
            "players" => PLAYERS_TABLE.to_owned(),
            name => format!("CREATE TABLE {name} (LIKE players INCLUDING ALL);\n"),
        });
        statements.collect()
    }

    /// The settings with which a service of this role copies these collections.
    #[must_use]
    pub fn settings(&self, role: Role) -> Vec<(&'static str, String)> {
        match role {
            Role::Watcher => vec![
                ("CDC__MONGODB__DATABASE", self.database.clone()),
                ("CDC__MONGODB__COLLECTION", self.names().collect::<Vec<_>>().join(",")),
                ("CDC__KAFKA__TOPIC", "cdc.{database}.{collection}".to_owned()),
            ],
            Role::Syncer => vec![("CDC__KAFKA__TOPIC", self.topics().join(","))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collections_are_two_of_each_kind() {
        let of = |target| COLLECTIONS.iter().filter(|copied| copied.target == target).count();
        assert_eq!((of(Target::Typed), of(Target::Mirror)), (2, 2));
    }

    #[test]
    fn a_service_is_told_its_collections_and_topics() {
        let source = Source::new("game_db", &COLLECTIONS);
        let topics = "cdc.game_db.players,cdc.game_db.guests,cdc.game_db.matches,cdc.game_db.items";
        assert_eq!(source.settings(Role::Syncer), [("CDC__KAFKA__TOPIC", topics.to_owned())]);
        assert_eq!(source.settings(Role::Watcher)[1].1, "players,guests,matches,items");
    }

    #[test]
    fn the_other_typed_tables_are_made_like_the_seeds() {
        let sql = Source::new("game_db", &COLLECTIONS).tables_sql();
        assert!(sql.contains("CREATE TABLE players ("), "{sql}");
        assert!(sql.ends_with("CREATE TABLE guests (LIKE players INCLUDING ALL);\n"), "{sql}");
        assert!(!sql.contains("matches"), "the Syncer makes a mirror: {sql}");
    }
}
