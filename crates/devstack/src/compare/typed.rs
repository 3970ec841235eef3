//! A collection and a table of the shape of the seed's `players`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bson::{Bson, Document};
use mongodb::Cursor;

use super::{Differences, Failure, row_id};
use crate::source::Copied;

/// What a row has to hold.
#[derive(Clone, Debug, PartialEq)]
struct Player {
    username: Option<String>,
    level: Option<i64>,
    score: Option<i64>,
    created_at_ms: Option<i64>,
}

pub(super) async fn differences(
    mut documents: Cursor<Document>,
    postgres: &tokio_postgres::Client,
    table: &'static str,
    all: &[Copied],
) -> Result<Differences, Failure> {
    let mut rows = rows(postgres, table).await?;
    let mut found = Differences::of(table, 0);
    while documents.advance().await? {
        let document = Document::try_from(documents.current())?;
        found.compared += 1;
        let id = row_id(document.get("_id"));
        let Some(row) = rows.remove(&id) else {
            found.missing.push(id);
            continue;
        };
        if let Some(field) = difference(&expected(&document), &row) {
            found.note_home(&id, row.username.as_deref(), all);
            found.stale.push((id, field));
        }
    }
    found.compared += rows.len();
    for (id, row) in rows {
        found.note_home(&id, row.username.as_deref(), all);
        found.extra.push(id);
    }
    Ok(found)
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

async fn rows(postgres: &tokio_postgres::Client, table: &str) -> Result<BTreeMap<String, Player>, Failure> {
    let statement = format!("SELECT id, username, level, score, created_at FROM {table}");
    let mut players = BTreeMap::new();
    for row in postgres.query(&statement, &[]).await? {
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
