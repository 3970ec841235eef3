//! Which collection a topic carries. The configuration says it, and never a message.

use std::fmt;
use std::str::FromStr;

/// What a topic's name starts with where the name tells the collection.
const PREFIX: &str = "cdc.";

/// A database and a collection in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace {
    database: String,
    collection: String,
}

/// A text that is not a database and a collection with a dot between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANamespace;

impl Namespace {
    /// These two.
    #[must_use]
    pub fn new(database: impl Into<String>, collection: impl Into<String>) -> Self {
        Self { database: database.into(), collection: collection.into() }
    }

    /// What a topic named `cdc.<database>.<collection>` carries; `None` for a topic of any other name.
    #[must_use]
    pub fn of_topic(topic: &str) -> Option<Self> {
        topic.strip_prefix(PREFIX)?.parse().ok()
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The collection, which also names the table.
    #[must_use]
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// True where these are its database and its collection.
    pub(crate) fn is(&self, database: &str, collection: &str) -> bool {
        self.database == database && self.collection == collection
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.collection)
    }
}

impl fmt::Display for NotANamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a database and a collection, such as game_db.players")
    }
}

impl std::error::Error for NotANamespace {}

/// A database has no dots, a collection may: the first one parts them. What MongoDB refuses as a name is refused.
impl FromStr for Namespace {
    type Err = NotANamespace;

    fn from_str(text: &str) -> Result<Self, NotANamespace> {
        let (database, collection) = text.split_once('.').ok_or(NotANamespace)?;
        let is_database = !database.is_empty() && !database.contains(['/', '\\', ' ', '"', '$', '\0']);
        let is_collection =
            !collection.is_empty() && !collection.starts_with('.') && !collection.contains('\0');
        if is_database && is_collection { Ok(Self::new(database, collection)) } else { Err(NotANamespace) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dot_parts_the_database_from_the_collection() {
        assert_eq!("game_db.players".parse(), Ok(Namespace::new("game_db", "players")));
        assert_eq!("game_db.players.eu".parse(), Ok(Namespace::new("game_db", "players.eu")));
        assert_eq!("d.high scores$".parse(), Ok(Namespace::new("d", "high scores$")));
        for wrong in ["", ".", "players", "game_db.", ".players", "a..b", "a b.c", "a$.c", "a/b.c", "a.b\0"] {
            assert_eq!(wrong.parse::<Namespace>(), Err(NotANamespace), "{wrong:?}");
        }
    }

    #[test]
    fn a_topic_s_name_tells_its_collection_only_behind_the_prefix() {
        assert_eq!(Namespace::of_topic("cdc.game_db.players"), Some(Namespace::new("game_db", "players")));
        assert_eq!(Namespace::of_topic("cdc.d.a.b"), Some(Namespace::new("d", "a.b")));
        for other in ["players", "game_db.players", "cdc.players", "cdc..players", "cdcx.d.c", "cdc.d."] {
            assert_eq!(Namespace::of_topic(other), None, "{other}");
        }
    }
}
