//! Two documents are two rows: for each type that an `id` column may have, every two `_id`s out of a list.

use std::collections::{BTreeMap, BTreeSet};

use cdc_ports::Database;
use cdc_syncer::{Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, Stand, batch, write, write_all};

/// Name, key, JSON and entry in `bson_types` of an `_id`. One key is one `_id` to MongoDB.
type Id = (&'static str, &'static str, &'static str, Option<&'static str>);

const IDS: &[Id] = &[
    ("a", "\"a\"", "\"a\"", None),
    ("a space", "\"a \"", "\"a \"", None),
    ("A", "\"A\"", "\"A\"", None),
    ("ä", "\"ä\"", "\"ä\"", None),
    ("a and diaeresis", "\"a\u{308}\"", "\"a\u{308}\"", None),
    ("empty", "\"\"", "\"\"", None),
    ("text 1", "\"1\"", "\"1\"", None),
    ("text true", "\"true\"", "\"true\"", None),
    ("text date", "\"2024-01-15T00:00:00Z\"", "\"2024-01-15T00:00:00Z\"", None),
    (
        "text uuid",
        "\"00112233-4455-6677-8899-aabbccddeeff\"",
        "\"00112233-4455-6677-8899-aabbccddeeff\"",
        None,
    ),
    ("text hex", "\"507f1f77bcf86cd799439011\"", "\"507f1f77bcf86cd799439011\"", None),
    ("text HEX", "\"507F1F77BCF86CD799439011\"", "\"507F1F77BCF86CD799439011\"", None),
    ("symbol b", "\"b\"", "\"b\"", Some("symbol")),
    ("objectId", "{\"$oid\":\"507f1f77bcf86cd799439011\"}", "\"507f1f77bcf86cd799439011\"", Some("objectId")),
    (
        "uuid",
        "{\"$binary\":{\"base64\":\"ABEiM0RVZneImaq7zN3u/w==\",\"subType\":\"04\"}}",
        "\"00112233-4455-6677-8899-aabbccddeeff\"",
        Some("binData:04"),
    ),
    ("binary 0", "{\"$binary\":{\"base64\":\"AP8=\",\"subType\":\"00\"}}", "\"AP8=\"", Some("binData:00")),
    ("binary 5", "{\"$binary\":{\"base64\":\"AP8=\",\"subType\":\"05\"}}", "\"AP8=\"", Some("binData:05")),
    ("binary empty", "{\"$binary\":{\"base64\":\"\",\"subType\":\"00\"}}", "\"\"", Some("binData:00")),
    (
        "binary 0 of a uuid's bytes",
        "{\"$binary\":{\"base64\":\"ABEiM0RVZneImaq7zN3u/w==\",\"subType\":\"00\"}}",
        "\"ABEiM0RVZneImaq7zN3u/w==\"",
        Some("binData:00"),
    ),
    (
        "binary 3 of a uuid's bytes",
        "{\"$binary\":{\"base64\":\"ABEiM0RVZneImaq7zN3u/w==\",\"subType\":\"03\"}}",
        "\"ABEiM0RVZneImaq7zN3u/w==\"",
        Some("binData:03"),
    ),
    ("int 1", "{\"$numberInt\":\"1\"}", "1", None),
    ("long 1", "{\"$numberInt\":\"1\"}", "1", Some("long")),
    ("double 1", "{\"$numberInt\":\"1\"}", "1.0", None),
    ("decimal 1.00", "{\"$numberInt\":\"1\"}", "\"1.00\"", Some("decimal")),
    ("int 0", "{\"$numberInt\":\"0\"}", "0", None),
    ("double -0", "{\"$numberInt\":\"0\"}", "-0.0", None),
    ("int 40000", "{\"$numberInt\":\"40000\"}", "40000", None),
    ("double 0.5", "{\"$numberDouble\":\"0.5\"}", "0.5", None),
    ("decimal 0.5", "{\"$numberDouble\":\"0.5\"}", "\"0.5\"", Some("decimal")),
    ("double 0.1", "{\"$numberDouble\":\"0.1\"}", "0.1", None),
    ("decimal 0.1", "{\"$numberDecimal\":\"0.1\"}", "\"0.1\"", Some("decimal")),
    ("double 1e300", "{\"$numberDouble\":\"1E+300\"}", "1e300", None),
    ("decimal 1e300", "{\"$numberDecimal\":\"1E+300\"}", "\"1E+300\"", Some("decimal")),
    ("2^53", "{\"$numberLong\":\"9007199254740992\"}", "9007199254740992.0", None),
    ("2^53 + 1", "{\"$numberLong\":\"9007199254740993\"}", "9007199254740993", None),
    ("NaN", "{\"$numberDouble\":\"NaN\"}", "\"NaN\"", Some("double")),
    ("decimal NaN", "{\"$numberDouble\":\"NaN\"}", "\"NaN\"", Some("decimal")),
    ("Infinity", "{\"$numberDouble\":\"Infinity\"}", "\"Infinity\"", Some("double")),
    ("-Infinity", "{\"$numberDouble\":\"-Infinity\"}", "\"-Infinity\"", Some("double")),
    ("true", "true", "true", None),
    ("false", "false", "false", None),
    ("null", "null", "null", None),
    ("midnight", "{\"$date\":{\"$numberLong\":\"1705276800000\"}}", "\"2024-01-15T00:00:00Z\"", Some("date")),
    (
        "a millisecond later",
        "{\"$date\":{\"$numberLong\":\"1705276800001\"}}",
        "\"2024-01-15T00:00:00.001Z\"",
        Some("date"),
    ),
    (
        "timestamp",
        "{\"$timestamp\":{\"t\":1705276800,\"i\":0}}",
        "{\"t\":1705276800,\"i\":0}",
        Some("timestamp"),
    ),
    ("document", "{\"a\":{\"$numberInt\":\"1\"}}", "{\"a\":1}", None),
    (
        "text of a document",
        "\"{\\\"a\\\":{\\\"$numberInt\\\":\\\"1\\\"}}\"",
        "\"{\\\"a\\\":{\\\"$numberInt\\\":\\\"1\\\"}}\"",
        None,
    ),
    ("minKey", "{\"$minKey\":1}", "null", Some("minKey")),
];

