//! Every edge value of BSON into every kind of column, on both write paths, as PostgreSQL itself finds it; and the page that
//! says so, `docs/types.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use cdc_ports::Database;
use cdc_postgres::PostgresDatabase;

use crate::messages::Message;
use crate::stand::{Stand, claims, write};

const SCHEMA: &str = "
CREATE EXTENSION citext;
CREATE TYPE st AS ENUM ('new', 'paid', 'it''s');
CREATE DOMAIN short AS varchar(5);
CREATE DOMAIN code AS short CHECK (VALUE <> 'never');
CREATE TYPE pair AS (a integer, b integer);
";

/// The columns' types.
const TYPES: [&str; 55] = [
    "text",
    "varchar(5)",
    "char(5)",
    "citext",
    "code",
    "st",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "numeric(5,2)",
    "boolean",
    "timestamp",
    "timestamptz(3)",
    "timestamptz(0)",
    "date",
    "time",
    "interval",
    "uuid",
    "bytea",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit(3)",
    "bit varying(8)",
    "int4range",
    "int8range",
    "numrange",
    "daterange",
    "tstzrange",
    "text[]",
    "varchar(5)[]",
    "char(5)[]",
    "integer[]",
    "double precision[]",
    "numeric[]",
    "boolean[]",
    "timestamptz[]",
    "uuid[]",
    "jsonb[]",
    "st[]",
    "code[]",
    "inet[]",
    "bit(3)[]",
    "bytea[]",
    "money",
    "xml",
    "tsvector",
    "point",
    "pair",
];

/// A value: its BSON type, its JSON, the types that its spelling does not show by the end of their pointers, and PostgreSQL's
/// own literal of it.
type Edge = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

