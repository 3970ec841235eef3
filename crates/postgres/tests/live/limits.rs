//! Tables at PostgreSQL's limits, and what people make of them: partitions, hundreds of columns, hardened databases.

use std::fmt::Write as _;

use cdc_machine::Epoch;
use cdc_ports::Database;
use cdc_syncer::{HoldReason, Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PARTITION, Stand, batch, claim, write_all};

fn documents(ids: impl IntoIterator<Item = u32>, position: u32) -> Vec<Message> {
    let document =
        |n| Message::upsert("insert", &format!("{n}"), &format!("\"n\":{}", n * 10 + position), position);
    ids.into_iter().map(document).collect()
}

/// Large batches go by arrays then, on a connection that has made temporary tables before, too.
#[tokio::test]
async fn without_temporary_tables_large_batches_land_all_the_same() {
    let schema = "CREATE TABLE players (id text PRIMARY KEY, n int, cdc_position bytea)";
    let mut stand = Stand::new(schema).await;
    // The privileges of a connection that is open already are taken away, too.
    stand.settings.max_connections = 1;
    let role = stand.as_a_role_of_its_own().await;
    let database = stand.settings.database.clone();
    stand.client.batch_execute(&format!("GRANT ALL ON players TO {role}")).await.unwrap();
    let adapter = stand.database().await;
    let counts = write_all(&adapter, &documents(0..150, 1)).await;
    assert_eq!((counts.inserted, counts.copied_statements), (150, 1));

    let revoke = format!("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC");
    let other = "ALTER TABLE players ADD COLUMN other int";
    stand.client.batch_execute(&format!("{revoke}; {other}")).await.unwrap();
    // Another shape of the table needs a temporary table that is not there yet.
    let fed = (100..300).map(|n| Message::upsert("insert", &format!("{n}"), "\"n\":2,\"other\":1", 2));
    let counts = write_all(&adapter, &fed.collect::<Vec<_>>()).await;
    assert_eq!((counts.inserted, counts.updated, counts.copied_statements), (150, 50, 0));

    // One that has never been allowed to.
    let adapter = stand.database().await;
    for position in [3, 4] {
        let counts = write_all(&adapter, &documents(0..300, position)).await;
        assert_eq!((counts.updated, counts.copied_statements), (300, 0));
    }
    assert_eq!(stand.count("players WHERE n % 10 = 4").await, 300);
}

/// Nothing but the table's own limit counts: each column may have a default, and each may be fed.
#[tokio::test]
async fn each_column_of_the_widest_tables_may_have_a_default() {
    for columns in [900_u32, 1_597] {
        let declared =
            (1..=columns).fold(String::new(), |sql, n| sql + &format!(", c{n} integer NOT NULL DEFAULT 0"));
        // With the id, the time of the write and the position, 1,600.
        let schema = format!(
            "CREATE TABLE players (id text PRIMARY KEY, cdc_timestamp timestamptz, cdc_position bytea{declared})"
        );
        let stand = Stand::new(&schema).await;
        let database = stand.database().await;
        let write = async |rows: u32, fields: &str, position| {
            let all: Vec<Message> =
                (0..rows).map(|n| Message::upsert("insert", &format!("w{n}"), fields, position)).collect();
            write_all(&database, &all).await
        };
        let sum = "SELECT string_agg(DISTINCT c1 || '|' || c2 || '|' || c900, ',') FROM players";
        let mut all = String::new();
        for n in 1..=columns {
            let _infallible = write!(all, "{}\"c{n}\":{n}", if n == 1 { "" } else { "," });
        }
        // One column fed, one by one and by COPY; then every column; and one again.
        for (rows, fields, position, wanted) in [
            (1, "\"c1\":5", 1, "5|0|0"),
            (120, "\"c1\":6", 2, "6|0|0"),
            (1, all.as_str(), 3, "1|2|900,6|0|0"),
            (120, all.as_str(), 4, "1|2|900"),
            (1, "\"c2\":7", 5, "0|7|0,1|2|900"),
            (120, "\"c2\":8", 6, "0|8|0"),
        ] {
            let counts = write(rows, fields, position).await;
            assert_eq!(counts.copied_statements, u64::from(rows > 100), "{columns} columns, {position}");
            assert_eq!(stand.text(sum).await.unwrap(), wanted, "{columns} columns, {position}");
        }
        assert_eq!(stand.count("players").await, 120);
    }
}

