//! The schema `cdc`, step by step. A step is never changed once a release has it, and each only adds: a process of
//! the release before goes on with what it knows until its next connection.

/// One step of the schema.
#[derive(Debug)]
pub(super) struct Migration {
    /// The version that the schema has behind it.
    pub(super) version: i32,
    pub(super) sql: &'static str,
}

/// All steps, in order.
pub(super) const MIGRATIONS: [Migration; 4] = [
    Migration { version: 1, sql: FIRST },
    Migration { version: 2, sql: CLAIMS },
    Migration { version: MEMBERS, sql: GROUP_MEMBERS },
    Migration { version: DEAD_LETTERS, sql: LETTERS_DONE },
];

/// The version that a Syncer cannot do without.
pub(super) const NEEDED: i32 = 2;

/// The version from which on there is `cdc.members`.
pub(crate) const MEMBERS: i32 = 3;

/// The version from which on there is `cdc.dead_letters`.
pub(crate) const DEAD_LETTERS: i32 = 4;

/// The version behind the last step.
pub(crate) const LATEST: i32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The steps that a schema of this version lacks; 0 is none at all. Databases of version 1 were made in several
/// stages, so that step is taken once more.
pub(super) fn missing(found: i32) -> impl Iterator<Item = &'static Migration> {
    MIGRATIONS.iter().filter(move |step| step.version > found || (step.version == 1 && found == 1))
}

/// Statements that take a schema of this version to the latest, in one transaction.
pub(super) fn sql_from(found: i32) -> String {
    let steps: Vec<&str> = missing(found).map(|migration| migration.sql).collect();
    format!("BEGIN;\n{}UPDATE cdc.version SET version = {LATEST};\nCOMMIT;\n", steps.concat())
}

const FIRST: &str = "\
CREATE SCHEMA IF NOT EXISTS cdc;
CREATE TABLE IF NOT EXISTS cdc.version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL
);
INSERT INTO cdc.version (version) VALUES (1) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS cdc.partitions (
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    next_offset bigint,
    PRIMARY KEY (consumer_group, topic, partition)
);
CREATE TABLE IF NOT EXISTS cdc.gaps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    cause text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS cdc.tombstones (
    table_name text COLLATE \"C\" NOT NULL,
    id text COLLATE \"C\" NOT NULL,
    position bytea NOT NULL,
    PRIMARY KEY (table_name, id)
);
CREATE TABLE IF NOT EXISTS cdc.parked (
    table_name text COLLATE \"C\" NOT NULL,
    id text COLLATE \"C\" NOT NULL,
    position bytea NOT NULL,
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    route numeric(20) NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    headers bytea NOT NULL,
    timestamp_ms bigint NOT NULL,
    constraint_name text,
    attempts integer NOT NULL DEFAULT 0,
    parked_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, id)
);
CREATE INDEX IF NOT EXISTS parked_by_partition ON cdc.parked (consumer_group, topic, partition);
CREATE TABLE IF NOT EXISTS cdc.tables (
    table_name text PRIMARY KEY,
    consumer_group text NOT NULL,
    database_name text NOT NULL,
    collection_name text NOT NULL
);
";

/// What a claim has to know of its table, what a gap has to know of people, and why a row is parked.
///
/// `cdc.tables.relation` is the table's oid when it was claimed, and `fed` names the columns that any document of
/// the topic has ever fed; both are NULL in a claim of version 1 until its table is looked at again.
/// `cdc.partitions.end_seen` is where a log ended that had been read to its end: the only trace of one that is gone.
/// `cdc.tables.unlogged` says that the table was unlogged at its last look. `cdc.unlogged_tables` is unlogged itself: a
/// crash of the server empties it together with the tables that it names.
const CLAIMS: &str = "\
ALTER TABLE cdc.tables ADD COLUMN IF NOT EXISTS kind text CHECK (kind IN ('mirror', 'typed'));
ALTER TABLE cdc.tables ADD COLUMN IF NOT EXISTS relation oid;
ALTER TABLE cdc.tables ADD COLUMN IF NOT EXISTS fed text[];
ALTER TABLE cdc.tables ADD COLUMN IF NOT EXISTS unlogged boolean;
CREATE UNLOGGED TABLE IF NOT EXISTS cdc.unlogged_tables (
    table_name text COLLATE \"C\" PRIMARY KEY,
    relation oid NOT NULL
);
ALTER TABLE cdc.parked ADD COLUMN IF NOT EXISTS sqlstate text;
ALTER TABLE cdc.gaps ADD COLUMN IF NOT EXISTS acknowledged_at timestamptz;
ALTER TABLE cdc.partitions ADD COLUMN IF NOT EXISTS end_seen bigint;
";

/// Which process has which name in its consumer group. `since_ms` and `host` are for people; the columns between them
/// are NULL where a system does not tell.
const GROUP_MEMBERS: &str = "\
CREATE TABLE IF NOT EXISTS cdc.members (
    consumer_group text NOT NULL,
    instance text NOT NULL,
    owner text NOT NULL,
    host text,
    boot_id text,
    pid_namespace text,
    pid integer,
    started bigint,
    since_ms bigint,
    seen_at timestamp with time zone NOT NULL,
    PRIMARY KEY (consumer_group, instance)
);
";

/// Which dead letters are done with: the topics keep the letters themselves. `written_ms` tells a letter from another
/// one at the same offset of a topic that was made anew.
const LETTERS_DONE: &str = "\
CREATE TABLE IF NOT EXISTS cdc.dead_letters (
    topic text COLLATE \"C\" NOT NULL,
    partition integer NOT NULL,
    letter_offset bigint NOT NULL,
    written_ms bigint NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('replayed', 'overtaken', 'discarded')),
    because text,
    done_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, letter_offset, written_ms)
);
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_by_one() {
        let versions: Vec<i32> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=LATEST).collect::<Vec<_>>());
    }

    #[test]
    fn a_schema_lacks_what_is_newer_than_it_is() {
        let of = |found| missing(found).map(|migration| migration.version).collect::<Vec<_>>();
        assert_eq!(of(0), [1, 2, 3, 4]);
        assert_eq!(of(1), [1, 2, 3, 4], "made in several stages");
        assert_eq!(of(LATEST), [0; 0]);
        assert_eq!(of(LATEST + 1), [0; 0]);
    }
}
