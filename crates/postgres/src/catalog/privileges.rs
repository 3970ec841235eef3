//! Which privileges the pipeline's role lacks on a table, and the GRANT that gives them. The catalog is asked before
//! a record is read, and again when PostgreSQL has refused a statement.

use tokio_postgres::Error;

use crate::mapping::Deletes;
use crate::server::session::Session;
use crate::table::column::Origin;
use crate::table::{Table, quote};

/// Privileges on single columns do where the table's are not given. `xmax` tells inserted rows from updated ones, where
/// the table is not partitioned.
/// A default that is a sequence's next value needs a privilege on the sequence.
const READ: &str = "\
SELECT quote_ident(current_user), has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'DELETE'), \
ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND (a.attnum > 0 OR a.attname = 'xmax') \
AND NOT has_table_privilege(c.oid, 'SELECT') AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT')), \
ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
AND NOT has_table_privilege(c.oid, 'INSERT') AND NOT has_column_privilege(c.oid, a.attnum, 'INSERT')), \
ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
AND NOT has_table_privilege(c.oid, 'UPDATE') AND NOT has_column_privilege(c.oid, a.attnum, 'UPDATE')), \
ARRAY(SELECT u.name FROM pg_attrdef f \
JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum \
JOIN pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = f.oid \
AND d.refclassid = 'pg_catalog.pg_class'::regclass \
JOIN pg_class s ON s.oid = d.refobjid \
CROSS JOIN LATERAL unnest(ARRAY[a.attname::text, s.oid::regclass::text]) WITH ORDINALITY AS u(name, place) \
WHERE f.adrelid = c.oid AND CASE s.relkind WHEN 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE, UPDATE') END ORDER BY a.attnum, s.oid, u.place) \
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";

/// What the role lacks. Columns by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// The role, as statements spell it.
    role: String,
    uses_schema: bool,
    deletes: bool,
    unread: Vec<String>,
    uninserted: Vec<String>,
    unaltered: Vec<String>,
    /// Columns with the sequences that their defaults use, as statements spell these.
    sequences: Vec<(String, String)>,
}

/// Reads them. An empty search path makes PostgreSQL qualify the sequences' names.
pub(crate) async fn read(session: &Session, oid: u32) -> Result<Privileges, Error> {
    let row = session.client.query_one(READ, &[&oid]).await?;
    let sequences: Vec<String> = row.get(6);
    Ok(Privileges {
        role: row.get(0),
        uses_schema: row.get(1),
        deletes: row.get(2),
        unread: row.get(3),
        uninserted: row.get(4),
        unaltered: row.get(5),
        sequences: sequences.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
    })
}

impl Privileges {
    /// What is missing for what the pipeline does to this table, and the way out; nothing where all is there.
    pub(crate) fn missing(&self, table: &Table, deletes: bool) -> Option<String> {
        let (mut missing, mut grants) = (Vec::new(), Vec::new());
        if !self.uses_schema {
            missing.push(format!("USAGE on schema {}", table.schema));
            grants.push(format!("GRANT USAGE ON SCHEMA {} TO {};", quote(&table.schema), self.role));
        }
        let of_table = self.missing_of_table(table, deletes).join(", ");
        if !of_table.is_empty() {
            grants.push(format!("GRANT {of_table} ON {} TO {};", table.quoted(), self.role));
            missing.push(of_table);
        }
        for (column, sequence) in &self.sequences {
            if !table.written().any(|(_, written)| written.name == *column) {
                missing.push(format!("USAGE on sequence {sequence}"));
                grants.push(format!("GRANT USAGE ON SEQUENCE {sequence} TO {};", self.role));
            }
        }
        if missing.is_empty() {
            return None;
        }
        Some(format!("role {} lacks {}; run: {}", self.role, missing.join(", "), grants.join(" ")))
    }

    fn missing_of_table(&self, table: &Table, deletes: bool) -> Vec<&'static str> {
        let written = || table.written().map(|(_, column)| column);
        let lacks = |names: &[String], with_id: bool| {
            let mut columns = written().filter(|column| with_id || column.origin != Origin::Id);
            columns.any(|column| names.contains(&column.name))
        };
        let mut missing = Vec::new();
        let reads_xmax = !table.partitioned;
        if lacks(&self.unread, true) || reads_xmax && self.unread.iter().any(|name| name == "xmax") {
            missing.push("SELECT");
        }
        if lacks(&self.uninserted, true) {
            missing.push("INSERT");
        }
        if lacks(&self.unaltered, written().count() == table.ids().len()) {
            missing.push("UPDATE");
        }
        // Asked of a role that needs another grant anyhow, or whose deletes have been refused.
        if table.deletes == Deletes::Hard && !self.deletes && (deletes || !missing.is_empty()) {
            missing.push("DELETE");
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::test_tables::{people, players};

    fn all() -> Privileges {
        Privileges { role: "cdc".to_owned(), uses_schema: true, deletes: true, ..Privileges::default() }
    }

    #[test]
    fn who_may_do_all_lacks_nothing() {
        assert_eq!(all().missing(&players(), true), None);
    }

    #[test]
    fn what_is_missing_is_named_with_the_grant() {
        let names: Vec<String> = players().columns.iter().map(|column| column.name.clone()).collect();
        let found = Privileges { unread: names.clone(), unaltered: names, deletes: false, ..all() };
        assert_eq!(
            found.missing(&players(), false).unwrap(),
            "role cdc lacks SELECT, UPDATE, DELETE; run: \
             GRANT SELECT, UPDATE, DELETE ON \"public\".\"players\" TO cdc;"
        );
        let found = Privileges { uses_schema: false, ..all() };
        let words = found.missing(&players(), false).unwrap();
        assert!(words.ends_with("run: GRANT USAGE ON SCHEMA \"public\" TO cdc;"), "{words}");
    }

    #[test]
    fn what_nothing_needs_is_not_missed() {
        let found = Privileges { unaltered: vec!["id".to_owned()], deletes: false, ..all() };
        assert_eq!(found.missing(&players(), false), None);
        assert!(found.missing(&players(), true).unwrap().contains("GRANT DELETE ON"));
        // A partitioned table has no xmax to read.
        let found = Privileges { unread: vec!["xmax".to_owned()], ..all() };
        let mut partitioned = players();
        assert!(found.missing(&partitioned, false).unwrap().contains("GRANT SELECT ON"));
        partitioned.partitioned = true;
        assert_eq!(found.missing(&partitioned, false), None);
        // A soft deletion is an update.
        let mut soft = players();
        soft.deletes = Deletes::Soft;
        assert_eq!(Privileges { deletes: false, ..all() }.missing(&soft, true), None);
        // A fed column takes no default.
        let sequences = vec![("pk".to_owned(), "public.people_pk_seq".to_owned())];
        let found = Privileges { sequences, ..all() };
        assert_eq!(found.missing(&people().feeding(&["pk".to_owned()]), false), None);
        assert!(found.missing(&people(), false).unwrap().contains("ON SEQUENCE public.people_pk_seq TO"));
    }
}
