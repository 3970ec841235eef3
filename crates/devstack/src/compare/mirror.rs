//! A collection and its mirror: the whole document, and the types that JSON does not show. PostgreSQL compares, so
//! that numbers are compared as what they are.

use bson::Document;
use mongodb::Cursor;

use super::{Differences, Failure, json, row_id};
use crate::source::Copied;

/// Rows that are not as they should be, by what is wrong.
const WRONG: &str = "\
SELECT coalesce(e.id, t.id), t.document->>'username', \
CASE WHEN t.id IS NULL THEN 'missing' WHEN e.id IS NULL THEN 'extra' \
WHEN t.document IS DISTINCT FROM e.document::jsonb THEN 'document' ELSE 'bson_types' END \
FROM unnest($1::text[], $2::text[], $3::text[]) AS e(id, document, bson_types) \
FULL JOIN {table} AS t ON t.id = e.id \
WHERE e.id IS NULL OR t.id IS NULL OR t.document IS DISTINCT FROM e.document::jsonb \
OR t.bson_types IS DISTINCT FROM e.bson_types::jsonb";

pub(super) async fn differences(
    mut documents: Cursor<Document>,
    postgres: &tokio_postgres::Client,
    table: &'static str,
    all: &[Copied],
) -> Result<Differences, Failure> {
    let (mut ids, mut texts, mut types) = (Vec::new(), Vec::new(), Vec::new());
    while documents.advance().await? {
        let document = Document::try_from(documents.current())?;
        let spelled = json::Spelled::new(&document)?;
        ids.push(row_id(document.get("_id")));
        texts.push(spelled.text);
        types.push(spelled.types);
    }
    let mut found = Differences::of(table, ids.len());
    let there = postgres.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
    if !there.get::<_, bool>(0) {
        found.missing = ids;
        return Ok(found);
    }
    let statement = WRONG.replace("{table}", table);
    for row in postgres.query(&statement, &[&ids, &texts, &types]).await? {
        let (id, user_name): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        match row.try_get(2)? {
            "missing" => found.missing.push(id),
            wrong => {
                found.note_home(&id, user_name.as_deref(), all);
                match wrong {
                    "extra" => {
                        found.compared += 1;
                        found.extra.push(id);
                    }
                    "document" => found.stale.push((id, "document")),
                    _ => found.stale.push((id, "bson_types")),
                }
            }
        }
    }
    Ok(found)
}
