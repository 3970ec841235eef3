//! Collections and their tables, field by field. It reads both servers with plain drivers and shares no code with
//! the pipeline, so that it can disagree with it.

mod json;
mod mirror;
mod typed;

use std::fmt;
use std::time::Duration;

use bson::Document;
use mongodb::{Client, Collection};
use tokio_postgres::Client as Postgres;

use crate::source::{Copied, Source, Target};
use crate::workload::home;

/// Whatever a server says.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Between two comparisons.
const COMPARE_INTERVAL: Duration = Duration::from_millis(300);
/// Differences of one kind that are shown of each table.
const SHOWN_MAX: usize = 4;

/// The outcome of a comparison, table by table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// In the order of the source's collections.
    pub tables: Vec<Differences>,
}

/// How a table differs from its collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The name of both.
    pub name: &'static str,
    /// Documents and rows that were looked at.
    pub compared: usize,
    /// Documents without a row.
    pub missing: Vec<String>,
    /// Rows that differ from their document, with the first field that does.
    pub stale: Vec<(String, &'static str)>,
    /// Rows without a document.
    pub extra: Vec<String>,
    /// Of the stale and the extra ones, those that hold what another collection wrote, with its name.
    pub foreign: Vec<(String, String)>,
}

impl Differences {
    const fn of(name: &'static str, compared: usize) -> Self {
        Self {
            name,
            compared,
            missing: Vec::new(),
            stale: Vec::new(),
            extra: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// True when the table equals the collection.
    #[must_use]
    pub const fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.stale.is_empty() && self.extra.is_empty()
    }

    /// Notes whose a wrong row is, where its user name tells another collection than its own.
    fn note_home(&mut self, id: &str, user_name: Option<&str>, all: &[Copied]) {
        let Some(home) = user_name.and_then(home) else { return };
        if home != self.name && all.iter().any(|copied| copied.name == home) {
            self.foreign.push((id.to_owned(), home.to_owned()));
        }
    }
}

impl Comparison {
    /// True when every table equals its collection.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(Differences::is_equal)
    }

    /// Documents and rows that were looked at, in all.
    #[must_use]
    pub fn compared(&self) -> usize {
        self.tables.iter().map(|table| table.compared).sum()
    }

    /// True when no table was compared with an empty collection.
    #[must_use]
    pub fn is_of_something(&self) -> bool {
        self.tables.iter().all(|table| table.compared > 0)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Differences) -> usize| self.tables.iter().map(of).sum::<usize>();
        let (missing, stale) = (sum(|table| table.missing.len()), sum(|table| table.stale.len()));
        write!(f, "missing {missing}, stale {stale}, too many {}", sum(|table| table.extra.len()))?;
        self.tables.iter().filter(|table| !table.is_equal()).try_for_each(|table| write!(f, "\n  {table}"))
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, stale, extra) = (self.missing.len(), self.stale.len(), self.extra.len());
        write!(f, "{}: missing {missing}, stale {stale}, too many {extra}", self.name)?;
        if !self.foreign.is_empty() {
            write!(f, ", of another collection {}", self.foreign.len())?;
        }
        write!(f, " of {}", self.compared)?;
        for id in self.missing.iter().take(SHOWN_MAX) {
            write!(f, "\n    {id} is missing")?;
        }
        for (id, field) in self.stale.iter().take(SHOWN_MAX) {
            write!(f, "\n    {id} differs in {field}")?;
        }
        for id in self.extra.iter().take(SHOWN_MAX) {
            write!(f, "\n    {id} has no document")?;
        }
        for (id, home) in self.foreign.iter().take(SHOWN_MAX) {
            write!(f, "\n    {id} holds what {home} wrote")?;
        }
        Ok(())
    }
}

/// Compares each of the source's collections with its table.
///
/// # Errors
/// Whatever either server says.
pub async fn all(mongo: &Client, postgres: &Postgres, source: &Source) -> Result<Comparison, Failure> {
    let database = mongo.database(&source.database);
    let mut tables = Vec::new();
    for copied in source.collections {
        let collection: Collection<Document> = database.collection(copied.name);
        let documents = collection.find(Document::new()).batch_size(1000).await?;
        tables.push(match copied.target {
            Target::Typed => typed::differences(documents, postgres, copied.name, source.collections).await?,
            Target::Mirror => {
                mirror::differences(documents, postgres, copied.name, source.collections).await?
            }
        });
    }
    Ok(Comparison { tables })
}

/// Compares again and again until all are equal or time is up; returns the last comparison.
///
/// # Errors
/// Whatever either server says.
pub async fn converge(
    mongo: &Client,
    postgres: &Postgres,
    source: &Source,
    within: Duration,
) -> Result<Comparison, Failure> {
    let deadline = tokio::time::Instant::now() + within;
    loop {
        let comparison = all(mongo, postgres, source).await?;
        if comparison.is_equal() || tokio::time::Instant::now() >= deadline {
            return Ok(comparison);
        }
        tokio::time::sleep(COMPARE_INTERVAL).await;
    }
}

/// The row id of an `_id`: the workloads have object ids and texts.
fn row_id(id: Option<&bson::Bson>) -> String {
    match id {
        Some(bson::Bson::ObjectId(id)) => id.to_hex(),
        Some(bson::Bson::String(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}
