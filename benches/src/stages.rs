//! Where the time of a change goes: inserts at a steady rate through both services, and what each stage of the sampled
//! ones took, by `cdc_stage_seconds`.

use std::time::Duration;

use bson::{DateTime, Document, doc, oid::ObjectId};
use cdc_devstack::pipeline::{Deployment, Endpoints, HEALTHY_WITHIN, PLAYERS_TABLE, Role, SOURCE_DATABASE};
use cdc_devstack::{Options, Samples, Service, Stack};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{DRAIN_WITHIN, Outcome, say};

/// Changes a second, seconds and runs, unless the command line says otherwise.
const DEFAULTS: [u32; 3] = [500, 30, 3];
/// What a run leaves out at its beginning: connections, statements and caches are made then.
const WARM_UP: Duration = Duration::from_secs(10);
/// More than by default, so that a short run has enough of them.
const SAMPLE_RATIO: &str = "0.1";

/// The services' stages in the order of an event's way. `acknowledge` goes on beside those that follow it.
const STAGES: [(Role, &str); 8] = [
    (Role::Watcher, "read"),
    (Role::Watcher, "encode"),
    (Role::Watcher, "hand_over"),
    (Role::Watcher, "acknowledge"),
    (Role::Syncer, "fetch"),
    (Role::Syncer, "queue"),
    (Role::Syncer, "prepare"),
    (Role::Syncer, "write"),
];
const BESIDE: &str = "acknowledge";

/// What a stage took: the samples, their sum in seconds, and how many lie at or below each bound.
#[derive(Clone, Debug, Default)]
struct Histogram {
    count: f64,
    sum: f64,
    buckets: Vec<(f64, f64)>,
}

pub(crate) async fn run(arguments: &[String]) -> Outcome<()> {
    let mut numbers = DEFAULTS;
    for (number, text) in numbers.iter_mut().zip(arguments) {
        *number = text.parse().map_err(|_| format!("{text} is no number"))?;
    }
    let [rate, seconds, runs] = numbers;
    let stack = Box::pin(Stack::start(Options::default())).await?;
    let endpoints = Endpoints::of(&stack);
    let mongo = mongodb::Client::with_uri_str(&endpoints.mongodb_uri).await?;
    endpoints.postgres().await?.batch_execute(PLAYERS_TABLE).await?;
    let settings = [("CDC__TRACING__SAMPLE_RATIO", SAMPLE_RATIO)];
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &settings)?;
    let syncer = Deployment::new(Role::Syncer, "syncer", stack.folder(), &endpoints, &[])?;
    for run in 1..=runs {
        let (mut watching, mut syncing) = (watcher.start().await?, syncer.start().await?);
        syncing.healthy(HEALTHY_WITHIN).await?;
        insert(&mongo, rate, WARM_UP).await?;
        let before =
            (look(&watching).await?, look(&syncing).await?, watching.cpu_time()?, syncing.cpu_time()?);
        let begun = Instant::now();
        let inserted = insert(&mongo, rate, Duration::from_secs(seconds.into())).await?;
        let took = begun.elapsed();
        let cpu = (watching.cpu_time()? - before.2, syncing.cpu_time()? - before.3);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = (look(&watching).await?, look(&syncing).await?);
        let share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / took.as_secs_f64();
        say(&format!(
            "run {run}: {:.0} changes/s; watcher {:.1} %, syncer {:.1} % of a core",
            f64::from(inserted) / took.as_secs_f64(),
            share(cpu.0),
            share(cpu.1)
        ));
        table(&before.0, &before.1, &after.0, &after.1);
        watching.terminate(DRAIN_WITHIN).await?;
        syncing.terminate(DRAIN_WITHIN).await?;
    }
    Ok(())
}

fn table(watcher_before: &Samples, syncer_before: &Samples, watcher: &Samples, syncer: &Samples) {
    say("| stage | mean ms | p50 ms | p99 ms |\n|---|---|---|---|");
    let mut whole = 0.0;
    for (role, stage) in STAGES {
        let (before, after) = match role {
            Role::Watcher => (watcher_before, watcher),
            Role::Syncer => (syncer_before, syncer),
        };
        let took = Histogram::of(after, stage).since(&Histogram::of(before, stage));
        let ms = |seconds: f64| seconds * 1_000.0;
        say(&format!(
            "| `{stage}` | {:.3} | {:.2} | {:.2} |",
            ms(took.mean()),
            ms(took.quantile(0.5)),
            ms(took.quantile(0.99))
        ));
        if stage != BESIDE {
            whole += ms(took.mean());
        }
    }
    say(&format!("| all but `{BESIDE}` | {whole:.3} | | |"));
}

impl Histogram {
    fn of(samples: &Samples, stage: &str) -> Self {
        let of = |name: &str| samples.value(name, &[("stage", stage)]).unwrap_or_default();
        let mut buckets: Vec<(f64, f64)> = samples
            .all()
            .iter()
            .filter(|it| it.name == "cdc_stage_seconds_bucket")
            .filter(|it| it.labels.get("stage").is_some_and(|it| it == stage))
            .filter_map(|it| Some((it.labels.get("le")?.parse().ok()?, it.value)))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { count: of("cdc_stage_seconds_count"), sum: of("cdc_stage_seconds_sum"), buckets }
    }

    fn since(&self, before: &Self) -> Self {
        let earlier =
            |bound: f64| before.buckets.iter().find(|(it, _)| *it == bound).map_or(0.0, |(_, n)| *n);
        Self {
            count: self.count - before.count,
            sum: self.sum - before.sum,
            buckets: self.buckets.iter().map(|(bound, n)| (*bound, n - earlier(*bound))).collect(),
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    /// As Prometheus' `histogram_quantile` has it: even within a bucket.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.count;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, through) in &self.buckets {
            if *through >= wanted && *through > below {
                let part = (wanted - below) / (through - below);
                return if bound.is_finite() { lower + (bound - lower) * part } else { lower };
            }
            (lower, below) = (*bound, *through);
        }
        lower
    }
}

async fn look(service: &Service) -> Outcome<Samples> {
    Ok(service.metrics().await?)
}

/// Inserts one document after the other, evenly; returns how many.
async fn insert(mongo: &mongodb::Client, rate: u32, within: Duration) -> Outcome<u32> {
    let players = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    let mut due = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    let mut inserted = 0;
    while begun.elapsed() < within {
        due.tick().await;
        let document = doc! {
            "_id": ObjectId::new(),
            "username": format!("player-{}", ObjectId::new()),
            "level": 7,
            "score": 7_919_i64,
            "created_at": DateTime::now(),
            "stats": { "wins": 12, "ratio": 0.75 },
        };
        players.insert_one(document).await?;
        inserted += 1;
    }
    Ok(inserted)
}
