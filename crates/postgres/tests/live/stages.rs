//! COPY and merge for several tables of one shape in one transaction: each gets its own rows and no others.

use cdc_machine::Fault;
use cdc_ports::Database;
use cdc_syncer::{Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, Stand, batch, write_all};

/// Two typed tables of one shape, and one that refuses some rows; the two mirrors make themselves.
const TYPED: &str = "
CREATE TABLE bees (id text PRIMARY KEY, owner text, n integer);
CREATE TABLE wasps (id text PRIMARY KEY, owner text, n integer);
CREATE TABLE zebras (id text PRIMARY KEY, owner text, n integer CHECK (n < 1000));
";

const COLLECTIONS: [&str; 4] = ["bees", "wasps", "clicks", "views"];

async fn typed() -> Stand {
    Stand::new(TYPED).await.carrying_all(COLLECTIONS.into_iter().chain(["zebras"]))
}

/// Documents with the same `_id`s in each collection, and each collection's name in them.
fn documents(
    (topic, collection): (u32, &str),
    rows: u32,
    n: u32,
    position: u32,
) -> impl Iterator<Item = Message> {
    (0..rows).map(move |row| {
        Message::upsert(
            "update",
            &format!("d{row}"),
            &format!("\"owner\":\"{collection}\",\"n\":{n}"),
            position,
        )
        .in_collection(collection)
        .in_topic(topic)
    })
}

fn everywhere(rows: [u32; 4], n: u32, position: u32) -> Vec<Message> {
    let collections = (0u32..).zip(COLLECTIONS).zip(rows);
    collections.flat_map(|(collection, rows)| documents(collection, rows, n, position)).collect()
}

/// Rows in all, and rows that say that they belong here and carry this number.
async fn census(stand: &Stand, collection: &str, n: u32) -> (i64, i64) {
    let field = |name: &str| match collection {
        "clicks" | "views" => format!("document->>'{name}'"),
        _ => format!("{name}::text"),
    };
    let own = format!("{collection} WHERE {} = '{collection}' AND {} = '{n}'", field("owner"), field("n"));
    (stand.count(collection).await, stand.count(&own).await)
}

async fn expect(stand: &Stand, rows: [i64; 4], n: u32) {
    for (collection, rows) in COLLECTIONS.into_iter().zip(rows) {
        assert_eq!(census(stand, collection, n).await, (rows, rows), "{collection}");
    }
}

#[tokio::test]
async fn tables_of_one_shape_do_not_mix_in_one_transaction() {
    let stand = typed().await;
    let database = stand.database().await;
    // The shipped threshold. Other counts in each batch, so that a leftover would show as a row too many.
    let counts = write_all(&database, &everywhere([150, 100, 130, 120], 1, 1)).await;
    assert_eq!((counts.copied_statements, counts.inserted), (4, 500));
    expect(&stand, [150, 100, 130, 120], 1).await;
    for position in 2..5 {
        let counts = write_all(&database, &everywhere([100, 101, 102, 103], position, position)).await;
        assert_eq!((counts.copied_statements, counts.fenced), (4, 0), "{position}");
    }
    let counts = write_all(&database, &everywhere([150, 101, 130, 120], 9, 9)).await;
    assert_eq!((counts.copied_statements, counts.inserted), (4, 0));
    expect(&stand, [150, 101, 130, 120], 9).await;
}

#[tokio::test]
async fn what_a_rolled_back_batch_copied_stays_out() {
    let mut stand = typed().await;
    // One connection, so that the next batch meets the same temporary tables.
    (stand.settings.copy_threshold, stand.settings.max_connections) = (1, 1);
    let database = stand.database().await;
    write_all(&database, &everywhere([1, 1, 1, 1], 1, 1)).await;
    let mut messages = everywhere([50, 60, 70, 80], 2, 2);
    messages.extend(documents((4, "zebras"), 1, 1000, 2));
    let reply = database.write(&batch(&messages), ALL, Parking::Off).await;
    assert!(
        matches!(reply.outcome, WriteOutcome::Failed { fault: Fault::Poison, .. }),
        "{:?}",
        reply.outcome
    );
    expect(&stand, [1, 1, 1, 1], 1).await;

    let counts = write_all(&database, &everywhere([10, 20, 30, 40], 3, 3)).await;
    assert_eq!((counts.copied_statements, counts.inserted, counts.updated), (4, 96, 4));
    expect(&stand, [10, 20, 30, 40], 3).await;
}

/// A connection keeps a bounded number of temporary tables, and a batch of more tables than that is still written.
#[tokio::test]
async fn more_tables_than_a_connection_keeps_stages_for() {
    const TABLES: u32 = 36;
    let names: Vec<String> = (0..TABLES).map(|table| format!("c{table}")).collect();
    let schema: Vec<String> = names
        .iter()
        .map(|name| format!("CREATE TABLE {name} (id text PRIMARY KEY, owner text, n int);"))
        .collect();
    let mut stand = Stand::new(&schema.concat()).await.carrying_all(names.iter().map(String::as_str));
    (stand.settings.copy_threshold, stand.settings.max_connections) = (1, 1);
    let database = stand.database().await;
    let numbered: Vec<(u32, &str)> = (0u32..).zip(names.iter().map(String::as_str)).collect();
    let (some, others) = numbered.split_at(20);
    for (names, position) in [(some, 1), (others, 2), (some, 3), (&numbered[..], 4)] {
        let messages: Vec<Message> =
            names.iter().flat_map(|name| documents(*name, 2, position, position)).collect();
        let counts = write_all(&database, &messages).await;
        assert_eq!(counts.copied_statements, names.len() as u64);
    }
    for name in &names {
        let own = format!("{name} WHERE owner = '{name}' AND n = 4");
        assert_eq!((stand.count(name).await, stand.count(&own).await), (2, 2), "{name}");
    }
}