const TEXTS: usize = 48;

/// What each type takes of them.
const TYPES: &[(&str, &[&str])] = &[
    ("smallint", &["int 1", "long 1", "double 1", "decimal 1.00", "int 0", "double -0"]),
    (
        "bigint",
        &[
            "int 1",
            "long 1",
            "double 1",
            "decimal 1.00",
            "int 0",
            "double -0",
            "int 40000",
            "2^53",
            "2^53 + 1",
        ],
    ),
    (
        "double precision",
        &[
            "int 1",
            "long 1",
            "double 1",
            "decimal 1.00",
            "int 0",
            "double -0",
            "int 40000",
            "double 0.5",
            "decimal 0.5",
            "double 0.1",
            "double 1e300",
            "2^53",
            "NaN",
            "decimal NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "real",
        &[
            "int 1",
            "long 1",
            "double 1",
            "decimal 1.00",
            "int 0",
            "double -0",
            "int 40000",
            "double 0.5",
            "decimal 0.5",
            "2^53",
            "NaN",
            "decimal NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "numeric",
        &[
            "int 1",
            "long 1",
            "double 1",
            "decimal 1.00",
            "int 0",
            "double -0",
            "int 40000",
            "double 0.5",
            "decimal 0.5",
            "decimal 0.1",
            "decimal 1e300",
            "2^53",
            "2^53 + 1",
            "NaN",
            "decimal NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "numeric(3, 1)",
        &[
            "int 1",
            "long 1",
            "double 1",
            "decimal 1.00",
            "int 0",
            "double -0",
            "double 0.5",
            "decimal 0.5",
            "decimal 0.1",
            "NaN",
            "decimal NaN",
        ],
    ),
    ("boolean", &["true", "false"]),
    ("timestamp", &["midnight", "a millisecond later"]),
    ("timestamp(0)", &["midnight"]),
    ("timestamptz", &["midnight", "a millisecond later"]),
    ("date", &["midnight"]),
    ("uuid", &["uuid"]),
    ("bytea", &["binary 0", "binary empty", "binary 0 of a uuid's bytes"]),
    (
        "whole",
        &[
            "int 1",
            "long 1",
            "double 1",
            "decimal 1.00",
            "int 0",
            "double -0",
            "int 40000",
            "2^53",
            "2^53 + 1",
        ],
    ),
];

fn typed(message: Message, (_, key, json, bson_type): &Id) -> Message {
    let message = message.with_id(key, json);
    match bson_type {
        Some(bson_type) => {
            message.typed(bson_type, "/full_document/_id").typed(bson_type, "/document_key/_id")
        }
        None => message,
    }
}

fn document(id: &Id, position: u32) -> Message {
    typed(
        Message::upsert(
            "insert",
            "x",
            &format!("\"name\":\"{}\"", id.1.replace('\\', "").replace('"', "'")),
            position,
        ),
        id,
    )
}

/// The keys of the documents that the table has.
async fn names(stand: &Stand) -> BTreeSet<String> {
    let rows = stand.client.query("SELECT name FROM players", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn name_of(id: &Id) -> String {
    id.1.replace('\\', "").replace('"', "'")
}

/// Each accepted `_id` is a row of its own, and a delete takes that row and no other.
async fn no_two_meet(column: &str) -> BTreeSet<&'static str> {
    let schema = "CREATE DOMAIN whole AS bigint CHECK (VALUE >= 0); CREATE DOMAIN name_of AS text; CREATE DOMAIN nested AS name_of; ";
    let stand =
        Stand::new(&format!("{schema}CREATE TABLE players (id {column} PRIMARY KEY, name text)")).await;
    let database = stand.database().await;
    let all: Vec<Message> = IDS.iter().map(|id| document(id, 1)).collect();
    let (_, rejected) = write(&database, &all).await;
    let rejected: BTreeSet<usize> = rejected.iter().map(|rejected| rejected.index).collect();
    // Of several spellings of one `_id` the first one that fits is written; the others are tried alone.
    let mut taken: BTreeMap<String, &Id> = BTreeMap::new();
    let mut accepted = BTreeSet::new();
    for (index, id) in IDS.iter().enumerate() {
        let fits = !rejected.contains(&index) && write(&database, &[document(id, 2)]).await.1.is_empty();
        if fits {
            accepted.insert(id.0);
            taken.insert(name_of(id), id);
        }
    }
    for round in [3, 4] {
        let mut left: BTreeSet<String> = taken.keys().cloned().collect();
        assert_eq!(names(&stand).await, left, "{column}");
        let mut order: Vec<(&String, &&Id)> = taken.iter().collect();
        if round == 4 {
            order.reverse();
        }
        for (name, id) in order {
            let gone = typed(Message::delete("x", round * 10), id);
            assert_eq!(write_all(&database, &[gone]).await.deleted, 1, "{column}: {name}");
            left.remove(name);
            assert_eq!(names(&stand).await, left, "{column}: {name}");
        }
        let again: Vec<Message> = taken.values().map(|id| document(id, round * 10 + 1)).collect();
        write_all(&database, &again).await;
    }
    accepted
}

#[tokio::test]
async fn two_documents_are_two_rows_in_every_type_of_key() {
    for (column, takes) in TYPES {
        let expected: BTreeSet<&str> = takes.iter().copied().collect();
        assert_eq!(no_two_meet(column).await, expected, "{column}");
    }
}

#[tokio::test]
async fn a_text_key_takes_every_id() {
    assert_eq!(IDS.len(), TEXTS);
    for column in ["text", "varchar(90)", "text COLLATE \"C\"", "nested"] {
        assert_eq!(no_two_meet(column).await.len(), TEXTS, "{column}");
    }
}

#[tokio::test]
async fn keys_that_blur_are_refused_with_the_reason() {
    const BLUR: &str =
        "CREATE COLLATION blur (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ";
    let cases = [
        ("CREATE TABLE players (id char(24) PRIMARY KEY)", "trailing spaces"),
        ("CREATE DOMAIN d AS char(24); CREATE TABLE players (id d PRIMARY KEY)", "trailing spaces"),
        ("CREATE TABLE players (id jsonb PRIMARY KEY)", "jsonb"),
        ("CREATE TABLE players (id interval PRIMARY KEY)", "interval"),
        ("CREATE TABLE players (id inet PRIMARY KEY)", "inet"),
        ("CREATE TABLE players (id text[] PRIMARY KEY)", "text[]"),
        ("CREATE TYPE e AS ENUM ('a'); CREATE TABLE players (id e PRIMARY KEY)", "e, which does not tell"),
        ("CREATE EXTENSION citext; CREATE TABLE players (id citext PRIMARY KEY)", "not deterministic"),
        ("CREATE TABLE players (id text COLLATE blur PRIMARY KEY)", "not deterministic"),
        (
            "CREATE DOMAIN d AS text COLLATE blur; CREATE TABLE players (id d PRIMARY KEY)",
            "not deterministic",
        ),
        (
            "CREATE TABLE players (id text); CREATE UNIQUE INDEX i ON players (id COLLATE blur)",
            "unique index i",
        ),
        (
            "CREATE TABLE players (id text PRIMARY KEY); CREATE UNIQUE INDEX i ON players (id COLLATE blur)",
            "unique index i",
        ),
        ("CREATE TABLE players (id text PRIMARY KEY DEFERRABLE)", "DEFERRABLE"),
        ("CREATE TABLE players (id text PRIMARY KEY, UNIQUE (id) DEFERRABLE)", "DEFERRABLE"),
        ("CREATE TABLE players (id text); CREATE UNIQUE INDEX ON players (lower(id))", "PRIMARY KEY (id)"),
        (
            "CREATE TABLE players (id text); CREATE UNIQUE INDEX ON players (id) WHERE id > ''",
            "PRIMARY KEY (id)",
        ),
        ("CREATE TABLE players (id text, x int, UNIQUE (id, x))", "PRIMARY KEY (id)"),
        (
            "CREATE FUNCTION first(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS \
             $$ SELECT bttextcmp(left($1, 1), left($2, 1)) $$; \
             CREATE OPERATOR CLASS firsts FOR TYPE text USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, \
             OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 first(text, text); \
             CREATE TABLE players (id text); CREATE UNIQUE INDEX i ON players (id firsts)",
            "operator class",
        ),
        ("CREATE TABLE players (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)", "column id"),
        ("CREATE TABLE players (id text PRIMARY KEY); CREATE TABLE heirs () INHERITS (players)", "inherit"),
        (
            "CREATE TABLE players (id text PRIMARY KEY); CREATE RULE r AS ON DELETE TO players DO INSTEAD NOTHING",
            "rule",
        ),
    ];
    for (schema, hint) in cases {
        let stand = Stand::new(&format!("{BLUR}{schema}")).await;
        let database = stand.database().await;
        let reply = database.write(&batch(&[Message::upsert("insert", "a", "", 1)]), ALL, Parking::Off).await;
        let WriteOutcome::Held { holds } = &reply.outcome else { panic!("{schema}: {:?}", reply.outcome) };
        assert!(holds[0].detail.contains(hint), "{schema}: {}", holds[0].detail);
    }
    for schema in [
        "CREATE TABLE players (id text, x int); CREATE UNIQUE INDEX ON players (id) INCLUDE (x)",
        "CREATE TABLE players (id text); CREATE UNIQUE INDEX ON players (id text_pattern_ops DESC)",
        "CREATE TABLE players (id text COLLATE \"C\" PRIMARY KEY, x text COLLATE blur UNIQUE)",
        "CREATE DOMAIN d AS text CHECK (VALUE <> ''); CREATE TABLE players (id d PRIMARY KEY)",
    ] {
        let stand = Stand::new(&format!("{BLUR}{schema}")).await;
        let counts = write_all(&stand.database().await, &[Message::upsert("insert", "a", "", 1)]).await;
        assert_eq!(counts.inserted, 1, "{schema}");
    }
}

#[tokio::test]
async fn row_level_security_is_refused_to_a_role_that_it_binds() {
    let mut stand = Stand::new(
        "CREATE TABLE players (id text PRIMARY KEY, cdc_position bytea); CREATE ROLE bound LOGIN; \
         ALTER TABLE players ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON players USING (id < 'a');",
    )
    .await;
    drop(stand.connected().await);
    let grants = "GRANT USAGE ON SCHEMA cdc TO bound; GRANT ALL ON ALL TABLES IN SCHEMA cdc TO bound; \
                  GRANT ALL ON players TO bound";
    stand.client.batch_execute(grants).await.unwrap();
    "bound".clone_into(&mut stand.settings.user);
    let database = stand.database().await;
    let messages = [Message::upsert("insert", "b", "", 1)];
    let reply = database.write(&batch(&messages), ALL, Parking::Off).await;
    let WriteOutcome::Held { holds } = &reply.outcome else { panic!("{:?}", reply.outcome) };
    assert!(holds[0].detail.contains("row-level security"), "{}", holds[0].detail);
    stand.client.batch_execute("ALTER ROLE bound BYPASSRLS").await.unwrap();
    assert_eq!(write_all(&stand.database().await, &messages).await.inserted, 1);
}
