//! `make demo`: the whole pipeline, live, on real servers, with both services killed in the middle.

mod latency;
mod screen;
mod traffic;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cdc_devstack::compare::{self, Comparison};
use cdc_devstack::pipeline::{Deployment, Endpoints, Role, SOURCE_DATABASE, messages_in_topics};
use cdc_devstack::source::{COLLECTIONS, Source, Target};
use cdc_devstack::{Options, Service, Stack};
use tokio::signal::unix::{SignalKind, signal};

use self::screen::Screen;
use self::traffic::Traffic;

/// Changes of the live stream.
const CHANGES: u64 = 20_000;
/// How long the last change may take to arrive.
const CONVERGE_WITHIN: Duration = Duration::from_secs(60);
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// Single changes that are timed from their acknowledgement by MongoDB to their row in PostgreSQL.
const PROBES: u32 = 200;

const USAGE: &str = "usage: cdc-demo

Shows the whole pipeline, live: starts MongoDB, Kafka, PostgreSQL and Redis on free ports with empty data, runs both
services under a stream of changes, kills each of them once, and compares every document with its row.
It takes no arguments, but variables:

  KEEP=1                 keep everything running until Ctrl-C, with the addresses
  DEMO_MONGODB_URI, DEMO_KAFKA_BROKERS, DEMO_POSTGRES_URL, DEMO_REDIS_URL
                         use these servers instead of its own: all four
  CDC_BIN                the cdc binary; by default the one beside this program
";
const EXIT_USAGE: u8 = 2;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return usage();
    }
    let screen = Screen::new();
    match Box::pin(run(&screen)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen.failed(&*error);
            ExitCode::FAILURE
        }
    }
}

/// It takes no arguments. Who asks for help gets it on stdout; any other argument is refused.
fn usage() -> ExitCode {
    let asks = std::env::args().nth(1).is_some_and(|argument| argument == "--help" || argument == "-h");
    if asks {
        // With stdout closed nobody reads it.
        let _ = io::stdout().write_all(USAGE.as_bytes());
        return ExitCode::SUCCESS;
    }
    let _ = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(EXIT_USAGE)
}

/// What the table at the end shows.
struct Summary {
    changes: u64,
    messages: i64,
    kills: u32,
    comparison: Comparison,
    fenced: f64,
    latency: latency::Percentiles,
    took: Duration,
}

async fn run(screen: &Screen) -> Outcome<bool> {
    let begun = Instant::now();
    screen.step("checking disk and memory");
    screen.done(&screen::room()?);

    screen.step("starting MongoDB, Kafka, PostgreSQL and Redis");
    let given = given_endpoints()?;
    let mut stack = match given {
        Some(_) => None,
        None => Some(Box::pin(Stack::start(Options::default())).await?),
    };
    let endpoints = match (&stack, given) {
        (Some(stack), _) => Endpoints::of(stack),
        (None, Some(given)) => given,
        (None, None) => return Err("there are no servers".into()),
    };
    let folder = match &stack {
        Some(stack) => stack.folder().to_path_buf(),
        None => std::env::temp_dir(),
    };
    screen.done(&format!("{} · {}", endpoints.mongodb_uri, endpoints.kafka_brokers));

    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    screen.step("creating the typed tables; the Syncer makes the mirrors");
    let postgres = endpoints.postgres().await?;
    postgres
        .batch_execute(&source.tables_sql())
        .await
        .map_err(|error| format!("the typed tables cannot be created (do they exist already?): {error}"))?;
    screen.done("players, the design document's table with its unique user name, and guests, made like it");

    screen.step("starting the Watcher and the Syncer");
    let deploy = |role: Role| Deployment::over(&source, role, role.name(), &folder, &endpoints, &[]);
    let mut services = Services::start(deploy(Role::Watcher)?, deploy(Role::Syncer)?).await?;
    let [watcher, syncer] = [&services.watcher, &services.syncer].map(Deployment::http);
    screen.done(&format!("http://{watcher}/health · http://{syncer}/health"));

    let (changes, latency) = stream(screen, &endpoints, &source, &mut services).await?;

    screen.step("comparing every document with its row");
    let mongo = mongodb::Client::with_uri_str(&endpoints.mongodb_uri).await?;
    let comparison = compare::converge(&mongo, &postgres, &source, CONVERGE_WITHIN).await?;
    screen.done(&format!("{} compared field by field", comparison.compared()));

    let metrics = services.syncing.metrics().await?;
    let summary = Summary {
        changes,
        messages: messages_in_topics(&endpoints.kafka_brokers, &source.topics())?,
        kills: 2,
        fenced: metrics.value("cdc_fence_rejected_total", &[]).unwrap_or_default(),
        comparison,
        latency,
        took: begun.elapsed(),
    };
    let equal = summary.comparison.is_equal();
    screen.table(&rows(&summary, &source));

    if std::env::var_os("KEEP").is_some_and(|keep| keep == "1") {
        keep(screen, &endpoints, &services).await?;
    }
    services.watching.terminate(DRAIN_WITHIN).await?;
    services.syncing.terminate(DRAIN_WITHIN).await?;
    if let Some(stack) = &mut stack {
        stack.stop().await?;
    }
    Ok(equal)
}

