//! The temporary table that one target's rows pass through on their way from COPY into a merge.
//!
//! It belongs to that one target, and each use begins by emptying it: whatever a merge finds there was put there
//! by the COPY in front of it, in the same transaction.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::table::quote;

/// Columns of a temporary table, as of every other. A table that has as many, and an id that is not text, passes
/// through arrays.
pub(crate) const MAX_COLUMNS: usize = 1_600;

/// The statements around a target's temporary table.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Its name, as statements spell it.
    pub(crate) quoted: Arc<str>,
    pub(crate) create: String,
    pub(crate) empty: Arc<str>,
    pub(crate) copy: Arc<str>,
}

impl Stage {
    /// The stage of the table of this quoted name. Another shape of the same table has a stage of its own.
    #[must_use]
    pub(crate) fn new(target: &str, declared: &str) -> Self {
        // A quoted name has no NUL, so that no two pairs are spelled alike.
        let hash = xxh3_64(format!("{target}\0{declared}").as_bytes());
        let quoted = format!("pg_temp.{}", quote(&format!("cdc_stage_{hash:016x}")));
        Self {
            create: format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {quoted} ({declared}) ON COMMIT DELETE ROWS"
            ),
            empty: format!("DELETE FROM {quoted}").into(),
            copy: format!("COPY {quoted} FROM STDIN (FORMAT binary)").into(),
            quoted: quoted.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_and_each_shape_has_a_stage_of_its_own() {
        let named = |target, declared| Stage::new(target, declared).quoted;
        let one = named("\"public\".\"one\"", "c0 text");
        assert_eq!(one, named("\"public\".\"one\"", "c0 text"));
        assert_ne!(one, named("\"public\".\"two\"", "c0 text"));
        assert_ne!(one, named("\"public\".\"one\"", "c0 text, c1 text"));
        assert_ne!(named("\"a.b\".\"c\"", "c0 text"), named("\"a\".\"b.c\"", "c0 text"));
    }
}
