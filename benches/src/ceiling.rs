//! What the servers give to a client that does nothing else.

use bson::{Timestamp, doc};
use cdc_devstack::pipeline::SOURCE_DATABASE;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::{CHUNK, Outcome};

pub(crate) async fn operation_time(mongo: &mongodb::Client) -> Outcome<Timestamp> {
    let reply = mongo.database("admin").run_command(doc! { "ping": 1 }).await?;
    Ok(reply.get_timestamp("operationTime")?)
}

/// Reads the same change stream in raw batches and only counts: events per second.
pub(crate) async fn change_stream(mongo: &mongodb::Client, since: Timestamp, events: u32) -> Outcome<f64> {
    let command = doc! {
        "aggregate": 1,
        "pipeline": [{ "$changeStream": { "startAtOperationTime": since } }],
        "cursor": { "batchSize": 0 },
    };
    let begun = Instant::now();
    let mut cursor =
        mongo.database(SOURCE_DATABASE).run_cursor_command(command).batch_size(1_000).batch().await?;
    let mut seen = 0;
    while seen < events {
        let batch = cursor.next().await.ok_or("the stream ended")??;
        seen += u32::try_from(batch.doc_slices()?.into_iter().count())?;
    }
    Ok(f64::from(seen) / begun.elapsed().as_secs_f64())
}

/// Upserts as many prepared rows into a copy of the table, from one connection: rows per second.
pub(crate) async fn upserts(postgres: &tokio_postgres::Client, rows: u32) -> Outcome<f64> {
    postgres
        .batch_execute(
            "CREATE TABLE ceiling (LIKE players INCLUDING ALL); ALTER TABLE ceiling ADD cdc_position bytea",
        )
        .await?;
    let upsert = postgres
        .prepare(
            "INSERT INTO ceiling AS t (id, username, level, score, created_at, cdc_operation, cdc_timestamp, cdc_position)
             SELECT i, u, l, s, now(), 'insert', now(), p
             FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bytea[]) AS r(i, u, l, s, p)
             ON CONFLICT (id) DO UPDATE SET username = excluded.username, level = excluded.level,
                 score = excluded.score, cdc_position = excluded.cdc_position
             WHERE t.cdc_position IS NULL OR excluded.cdc_position > t.cdc_position",
        )
        .await?;
    let batches: Vec<_> = (0..rows / CHUNK)
        .map(|chunk| {
            let numbers = chunk * CHUNK..(chunk + 1) * CHUNK;
            (
                numbers.clone().map(|n| format!("{n:024x}")).collect::<Vec<_>>(),
                numbers.clone().map(|n| format!("player-{n}")).collect::<Vec<_>>(),
                numbers.clone().map(|n| i32::try_from(n % 100).unwrap_or_default()).collect::<Vec<_>>(),
                numbers.clone().map(|n| i64::from(n) * 7_919).collect::<Vec<_>>(),
                numbers.map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>(),
            )
        })
        .collect();
    let begun = Instant::now();
    for (ids, names, levels, scores, positions) in &batches {
        postgres.execute(&upsert, &[ids, names, levels, scores, positions]).await?;
    }
    let per_second = f64::from(rows) / begun.elapsed().as_secs_f64();
    postgres.batch_execute("DROP TABLE ceiling").await?;
    Ok(per_second)
}
