//! The comparison that the demo and the live tests rest on: what is changed behind the pipeline's back is
//! reported.

use bson::{DateTime, Document, doc};
use cdc_devstack::compare::{self, Comparison};
use cdc_devstack::pipeline::{PLAYERS_TABLE, SOURCE_DATABASE};
use cdc_devstack::workload::player_id;
use cdc_devstack::{Mongod, MongodOptions, Postgres, PostgresOptions};
use mongodb::Client;

const PLAYERS: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_altered_dropped_or_added_is_reported() {
    let _turn = crate::TURN.lock().await;
    let mongod = Mongod::start(MongodOptions::default()).await.unwrap();
    let server = Postgres::start(PostgresOptions::default()).await.unwrap();
    let mongo = Client::with_uri_str(mongod.uri()).await.unwrap().database(SOURCE_DATABASE);
    let (postgres, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
    for number in 0..PLAYERS {
        let created_at = DateTime::from_millis(1_705_312_200_123);
        mongo
            .collection::<Document>("players")
            .insert_one(doc! { "_id": player_id(number), "username": format!("p{number}"), "score": 7_i64, "created_at": created_at })
            .await
            .unwrap();
        insert(&postgres, number).await;
    }
    let compared = || async { compare::players(&mongo, &postgres).await.unwrap() };
    let ids = |number| player_id(number).to_hex();
    assert_eq!(compared().await, Comparison { compared: PLAYERS as usize, ..Comparison::default() });

    for (column, value) in
        [("username", "'x'"), ("level", "2"), ("score", "8"), ("created_at", "created_at + interval '1 ms'")]
    {
        postgres
            .batch_execute(&format!("BEGIN; UPDATE players SET {column} = {value} WHERE id = '{}'", ids(3)))
            .await
            .unwrap();
        let found = compared().await;
        assert_eq!(found.stale, [(ids(3), column)]);
        assert!(
            !found.is_equal() && found.to_string().starts_with("missing 0, stale 1, too many 0"),
            "{found}"
        );
        postgres.batch_execute("ROLLBACK").await.unwrap();
    }

    postgres.batch_execute(&format!("DELETE FROM players WHERE id = '{}'", ids(5))).await.unwrap();
    insert(&postgres, PLAYERS).await;
    let found = compared().await;
    assert_eq!((found.missing, found.extra), (vec![ids(5)], vec![ids(PLAYERS)]));
    assert!(found.stale.is_empty());
}

async fn insert(postgres: &tokio_postgres::Client, number: u32) {
    postgres
        .execute(
            "INSERT INTO players (id, username, score, created_at, cdc_timestamp)
             VALUES ($1, $2, 7, '2024-01-15 09:50:00.123', now())",
            &[&player_id(number).to_hex(), &format!("p{number}")],
        )
        .await
        .unwrap();
}