struct Services {
    watcher: Deployment,
    watching: Service,
    syncer: Deployment,
    syncing: Service,
}

impl Services {
    async fn start(watcher: Deployment, syncer: Deployment) -> Outcome<Self> {
        let (watching, syncing) = (watcher.start().await?, syncer.start().await?);
        Ok(Self { watcher, watching, syncer, syncing })
    }
}

/// The live stream: a third of it, then the Watcher is killed; another third, then the Syncer; then, with
/// the stream still running, single changes are timed.
async fn stream(
    screen: &Screen,
    endpoints: &Endpoints,
    source: &Source,
    services: &mut Services,
) -> Outcome<(u64, latency::Percentiles)> {
    screen.step("a live stream of inserts, updates, replaces and deletes");
    let mongo = mongodb::Client::with_uri_str(&endpoints.mongodb_uri).await?;
    let traffic = Traffic::start(&mongo, source);
    traffic.until(screen, CHANGES / 3).await?;
    services.watching.kill().await?;
    screen.note("the Watcher is killed (SIGKILL) and started again");
    services.watching = services.watcher.spawn()?;
    traffic.until(screen, CHANGES * 2 / 3).await?;
    services.syncing.kill().await?;
    screen.note("the Syncer is killed (SIGKILL) and started again");
    services.syncing = services.syncer.spawn()?;
    traffic.until(screen, CHANGES).await?;
    services.watching.healthy(CONVERGE_WITHIN).await?;
    services.syncing.healthy(CONVERGE_WITHIN).await?;
    screen.done(&format!("{} changes", traffic.changes()));

    screen.step("timing single changes while the stream goes on");
    let latency = latency::measure(&mongo, &endpoints.postgres().await?, PROBES).await?;
    let probed = u64::from(PROBES);
    let changes = traffic.stop().await? + probed;
    screen.done(&format!("{PROBES} changes from MongoDB's acknowledgement to the row"));
    Ok((changes, latency))
}

fn rows(summary: &Summary, source: &Source) -> Vec<(&'static str, String)> {
    let replayed = summary.messages - i64::try_from(summary.changes).unwrap_or(i64::MAX);
    let tables = source.collections.iter().zip(&summary.comparison.tables);
    let tables: Vec<String> = tables
        .map(|(copied, table)| match copied.target {
            Target::Typed => format!("{} {}", copied.name, table.compared),
            Target::Mirror => format!("{} {} (mirror)", copied.name, table.compared),
        })
        .collect();
    vec![
        ("changes made in MongoDB", summary.changes.to_string()),
        ("messages in Kafka", summary.messages.to_string()),
        ("services killed under load", summary.kills.to_string()),
        ("documents and rows compared", format!("{}: {}", summary.comparison.compared(), tables.join(", "))),
        ("result", summary.comparison.to_string()),
        ("duplicates absorbed", format!("{replayed} in Kafka, {} at the rows", summary.fenced)),
        ("latency, change to row", summary.latency.to_string()),
        ("total time", format!("{:.1} s", summary.took.as_secs_f64())),
    ]
}

/// Servers that the caller already has: all four, or none.
fn given_endpoints() -> Outcome<Option<Endpoints>> {
    let names = ["DEMO_MONGODB_URI", "DEMO_KAFKA_BROKERS", "DEMO_POSTGRES_URL", "DEMO_REDIS_URL"];
    let given: Vec<String> = names.iter().filter_map(|name| std::env::var(name).ok()).collect();
    let [mongodb, kafka, postgres, redis] = given.as_slice() else {
        if given.is_empty() {
            return Ok(None);
        }
        return Err(format!("to use servers of your own, set all of {}", names.join(", ")).into());
    };
    Endpoints::from_urls(mongodb, kafka, postgres, redis).map(Some).map_err(Into::into)
}

async fn keep(screen: &Screen, endpoints: &Endpoints, services: &Services) -> Outcome<()> {
    let [watcher, syncer] = [&services.watcher, &services.syncer];
    screen.table(&[
        ("MongoDB", endpoints.mongodb_uri.clone()),
        ("Kafka", endpoints.kafka_brokers.clone()),
        ("PostgreSQL", format!("{}:{}", endpoints.postgres_host, endpoints.postgres_port)),
        ("Redis", endpoints.redis_addr.clone()),
        ("Watcher", format!("http://{}/metrics  {}", watcher.http(), watcher.log().display())),
        ("Syncer", format!("http://{}/metrics  {}", syncer.http(), syncer.log().display())),
    ]);
    screen.note("everything keeps running until Ctrl-C");
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    Ok(())
}
