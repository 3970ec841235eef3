//! The comparison that the demo and the live tests rest on: what is changed behind the pipeline's back is
//! reported, and a row of another collection is told as such.

use bson::{DateTime, Document, doc};
use cdc_devstack::compare::{self, Comparison};
use cdc_devstack::pipeline::SOURCE_DATABASE;
use cdc_devstack::source::{COLLECTIONS, Source, Target};
use cdc_devstack::workload::player_id;
use cdc_devstack::{Mongod, MongodOptions, Postgres, PostgresOptions};
use mongodb::Client;

const DOCUMENTS: u32 = 50;
const MIRROR: &str = "(id text PRIMARY KEY, document jsonb, bson_types jsonb)";

fn id(number: u32) -> String {
    player_id(number).to_hex()
}

/// The row of a document, as a person would write it.
fn row(table: &str, target: Target, number: u32) -> String {
    let (id, name) = (id(number), format!("{table}-{number}-0"));
    match target {
        Target::Typed => format!(
            "INSERT INTO {table} (id, username, score, created_at, cdc_timestamp)
             VALUES ('{id}', '{name}', 7, '2024-01-15 09:50:00.123', now());"
        ),
        Target::Mirror => format!(
            "INSERT INTO {table} VALUES ('{id}', '{{\"_id\": \"{id}\", \"username\": \"{name}\", \"score\": 7.0,
             \"created_at\": \"2024-01-15T09:50:00.123Z\"}}', '{{\"date\": [\"/full_document/created_at\"],
             \"long\": [\"/full_document/score\"], \"objectId\": [\"/full_document/_id\"]}}');"
        ),
    }
}

/// What is changed, what it is said to be, and by whose row.
const CHANGES: [(&str, &str, &str); 8] = [
    ("players", "username = 'x'", "username"),
    ("players", "level = 2", "level"),
    ("guests", "score = 8", "score"),
    ("guests", "created_at = created_at + interval '1 ms'", "created_at"),
    ("matches", "document = document || '{\"score\": 7.5}'", "document"),
    ("matches", "document = document || '{\"more\": null}'", "document"),
    ("items", "bson_types = NULL", "bson_types"),
    ("items", "bson_types = bson_types - 'long'", "bson_types"),
];

/// Table by table: how many are missing, stale, too many, and of another collection.
fn counts(comparison: &Comparison) -> Vec<[usize; 4]> {
    let of = |table: &compare::Differences| {
        [table.missing.len(), table.stale.len(), table.extra.len(), table.foreign.len()]
    };
    comparison.tables.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_altered_dropped_added_or_of_another_collection_is_reported() {
    let _turn = crate::TURN.lock().await;
    let mongod = Mongod::start(MongodOptions::default()).await.unwrap();
    let server = Postgres::start(PostgresOptions::default()).await.unwrap();
    let mongo = Client::with_uri_str(mongod.uri()).await.unwrap();
    let (postgres, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    for copied in source.collections {
        if copied.target == Target::Mirror {
            postgres.batch_execute(&format!("CREATE TABLE {} {MIRROR}", copied.name)).await.unwrap();
        }
        let documents = (0..DOCUMENTS).map(|number| {
            doc! {
                "_id": player_id(number),
                "username": format!("{}-{number}-0", copied.name),
                "score": 7_i64,
                "created_at": DateTime::from_millis(1_705_312_200_123),
            }
        });
        let collection = mongo.database(SOURCE_DATABASE).collection::<Document>(copied.name);
        collection.insert_many(documents).await.unwrap();
        let rows: String = (0..DOCUMENTS).map(|number| row(copied.name, copied.target, number)).collect();
        postgres.batch_execute(&rows).await.unwrap();
    }
    let compared = async || compare::all(&mongo, &postgres, &source).await.unwrap();
    let execute = async |sql: String| postgres.batch_execute(&sql).await.unwrap();
    let all = compared().await;
    assert!(all.is_equal() && all.is_of_something(), "{all}");
    assert_eq!((all.compared(), all.to_string().as_str()), (200, "missing 0, stale 0, too many 0"));

    for (table, change, field) in CHANGES {
        execute(format!("BEGIN; UPDATE {table} SET {change} WHERE id = '{}'", id(3))).await;
        let found = compared().await;
        let stale: Vec<_> = found.tables.iter().map(|table| (table.name, table.stale.clone())).collect();
        let expected = |name: &str| if name == table { vec![(id(3), field)] } else { Vec::new() };
        let expected: Vec<_> = source.names().map(|name| (name, expected(name))).collect();
        assert_eq!(stale, expected, "{change}");
        let said = found.to_string();
        assert!(!found.is_equal() && said.starts_with("missing 0, stale 1, too many 0\n"), "{said}");
        assert!(said.contains(&format!("{table}: ")) && said.contains(&id(3)), "{said}");
        execute("ROLLBACK".to_owned()).await;
    }

    for copied in source.collections {
        let (table, target) = (copied.name, copied.target);
        execute(format!("DELETE FROM {table} WHERE id = '{}'; {}", id(5), row(table, target, DOCUMENTS)))
            .await;
    }
    let found = compared().await;
    assert_eq!(counts(&found), [[1, 0, 1, 0]; 4]);
    assert!(found.tables.iter().all(|table| table.missing == [id(5)] && table.extra == [id(DOCUMENTS)]));

    // Rows that went into the namesake's table, over its own and beside them.
    for (to, from) in [("guests", "players"), ("items", "matches")] {
        let ids = format!("'{}', '{}'", id(7), id(DOCUMENTS));
        execute(format!(
            "DELETE FROM {to} WHERE id IN ({ids}); INSERT INTO {to} SELECT * FROM {from} WHERE id IN ({ids})"
        ))
        .await;
    }
    let found = compared().await;
    assert_eq!(counts(&found), [[1, 0, 1, 0], [1, 1, 1, 2], [1, 0, 1, 0], [1, 1, 1, 2]]);
    assert_eq!(
        found.tables[1].foreign,
        [(id(7), "players".to_owned()), (id(DOCUMENTS), "players".to_owned())]
    );
    let said = found.to_string();
    assert!(said.contains(&format!("{} holds what matches wrote", id(7))), "{said}");
}
