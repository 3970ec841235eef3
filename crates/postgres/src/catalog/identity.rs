//! Which `id` columns tell apart every two `_id`s that MongoDB tells apart. A text column holds the row id,
//! which is made to be injective; any other takes one class of BSON types.

use tokio_postgres::{Error, Row};

use crate::server::session::Session;
use crate::table::column_type::ColumnType;

/// Oids below are those of objects that `initdb` made (`FirstNormalObjectId` in PostgreSQL's source).
const FIRST_NORMAL_OID: u32 = 16_384;

/// The unique indexes that `ON CONFLICT` looks at for the id's columns, whatever their order, collation and operators.
const ARBITERS: &str = "\
SELECT c.relname::text, i.indimmediate, \
EXISTS (SELECT FROM unnest(i.indcollation::oid[]) AS k(oid) JOIN pg_catalog.pg_collation o ON o.oid = k.oid \
WHERE NOT o.collisdeterministic), \
EXISTS (SELECT FROM unnest(i.indclass::oid[]) AS k(oid) WHERE k.oid >= $2) \
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
AND ARRAY(SELECT DISTINCT k.attnum FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k(attnum) ORDER BY 1) \
= ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = ANY ($3::text[]) \
AND NOT a.attisdropped ORDER BY 1) ORDER BY 1";

/// A unique index on the id's columns alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arbiter {
    name: String,
    immediate: bool,
    /// Whether its collation takes different texts for equal.
    blurs: bool,
    /// Whether somebody else's operators decide what is equal.
    foreign: bool,
}

impl Arbiter {
    fn of(row: &Row) -> Self {
        Self { name: row.get(0), immediate: row.get(1), blurs: row.get(2), foreign: row.get(3) }
    }
}

/// The indexes of a table that decide which row an `_id` has.
pub(crate) async fn arbiters(session: &Session, table: u32, ids: &[String]) -> Result<Vec<Arbiter>, Error> {
    let rows = session.client.query(ARBITERS, &[&table, &FIRST_NORMAL_OID, &ids]).await?;
    Ok(rows.iter().map(Arbiter::of).collect())
}

/// Refuses an id column that takes two values for one. `blurs` where its type or its own collation does.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other type tells its values apart")]
pub(crate) fn check_column(name: &str, column: &ColumnType, blurs: bool) -> Result<(), String> {
    let what = match column {
        ColumnType::Text { padded: true, .. } => {
            "char(n) takes texts for equal that differ in trailing spaces; make it text or varchar"
        }
        ColumnType::Json | ColumnType::Jsonb => {
            "json and jsonb take different BSON types for equal; make it text"
        }
        ColumnType::Enum(_) | ColumnType::Array(_) | ColumnType::Spelled(_) => {
            "a value has more than one spelling there, or documents have other types for it; make it text"
        }
        ColumnType::Unsupported(_) => {
            "the pipeline does not know what its type takes for equal; make it text"
        }
        _ => "",
    };
    if !what.is_empty() {
        return Err(format!(
            "its column {name} has type {}, which does not tell every two _ids apart: {what}",
            column.name()
        ));
    }
    if blurs {
        return Err(format!(
            "its column {name} has {BLURS}; make it text, or give it a collation such as \"C\""
        ));
    }
    Ok(())
}

const BLURS: &str = "a type or a collation that is not deterministic, which takes different texts for equal";

/// Refuses a table where nothing, or not every unique index on the id's columns, tells its rows apart.
pub(crate) fn check_arbiters(ids: &[String], arbiters: &[Arbiter]) -> Result<(), String> {
    let names = ids.join(", ");
    if arbiters.is_empty() {
        return Err(match ids {
            [id] => format!(
                "its column {id} is neither the primary key nor unique by itself; add PRIMARY KEY ({id})"
            ),
            _ => format!(
                "its columns {names} are neither the primary key nor unique together; add PRIMARY KEY ({names})"
            ),
        });
    }
    for Arbiter { name, immediate, blurs, foreign } in arbiters {
        if *blurs {
            return Err(format!(
                "its unique index {name} on {names} has {BLURS}; drop it or give it another"
            ));
        }
        if *foreign {
            return Err(format!(
                "its unique index {name} on {names} has an operator class that is not PostgreSQL's own, which may take \
                 different _ids for equal; drop it or make it without"
            ));
        }
        if !immediate {
            return Err(format!(
                "its constraint {name} on {names} is DEFERRABLE, which ON CONFLICT does not support; make it NOT \
                 DEFERRABLE"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_its_own_is_asked_for() {
        let index = |immediate, blurs, foreign| Arbiter { name: "i".to_owned(), immediate, blurs, foreign };
        let text = ColumnType::Text { max_chars: None, padded: false };
        let sound = index(true, false, false);
        let ids = ["id".to_owned()];
        assert_eq!(check_arbiters(&ids, std::slice::from_ref(&sound)), Ok(()));
        assert_eq!(check_column("id", &text, false), Ok(()));
        assert!(check_column("key", &text, true).unwrap_err().contains("column key"));
        for (arbiters, hint) in [
            (vec![], "PRIMARY KEY"),
            (vec![sound.clone(), index(false, false, false)], "DEFERRABLE"),
            (vec![sound.clone(), index(true, true, false)], "not deterministic"),
            (vec![index(true, false, true), sound], "operator class"),
        ] {
            let refused = check_arbiters(&ids, &arbiters).unwrap_err();
            assert!(refused.contains(hint), "{refused}");
        }
    }
}
