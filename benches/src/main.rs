//! `make bench`: each service drains a backlog on real servers, with the shipped defaults, beside a ceiling
//! that is measured in the same run. Everything shares this machine: trust the CPU per event and the ratios
//! more than the rates. Then, at a steady rate, where the time of a change goes.
//!
//! `cdc-bench stages [RATE SECONDS RUNS]` measures the latter alone.

mod ceiling;
mod stages;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use bson::{DateTime, Document, doc, oid::ObjectId};
use cdc_devstack::pipeline::{Deployment, Endpoints, PLAYERS_TABLE, Role, SOURCE_DATABASE};
use cdc_devstack::{Options, Service, Stack};
use tokio::time::Instant;

/// Documents of the backlog, each inserted once.
const BACKLOG: u32 = 200_000;
/// Documents of one insert command.
const CHUNK: u32 = 1_000;
/// Text in each document, so that it has about 1 KB.
const PADDING_BYTES: usize = 850;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(300);
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What one drain of the backlog came to.
struct Drain {
    per_second: f64,
    cpu_micros_per_event: f64,
    peak_mib: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = match arguments.first().map(String::as_str) {
        None => Box::pin(all()).await,
        Some("stages") => Box::pin(stages::run(&arguments[1..])).await,
        Some(_) => Err("usage: cdc-bench [stages [RATE SECONDS RUNS]]".into()),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // A closed standard output ends the talk, not the measurement.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

async fn all() -> Outcome<()> {
    Box::pin(drains()).await?;
    Box::pin(stages::run(&[])).await
}

async fn drains() -> Outcome<()> {
    let stack = Box::pin(Stack::start(Options::default())).await?;
    let endpoints = Endpoints::of(&stack);
    let mongo = mongodb::Client::with_uri_str(&endpoints.mongodb_uri).await?;
    let postgres = endpoints.postgres().await?;
    postgres.batch_execute(PLAYERS_TABLE).await?;
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &[])?;
    let syncer = Deployment::new(Role::Syncer, "syncer", stack.folder(), &endpoints, &[])?;

    // The first start saves the position behind which the backlog will lie.
    watcher.start().await?.terminate(DRAIN_WITHIN).await?;
    let since = ceiling::operation_time(&mongo).await?;
    backlog(&mongo).await?;
    say(&format!("backlog: {BACKLOG} inserts of about 1 KB, distinct ids"));

    let raw = ceiling::change_stream(&mongo, since, BACKLOG).await?;
    say(&format!("ceiling   raw change stream, count only     {raw:>9.0} events/s"));
    let watched = drained(&watcher, "watcher_events_published_total").await?;
    report("watcher", &watched, raw);

    let raw = ceiling::upserts(&postgres, BACKLOG).await?;
    say(&format!("ceiling   raw prepared upserts, 1 writer    {raw:>9.0} rows/s"));
    let synced = drained(&syncer, "syncer_messages_written_total").await?;
    report("syncer", &synced, raw);
    Ok(())
}

fn report(name: &str, drain: &Drain, ceiling: f64) {
    say(&format!(
        "{name:<9} {:.0} events/s, {:.1} CPU-µs per event, peak {} MiB, {:.2} of the ceiling",
        drain.per_second,
        drain.cpu_micros_per_event,
        drain.peak_mib,
        drain.per_second / ceiling
    ));
}

async fn backlog(mongo: &mongodb::Client) -> Outcome<()> {
    let players = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    let bio = "The quick brown fox jumps over the lazy dog. ".repeat(PADDING_BYTES / 45);
    for chunk in 0..BACKLOG / CHUNK {
        let documents: Vec<Document> = (chunk * CHUNK..(chunk + 1) * CHUNK)
            .map(|number| {
                doc! {
                    "_id": ObjectId::new(),
                    "username": format!("player-{number}"),
                    "level": i32::try_from(number % 100).unwrap_or_default(),
                    "score": i64::from(number) * 7_919,
                    "created_at": DateTime::now(),
                    "stats": { "wins": 12, "ratio": 0.75 },
                    "bio": &bio,
                }
            })
            .collect();
        players.insert_many(documents).await?;
    }
    Ok(())
}

/// Starts the service and times it from the first event to the last.
async fn drained(deployment: &Deployment, counter: &str) -> Outcome<Drain> {
    let mut service = deployment.spawn()?;
    let (first, begun, cpu_before) = loop {
        if let Some(done) = count(&service, counter).await.filter(|done| *done > 0.0) {
            break (done, Instant::now(), service.cpu_time()?);
        }
        wait(&mut service, None).await?;
    };
    let begun_waiting = Instant::now();
    let (last, took, cpu_after) = loop {
        match count(&service, counter).await {
            Some(done) if done >= f64::from(BACKLOG) => break (done, begun.elapsed(), service.cpu_time()?),
            _ => wait(&mut service, Some(begun_waiting)).await?,
        }
    };
    let events = last - first;
    let drain = Drain {
        per_second: events / took.as_secs_f64(),
        cpu_micros_per_event: (cpu_after - cpu_before).as_secs_f64() * 1e6 / events,
        peak_mib: service.memory_peak_bytes()? / (1024 * 1024),
    };
    service.terminate(DRAIN_WITHIN).await?;
    Ok(drain)
}

async fn count(service: &Service, counter: &str) -> Option<f64> {
    service.metrics().await.ok()?.value(counter, &[])
}

async fn wait(service: &mut Service, since: Option<Instant>) -> Outcome<()> {
    if let Some(status) = service.exit_status()? {
        return Err(format!("the service ended: {status}; see {}", service.log().display()).into());
    }
    if since.is_some_and(|since| since.elapsed() > PATIENCE) {
        return Err(format!("the backlog was not drained within {} s", PATIENCE.as_secs()).into());
    }
    tokio::time::sleep(BETWEEN_LOOKS).await;
    Ok(())
}