const EDGES: &[Edge] = &[
    ("string", "\"\"", &[], ""),
    ("string", "\"ä😀\"", &[], "ä😀"),
    ("string", "\"longer than five\"", &[], "longer than five"),
    ("string", "\"a\\u0000b\"", &[], ""),
    ("string", "\"yesterday\"", &[], "yesterday"),
    ("string", "\"new\"", &[], "new"),
    ("string", "\"it's\"", &[], "it's"),
    ("string", "\"12\"", &[], "12"),
    ("string", "\"true\"", &[], "true"),
    ("string", "\"00112233-4455-6677-8899-aabbccddeeff\"", &[], "00112233-4455-6677-8899-aabbccddeeff"),
    ("string", "\"2024-01-15T10:30:00Z\"", &[], "2024-01-15T10:30:00Z"),
    ("string", "\"10:30:00.25\"", &[], "10:30:00.25"),
    ("string", "\"P1Y2M3DT4H5M6.5S\"", &[], "P1Y2M3DT4H5M6.5S"),
    ("string", "\"PT-0.000001S\"", &[], "PT-0.000001S"),
    ("string", "\"10.0.0.1\"", &[], "10.0.0.1"),
    ("string", "\"10.0.0.0/8\"", &[], "10.0.0.0/8"),
    ("string", "\"2001:db8::1\"", &[], "2001:db8::1"),
    ("string", "\"2001:db8::/32\"", &[], "2001:db8::/32"),
    ("string", "\"08:00:2b:01:02:03\"", &[], "08:00:2b:01:02:03"),
    ("string", "\"08:00:2b:ff:fe:01:02:03\"", &[], "08:00:2b:ff:fe:01:02:03"),
    ("string", "\"101\"", &[], "101"),
    ("string", "\"empty\"", &[], "empty"),
    ("string", "\"[1,5)\"", &[], "[1,5)"),
    ("string", "\"(,)\"", &[], "(,)"),
    ("string", "\"[1.5,2.50]\"", &[], "[1.5,2.50]"),
    ("string", "\"[2024-01-01,2024-02-01)\"", &[], "[2024-01-01,2024-02-01)"),
    ("string", "\"[2024-01-15T10:30:00Z,)\"", &[], "[2024-01-15T10:30:00Z,)"),
    ("symbol", "\"paid\"", &[("", "symbol")], "paid"),
    ("javascript", "\"x\"", &[("", "javascript")], "x"),
    ("int", "0", &[], "0"),
    ("int", "-32769", &[], "-32769"),
    ("int", "2147483647", &[], "2147483647"),
    ("long", "5", &[("", "long")], "5"),
    ("long", "9223372036854775807", &[], "9223372036854775807"),
    ("double", "1.0", &[], "1"),
    ("double", "-0.0", &[], "-0"),
    ("double", "0.5", &[], "0.5"),
    ("double", "0.1", &[], "0.1"),
    ("double", "1e300", &[], "1e300"),
    ("double", "\"NaN\"", &[("", "double")], "NaN"),
    ("double", "\"-Infinity\"", &[("", "double")], "-Infinity"),
    ("decimal", "\"1.50\"", &[("", "decimal")], "1.50"),
    ("decimal", "\"1E+10\"", &[("", "decimal")], "10000000000"),
    ("decimal", "\"0.1\"", &[("", "decimal")], "0.1"),
    ("decimal", "\"NaN\"", &[("", "decimal")], "NaN"),
    ("bool", "true", &[], "true"),
    ("bool", "false", &[], "false"),
    ("date", "\"2024-01-15T00:00:00Z\"", &[("", "date")], "2024-01-15T00:00:00Z"),
    ("date", "\"2024-01-15T10:30:00.250Z\"", &[("", "date")], "2024-01-15T10:30:00.250Z"),
    ("date", "\"0001-01-01T00:00:00Z\"", &[("", "date")], "0001-01-01T00:00:00Z"),
    ("date", "253402300800000", &[("", "date")], "10000-01-01T00:00:00Z"),
    ("date", "-62167219200000", &[("", "date")], "0001-01-01T00:00:00Z BC"),
    ("objectId", "\"507f1f77bcf86cd799439011\"", &[("", "objectId")], "507f1f77bcf86cd799439011"),
    (
        "UUID",
        "\"00112233-4455-6677-8899-aabbccddeeff\"",
        &[("", "binData:04")],
        "00112233-4455-6677-8899-aabbccddeeff",
    ),
    ("binary", "\"AP8=\"", &[("", "binData:00")], "\\x00ff"),
    ("binary", "\"\"", &[("", "binData:05")], "\\x"),
    ("timestamp", "{\"t\":1,\"i\":2}", &[("", "timestamp")], ""),
    ("regex", "{\"pattern\":\"a\",\"options\":\"\"}", &[("", "regex")], ""),
    ("undefined", "null", &[("", "undefined")], ""),
    ("minKey", "null", &[("", "minKey")], ""),
    ("document", "{\"a\":1.0,\"b\":null}", &[], ""),
    ("array", "[]", &[], "{}"),
    ("array", "[\"a\",null,\"\"]", &[], "{a,NULL,\"\"}"),
    ("array", "[\"NULL\",\"\\\"{\\\\,\"]", &[], "{\"NULL\",\"\\\"{\\\\,\"}"),
    ("array", "[\"new\",\"it's\"]", &[], "{new,it's}"),
    ("array", "[1,2147483647]", &[], "{1,2147483647}"),
    ("array", "[[1,2],[3,null]]", &[], "{{1,2},{3,NULL}}"),
    ("array", "[[1],[2,3]]", &[], ""),
    ("array", "[1,\"a\"]", &[], ""),
    ("array", "[0.1,1e300]", &[], "{0.1,1e300}"),
    ("array", "[\"1.50\",\"-0.001\"]", &[("/0", "decimal"), ("/1", "decimal")], "{1.50,-0.001}"),
    ("array", "[true,false,null]", &[], "{t,f,NULL}"),
    (
        "array",
        "[\"2024-01-15T10:30:00.250Z\",-62167219200000,253402300800000]",
        &[("/0", "date"), ("/1", "date"), ("/2", "date")],
        "{2024-01-15T10:30:00.250Z,0001-01-01T00:00:00Z BC,10000-01-01T00:00:00Z}",
    ),
    (
        "array",
        "[\"00112233-4455-6677-8899-aabbccddeeff\"]",
        &[("/0", "binData:04")],
        "{00112233-4455-6677-8899-aabbccddeeff}",
    ),
    ("array", "[\"AP8=\",\"\"]", &[("/0", "binData:00"), ("/1", "binData:00")], "{\"\\\\x00ff\",\"\\\\x\"}"),
    ("array", "[{\"a\":[1]},[2],\"x\"]", &[], "{\"{\\\"a\\\":[1]}\",\"[2]\",\"\\\"x\\\"\"}"),
    ("array", "[\"101\",null]", &[], "{101,NULL}"),
    ("array", "[\"10.0.0.1\",\"2001:db8::1\"]", &[], "{10.0.0.1,2001:db8::1}"),
];

/// What became of a value in a column: `None` where it landed, else why not.
type Outcomes = Vec<Option<String>>;

fn messages(column: usize) -> Vec<Message> {
    let all = EDGES.iter().enumerate().map(|(number, (_, json, types, _))| {
        let message = Message::upsert("insert", &number.to_string(), &format!("\"v\":{json}"), 2)
            .in_collection(&format!("c{column}"))
            .in_topic(u32::try_from(column).unwrap());
        types.iter().fold(message, |message, (pointer, bson_type)| {
            message.typed(bson_type, &format!("/full_document/v{pointer}"))
        })
    });
    all.collect()
}

