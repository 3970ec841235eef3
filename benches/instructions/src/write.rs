//! Message to row: a batch is read, planned and written through the port of the Syncer. The count is this process's:
//! reading, planning and the driver, not the server.

use std::sync::Arc;

use cdc_event::Encoder;
use cdc_machine::{Epoch, SeqNo};
use cdc_ports::{Database as _, KafkaRecord, LedgerClaim, Share, TopicPartition};
use cdc_postgres::{Endpoint, Namespace, PostgresDatabase, Settings};
use cdc_syncer::{Batch, Parking, Partition, Row, WorkerId, WriteOutcome};
use tokio_postgres::NoTls;
use tokio_postgres::config::{Config, Host};

use crate::documents::event;
use crate::{Failure, POSTGRES};

/// A typed table, and a collection whose table is made as a mirror.
const COLLECTIONS: [&str; 2] = ["players", "guests"];
const TABLE: &str = "
CREATE TABLE players (
    id VARCHAR(24) PRIMARY KEY,
    username VARCHAR(255) NOT NULL,
    level INTEGER NOT NULL DEFAULT 1,
    score BIGINT NOT NULL DEFAULT 0,
    rate DOUBLE PRECISION,
    balance NUMERIC(12, 2),
    tags JSONB,
    home JSONB,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL DEFAULT NOW(),
    field_0 TEXT,
    field_1 TEXT,
    cdc_operation VARCHAR(20),
    cdc_timestamp TIMESTAMP NOT NULL
)";
const DATABASE: &str = "instructions";
const EPOCH: Epoch = Epoch(1);
/// Events that are made ready in every run, so that making them costs each run the same.
const EVENTS_MAX: u64 = 8_000;
const ALL: Share = Share { worker: WorkerId(0), of: 1 };

/// Batches that go by COPY.
pub(crate) fn copy(events: u64) -> Result<(), Failure> {
    run(events, 1_000)
}

/// Batches that go by prepared statements with arrays.
pub(crate) fn arrays(events: u64) -> Result<(), Failure> {
    run(events, 50)
}

fn run(events: u64, batch: usize) -> Result<(), Failure> {
    if events > EVENTS_MAX {
        return Err(format!("at most {EVENTS_MAX} events").into());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let database = fresh_database().await?;
        let rows = rows()?;
        let wanted = usize::try_from(events)?;
        for batch in rows.get(..wanted).unwrap_or_default().chunks(batch) {
            let reply = database.write(&Batch::new(batch.to_vec()), ALL, Parking::Off).await;
            let is_whole =
                matches!(&reply.outcome, WriteOutcome::Written { rejected, .. } if rejected.is_empty());
            if !is_whole {
                return Err(format!("{:?} {:?}", reply.outcome, reply.failure).into());
            }
        }
        database.close().await;
        Ok(())
    })
}

/// The adapter on a fresh database of the server, with a partition of each topic acquired.
async fn fresh_database() -> Result<PostgresDatabase, Failure> {
    let url = std::env::var(POSTGRES).map_err(|_| format!("{POSTGRES} names no server"))?;
    let server: Config = url.parse()?;
    let (Some(Host::Tcp(host)), Some(port)) = (server.get_hosts().first(), server.get_ports().first()) else {
        return Err(format!("{POSTGRES} names no host and port").into());
    };
    let (client, connection) = server.connect(NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} (FORCE)")).await?;
    client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    let (client, connection) = server.clone().dbname(DATABASE).connect(NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(TABLE).await?;

    let mut settings =
        Settings::new(Endpoint::Host(host.clone()), DATABASE, server.get_user().unwrap_or("postgres"));
    settings.port = *port;
    settings.min_connections = 0;
    settings.max_connections = 1;
    settings.namespaces =
        COLLECTIONS.iter().map(|name| (topic(name), Namespace::new("game_db", *name))).collect();
    let database = PostgresDatabase::new(settings);
    database.connect().await.map_err(|failure| format!("{failure:?}"))?;
    let claims: Vec<LedgerClaim> = (0..)
        .zip(COLLECTIONS)
        .map(|(partition, name)| LedgerClaim {
            partition: Partition(partition),
            epoch: EPOCH,
            name: TopicPartition { topic: Arc::from(topic(name)), partition: 0 },
        })
        .collect();
    database.acquire(&claims, 1).await.map_err(|failure| format!("{failure:?}"))?;
    Ok(database)
}

fn topic(collection: &str) -> String {
    format!("cdc.game_db.{collection}")
}

/// All rows of a run, half of them of each collection. Every second event of a collection is a delete of a row that is
/// not there or an insert; the rest update and replace.
fn rows() -> Result<Vec<Row<KafkaRecord>>, Failure> {
    let mut encoder = Encoder::new(1);
    (0..EVENTS_MAX)
        .map(|number| {
            // Four events of one collection, then four of the other.
            let place = (number / 4 % 2) as usize;
            let (mut out, mut tokens) = (Vec::new(), Vec::new());
            let event = event(number, COLLECTIONS[place])?;
            let encoded =
                encoder.encode(&event, &mut out, &mut tokens).map_err(|error| format!("{error:?}"))?;
            let (key, value) = (encoded.key, encoded.value);
            Ok(Row {
                partition: Partition(u32::try_from(place)?),
                epoch: EPOCH,
                seq: SeqNo(number),
                offset: i64::try_from(number)?,
                route: number,
                bytes: u32::try_from(out.len())?,
                handle: KafkaRecord::new(out.get(key).unwrap_or_default(), out.get(value), b"", 0),
            })
        })
        .collect()
}
