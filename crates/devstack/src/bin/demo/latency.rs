//! How long a single change takes, from MongoDB's acknowledgement to its row in PostgreSQL.

use std::fmt;
use std::time::Duration;

use bson::{DateTime, Document, doc};
use cdc_devstack::pipeline::SOURCE_DATABASE;
use cdc_devstack::workload::player_id;
use tokio::time::Instant;

use crate::Outcome;

/// Players that no writer of the traffic touches.
const FIRST_PLAYER: u32 = 1_000_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// The two percentiles that the table shows.
pub(crate) struct Percentiles {
    p50: Duration,
    p99: Duration,
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        write!(f, "p50 {:.1} ms, p99 {:.1} ms", ms(self.p50), ms(self.p99))
    }
}

/// Inserts one document after the other and waits for each row.
pub(crate) async fn measure(
    mongo: &mongodb::Client,
    postgres: &tokio_postgres::Client,
    probes: u32,
) -> Outcome<Percentiles> {
    let players = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    let look = postgres.prepare("SELECT 1 FROM players WHERE id = $1").await?;
    let mut samples = Vec::new();
    for number in FIRST_PLAYER..FIRST_PLAYER + probes {
        let id = player_id(number);
        players
            .insert_one(
                doc! { "_id": id, "username": format!("probe-{number}"), "created_at": DateTime::now() },
            )
            .await?;
        let acknowledged = Instant::now();
        while postgres.query_opt(&look, &[&id.to_hex()]).await?.is_none() {
            if acknowledged.elapsed() > PATIENCE {
                return Err(format!("a change has not arrived within {} s", PATIENCE.as_secs()).into());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        samples.push(acknowledged.elapsed());
    }
    samples.sort_unstable();
    let at = |share: usize| samples.get(samples.len() * share / 100).copied().unwrap_or_default();
    Ok(Percentiles { p50: at(50), p99: at(99) })
}
