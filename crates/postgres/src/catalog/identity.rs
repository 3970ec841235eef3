//! Which `id` columns tell apart every two `_id`s that MongoDB tells apart. A text column holds the row id,
//! which is made to be injective; any other takes one class of BSON types.

use tokio_postgres::{Error, Row};

use crate::server::session::Session;
use crate::table::ColumnType;

/// Oids below are those of objects that `initdb` made (`FirstNormalObjectId` in PostgreSQL's source).
const FIRST_NORMAL_OID: u32 = 16_384;

/// The unique indexes that `ON CONFLICT (id)` looks at, whatever their order, collation and operators.
const ARBITERS: &str = "\
SELECT c.relname::text, i.indimmediate, \
EXISTS (SELECT FROM unnest(i.indcollation::oid[]) AS k(oid) JOIN pg_catalog.pg_collation o ON o.oid = k.oid \
WHERE NOT o.collisdeterministic), \
EXISTS (SELECT FROM unnest(i.indclass::oid[]) AS k(oid) WHERE k.oid >= $2) \
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'id' AND NOT a.attisdropped \
WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
AND a.attnum = ALL ((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1";

/// A unique index on the id column alone.
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
pub(crate) async fn arbiters(session: &Session, table: u32) -> Result<Vec<Arbiter>, Error> {
    let rows = session.client.query(ARBITERS, &[&table, &FIRST_NORMAL_OID]).await?;
    Ok(rows.iter().map(Arbiter::of).collect())
}

/// Refuses an id column that takes two `_id`s for one. `blurs` where its own collation does.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other type tells its values apart")]
pub(crate) fn check(column: &ColumnType, blurs: bool, arbiters: &[Arbiter]) -> Result<(), String> {
    const BLURS: &str = "a collation that is not deterministic, which takes different texts for equal";
    let what = match column {
        ColumnType::Text { padded: true, .. } => {
            "char(n) takes texts for equal that differ in trailing spaces; make it text or varchar"
        }
        ColumnType::Json | ColumnType::Jsonb => {
            "json and jsonb take different BSON types for equal; make it text"
        }
        ColumnType::Unsupported(_) => {
            "the pipeline does not know what its type takes for equal; make it text"
        }
        _ => "",
    };
    if !what.is_empty() {
        return Err(format!(
            "its column id has type {}, which does not tell every two _ids apart: {what}",
            column.name()
        ));
    }
    if blurs {
        return Err(format!("its column id has {BLURS}; give it another, such as \"C\""));
    }
    if arbiters.is_empty() {
        return Err(
            "its column id is neither the primary key nor unique by itself; add PRIMARY KEY (id)".to_owned()
        );
    }
    for Arbiter { name, immediate, blurs, foreign } in arbiters {
        if *blurs {
            return Err(format!("its unique index {name} on id has {BLURS}; drop it or give it another"));
        }
        if *foreign {
            return Err(format!(
                "its unique index {name} on id has an operator class that is not PostgreSQL's own, which may take \
                 different _ids for equal; drop it or make it without"
            ));
        }
        if !immediate {
            return Err(format!(
                "its constraint {name} on id is DEFERRABLE, which ON CONFLICT does not support; make it NOT \
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
        assert_eq!(check(&text, false, std::slice::from_ref(&sound)), Ok(()));
        for (arbiters, hint) in [
            (vec![], "PRIMARY KEY"),
            (vec![sound.clone(), index(false, false, false)], "DEFERRABLE"),
            (vec![sound.clone(), index(true, true, false)], "not deterministic"),
            (vec![index(true, false, true), sound], "operator class"),
        ] {
            let refused = check(&text, false, &arbiters).unwrap_err();
            assert!(refused.contains(hint), "{refused}");
        }
    }
}
