//! The collection and the table, field by field. It reads both servers with plain drivers and shares no
//! code with the pipeline, so that it can disagree with it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use bson::{Bson, Document, doc};
use mongodb::Database;

/// What a row of `players` has to hold.
#[derive(Clone, Debug, PartialEq)]
struct Player {
    username: Option<String>,
    level: Option<i64>,
    score: Option<i64>,
    created_at_ms: Option<i64>,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Documents and rows that were looked at.
    pub compared: usize,
    /// Documents without a row.
    pub missing: Vec<String>,
    /// Rows that differ from their document, with the first field that does.
    pub stale: Vec<(String, &'static str)>,
    /// Rows without a document.
    pub extra: Vec<String>,
}

impl Comparison {
    /// True when the table equals the collection.
    #[must_use]
    pub const fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.stale.is_empty() && self.extra.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "missing {}, stale {}, too many {}",
            self.missing.len(),
            self.stale.len(),
            self.extra.len()
        )?;
        if self.is_equal() {
            return Ok(());
        }
        let first = self.missing.first().map(|id| format!("{id} is missing"));
        let first =
            first.or_else(|| self.stale.first().map(|(id, field)| format!("{id} differs in {field}")));
        let first = first.or_else(|| self.extra.first().map(|id| format!("{id} has no document")));
        write!(f, " (first: {})", first.unwrap_or_default())
    }
}

/// Compares the collection `players` with the table `players`.
///
/// # Errors
/// Whatever either server says.
pub async fn players(
    mongo: &Database,
    postgres: &tokio_postgres::Client,
) -> Result<Comparison, Box<dyn std::error::Error + Send + Sync>> {
    let documents = documents(mongo).await?;
    let mut rows = rows(postgres).await?;
    let mut comparison = Comparison { compared: documents.len(), ..Comparison::default() };
    for (id, expected) in documents {
        match rows.remove(&id) {
            None => comparison.missing.push(id),
            Some(row) => {
                if let Some(field) = difference(&expected, &row) {
                    comparison.stale.push((id, field));
                }
            }
        }
    }
    comparison.compared += rows.len();
    comparison.extra = rows.into_keys().collect();
    Ok(comparison)
}

/// Compares again and again until both are equal or time is up; returns the last comparison.
///
/// # Errors
/// Whatever either server says.
pub async fn players_converge(
    mongo: &Database,
    postgres: &tokio_postgres::Client,
    within: Duration,
) -> Result<Comparison, Box<dyn std::error::Error + Send + Sync>> {
    let deadline = tokio::time::Instant::now() + within;
    loop {
        let comparison = players(mongo, postgres).await?;
        if comparison.is_equal() || tokio::time::Instant::now() >= deadline {
            return Ok(comparison);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn difference(expected: &Player, row: &Player) -> Option<&'static str> {
    if expected.username != row.username {
        return Some("username");
    }
    if expected.level != row.level {
        return Some("level");
    }
    if expected.score != row.score {
        return Some("score");
    }
    (expected.created_at_ms != row.created_at_ms).then_some("created_at")
}

async fn documents(
    mongo: &Database,
) -> Result<BTreeMap<String, Player>, Box<dyn std::error::Error + Send + Sync>> {
    let mut cursor = mongo.collection::<Document>("players").find(doc! {}).batch_size(1000).await?;
    let mut players = BTreeMap::new();
    while cursor.advance().await? {
        let document = Document::try_from(cursor.current())?;
        players.insert(row_id(document.get("_id")), expected(&document));
    }
    Ok(players)
}

fn row_id(id: Option<&Bson>) -> String {
    match id {
        Some(Bson::ObjectId(id)) => id.to_hex(),
        Some(Bson::String(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn integer(value: Option<&Bson>) -> Option<i64> {
    match value {
        Some(Bson::Int32(n)) => Some(i64::from(*n)),
        Some(Bson::Int64(n)) => Some(*n),
        _ => None,
    }
}

/// The seed's table: an absent level is 1, an absent score 0; a null stays null.
fn expected(document: &Document) -> Player {
    let or_default = |name: &str, default: i64| match document.get(name) {
        None => Some(default),
        value => integer(value),
    };
    Player {
        username: document.get_str("username").ok().map(str::to_owned),
        level: or_default("level", 1),
        score: or_default("score", 0),
        created_at_ms: document.get_datetime("created_at").ok().map(|at| at.timestamp_millis()),
    }
}

async fn rows(
    postgres: &tokio_postgres::Client,
) -> Result<BTreeMap<String, Player>, Box<dyn std::error::Error + Send + Sync>> {
    let rows = postgres.query("SELECT id, username, level, score, created_at FROM players", &[]).await?;
    let mut players = BTreeMap::new();
    for row in rows {
        let created: Option<SystemTime> = row.try_get(4)?;
        let created_at_ms = created
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_millis()).ok());
        let player = Player {
            username: row.try_get(1)?,
            level: row.try_get::<_, Option<i32>>(2)?.map(i64::from),
            score: row.try_get(3)?,
            created_at_ms,
        };
        players.insert(row.try_get(0)?, player);
    }
    Ok(players)
}