/// The unique index on the id spans the partitions, and PostgreSQL routes each row by it.
#[tokio::test]
async fn a_partitioned_table_is_written_like_another() {
    let partitions: String = (0..4).fold(String::new(), |sql, n| {
        sql + &format!(
            "CREATE TABLE players_{n} PARTITION OF players FOR VALUES WITH (MODULUS 4, REMAINDER {n});"
        )
    });
    for (copy_threshold, own) in [(1_000, ""), (1, ""), (1, ", pk bigserial")] {
        let schema = format!(
            "CREATE TABLE players (id text PRIMARY KEY, n int{own}) PARTITION BY HASH (id); {partitions}"
        );
        let mut stand = Stand::new(&schema).await;
        stand.settings.copy_threshold = copy_threshold;
        let database = stand.database().await;
        let counts = write_all(&database, &documents(0..100, 1)).await;
        assert_eq!((counts.inserted, counts.updated), (100, 0));
        let counts = write_all(&database, &documents(50..150, 2)).await;
        assert_eq!((counts.inserted, counts.updated), (50, 50));
        // What is older is kept off.
        let counts = write_all(&database, &documents(50..60, 1)).await;
        assert_eq!((counts.inserted, counts.updated, counts.fenced), (0, 0, 10));
        let deletes: Vec<Message> = (100..150).map(|n| Message::delete(&format!("{n}"), 3)).collect();
        assert_eq!(write_all(&database, &deletes).await.deleted, 50);
        assert_eq!(write_all(&database, &documents(100..110, 2)).await.fenced, 10);
        assert_eq!((stand.count("players").await, stand.count("players WHERE n % 10 = 2").await), (100, 50));
        assert!(stand.count("players_0").await > 0 && stand.count("players_3").await > 0);
        // A partition that is missing is a row's trouble.
        stand.client.batch_execute("ALTER TABLE players DETACH PARTITION players_2").await.unwrap();
        let outcome = database.write(&batch(&documents(0..100, 4)), ALL, Parking::Off).await.outcome;
        assert!(
            matches!(&outcome, WriteOutcome::Failed { fault: cdc_machine::Fault::Poison, .. }),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_partitioned_table_that_cannot_be_written_is_refused() {
    let by_n = "CREATE TABLE players (id text, n int, PRIMARY KEY (id, n)) PARTITION BY HASH (n)";
    let unlogged = "CREATE TABLE players (id text PRIMARY KEY, n int) PARTITION BY HASH (id); \
                    CREATE UNLOGGED TABLE players_0 PARTITION OF players FOR VALUES WITH (MODULUS 1, REMAINDER 0)";
    let stand = Stand::new(by_n).await;
    let held = stand.connected().await.acquire(&[claim(EPOCH)], 1).await.unwrap().remove(0).held.unwrap();
    assert_eq!(held.reason, HoldReason::Unwritable);
    assert!(held.detail.contains("PRIMARY KEY (id)"), "{}", held.detail);

    // A crash empties a partition, too; here it is emptied by hand.
    let stand = Stand::new(unlogged).await;
    let database = stand.database().await;
    write_all(&database, &documents(0..1, 1)).await;
    assert_eq!(database.tables_at_risk().unlogged, ["public.players"]);
    stand.client.batch_execute("TRUNCATE players_0, cdc.unlogged_tables").await.unwrap();
    let held = database.acquire(&[claim(Epoch(2))], 1).await.unwrap().remove(0).held.unwrap();
    assert_eq!(held.reason, HoldReason::TableEmptied);
}

/// A name that no table can bear, and a table that is another tenant's: each holds its own topic, and the neighbour in
/// the same batch goes on.
#[tokio::test]
async fn what_one_topic_is_held_for_is_no_other_s_trouble() {
    const LONG: &str = "customer_subscription_billing_address_change_requests_archive_2024_eu";
    let mut stand = Stand::new("").await.carrying_all([LONG, "players", "orders"]);
    stand
        .settings
        .namespaces
        .insert("cdc.game_db.orders".to_owned(), cdc_postgres::Namespace::new("tenant1", "orders"));
    let database = stand.database().await;
    let order = |position| {
        Message::upsert("insert", "o", "", position)
            .in_collection("orders")
            .in_database("tenant1")
            .in_topic(2)
    };
    let player = |position| Message::upsert("insert", "p", "", position).in_topic(1);
    write_all(&database, &[player(1), order(1)]).await;
    let long = Message::upsert("insert", "l", "", 1).in_collection(LONG);
    let outcome = database.write(&batch(&[long, player(2)]), ALL, Parking::Off).await.outcome;
    let WriteOutcome::Held { holds } = outcome else { panic!("{outcome:?}") };
    let held: Vec<_> = holds.iter().map(|hold| (hold.partition, hold.reason)).collect();
    assert_eq!(held, [(PARTITION, HoldReason::NameTooLong)]);
    write_all(&database, &[player(2), order(2)]).await;

    // The second tenant's orders are to go to the same table.
    let mut second = stand;
    second
        .settings
        .namespaces
        .insert("cdc.game_db.orders".to_owned(), cdc_postgres::Namespace::new("tenant2", "orders"));
    let database = second.database().await;
    let theirs =
        Message::upsert("insert", "o", "", 3).in_collection("orders").in_database("tenant2").in_topic(2);
    let outcome = database.write(&batch(&[player(3), theirs]), ALL, Parking::Off).await.outcome;
    let WriteOutcome::Held { holds } = outcome else { panic!("{outcome:?}") };
    assert!(holds.iter().all(|hold| hold.reason == HoldReason::Claimed), "{holds:?}");
    write_all(&database, &[player(3)]).await;
    assert_eq!(second.count("orders").await, 1);
}