async fn outcomes(stand: &Stand, database: &PostgresDatabase, column: usize) -> Outcomes {
    let (_, rejected) = write(database, &messages(column)).await;
    let mut outcomes: Outcomes = vec![None; EDGES.len()];
    for it in rejected {
        outcomes[it.index] = Some(it.detail.to_string());
    }
    let column_type = TYPES[column];
    for (number, ((kind, json, _, literal), outcome)) in EDGES.iter().zip(&outcomes).enumerate() {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let expected = match column_type {
            "json" => format!("v::text = {}", quoted(json)),
            "jsonb" => format!("v = {}::jsonb", quoted(json)),
            "bytea" if *kind == "UUID" => {
                format!("v = {}::bytea", quoted(&format!("\\x{}", literal.replace('-', ""))))
            }
            "citext" => format!("v::text = {}", quoted(literal)),
            "jsonb[]" => format!("to_jsonb(v) = {}::jsonb", quoted(json)),
            "bytea[]" if json.contains('-') => {
                let bytes = literal.replace('-', "").replace('{', "{\"\\\\x").replace('}', "\"}");
                format!("v = {}::bytea[]", quoted(&bytes))
            }
            _ => format!("v = {}::{column_type}", quoted(literal)),
        };
        let found =
            stand.text(&format!("SELECT count(*) FROM c{column} WHERE id = '{number}'")).await.unwrap();
        assert_eq!(found == "0", outcome.is_some(), "{json} in {column_type}: {outcome:?}");
        if outcome.is_none() {
            let shown = stand.text(&format!("SELECT v::text FROM c{column} WHERE id = '{number}'")).await;
            let same = stand.text(&format!("SELECT {expected} FROM c{column} WHERE id = '{number}'")).await;
            assert_eq!(
                same.as_deref(),
                Some("true"),
                "{kind} {json} in {column_type} reads back as {shown:?}"
            );
        }
    }
    outcomes
}

#[tokio::test]
async fn every_edge_value_lands_exactly_or_is_refused_on_both_write_paths() {
    let tables: Vec<String> = TYPES
        .iter()
        .enumerate()
        .map(|(number, of)| {
            format!("CREATE TABLE c{number} (id text PRIMARY KEY, v {of}, cdc_position bytea);")
        })
        .collect();
    let names: Vec<String> = (0..TYPES.len()).map(|number| format!("c{number}")).collect();
    let mut stand = Stand::new(&format!("{SCHEMA}{}", tables.concat())).await;
    stand = stand.carrying_all(names.iter().map(String::as_str));
    let mut pages = Vec::new();
    for copy_threshold in [1_000_000, 1] {
        let mut settings = stand.settings.clone();
        settings.copy_threshold = copy_threshold;
        let database = PostgresDatabase::new(settings);
        database.connect().await.unwrap();
        database.acquire(&claims(&stand), 1).await.unwrap();
        // The first document that has a field of a column's name decides that the column is written.
        let mut all = Vec::new();
        for column in 0..TYPES.len() {
            all.push(outcomes(&stand, &database, column).await);
        }
        pages.push(page(&all));
        for column in 0..TYPES.len() {
            stand.client.batch_execute(&format!("DELETE FROM c{column}")).await.unwrap();
        }
        database.close().await;
    }
    assert_eq!(pages[0], pages[1], "arrays and COPY differ");
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/types.md"));
    if std::env::var_os("UPDATE_SPECS").is_some() {
        std::fs::write(path, &pages[0]).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        written, pages[0],
        "docs/types.md is stale: UPDATE_SPECS=1 cargo test -p cdc-postgres --test live types::"
    );
}

fn page(all: &[Outcomes]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for (kind, ..) in EDGES {
        if !kinds.contains(kind) {
            kinds.push(kind);
        }
    }
    let mut page = "\
# Which value lands in which column

Generated by the test that writes each value into each column, by arrays and by COPY, and has PostgreSQL compare what it
finds with its own literal. **=**: every value that was tried lands, exactly. **some**: those that fit, exactly; the others
are bad records. **–**: none.
"
    .to_owned();
    let _infallible = write!(page, "\n| | {} |\n|---|{}\n", kinds.join(" | "), "---|".repeat(kinds.len()));
    for (column, outcomes) in TYPES.iter().zip(all) {
        let cells = kinds.iter().map(|kind| {
            let of_kind = EDGES.iter().zip(outcomes).filter(|((of, ..), _)| of == kind);
            let (tried, landed) = of_kind.fold((0, 0), |(tried, landed), (_, outcome)| {
                (tried + 1, landed + u32::from(outcome.is_none()))
            });
            match landed {
                0 => "–",
                all if all == tried => "=",
                _ => "some",
            }
        });
        let _infallible = writeln!(page, "| `{column}` | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    page.push_str("\n## Value by value\n\nWhat lands in a column, and why the others do not: the words of the dead letters.\n");
    for (column, outcomes) in TYPES.iter().zip(all) {
        let landed = EDGES.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_none());
        let landed: Vec<String> =
            landed.map(|((kind, json, ..), _)| format!("{kind} `{}`", json.replace('|', "\\|"))).collect();
        let _infallible = write!(
            page,
            "\n**`{column}`** takes {}.\n\n",
            if landed.is_empty() { "nothing".to_owned() } else { landed.join(", ") }
        );
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for ((kind, json, ..), outcome) in EDGES.iter().zip(outcomes) {
            let Some(words) = outcome else { continue };
            let why = words.rsplit_once(": ").map_or(words.as_str(), |(_, why)| why);
            let named = if *kind == "string" { json } else { kind };
            let of_reason = reasons.entry(why).or_default();
            if !of_reason.contains(named) {
                of_reason.push(named);
            }
        }
        for (why, values) in reasons {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            let _infallible = writeln!(page, "- {why}: {}", values.join(", "));
        }
    }
    page
}
