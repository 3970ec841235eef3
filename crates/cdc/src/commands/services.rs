//! The commands that run: `watch`, `sync`, and `run` for both in one process.

use std::future::Future;

use cdc_executor::ports::Failure;
use cdc_executor::{Ended, Health, StackTrace};
use cdc_machine::{Cause, Signal};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::cli::ConfigArgs;
use crate::config::{Logging, PipelineConfig, SyncerConfig, WatcherConfig};
use crate::exit::{Exit, Failed};
use crate::http::{self, Probes};
use crate::logs::{Logs, Voice};
use crate::{recorder, signals, wiring};

/// The runtime's threads beside the drivers' own clients: the loops are light, and a blocked one must not
/// stop the other.
const WORKER_THREADS: usize = 2;

/// `cdc watch`
///
/// # Errors
/// Whatever made it stop, with its exit code.
pub fn watch(arguments: ConfigArgs) -> Result<(), Failed> {
    let config = WatcherConfig::load(&arguments.sources())?;
    let telemetry = Telemetry::install(Voice::Watcher, config.logging)?;
    block_on(async move {
        let (sender, receiver) = mpsc::channel(signals::PENDING);
        forward(vec![sender])?;
        let background = telemetry.keep();
        let end = watcher(&config, &telemetry, receiver).await?;
        background.abort();
        ended("watcher", &end)
    })
}

/// `cdc sync`
///
/// # Errors
/// Whatever made it stop, with its exit code.
pub fn sync(arguments: ConfigArgs) -> Result<(), Failed> {
    let config = SyncerConfig::load(&arguments.sources())?;
    let telemetry = Telemetry::install(Voice::Syncer, config.logging)?;
    block_on(async move {
        let (sender, receiver) = mpsc::channel(signals::PENDING);
        forward(vec![sender])?;
        let background = telemetry.keep();
        let end = syncer(&config, &telemetry, receiver).await?;
        background.abort();
        ended("syncer", &end)
    })
}

/// `cdc run`: when one service stops, the other drains.
///
/// # Errors
/// The first failure, with its exit code.
pub fn run(arguments: ConfigArgs) -> Result<(), Failed> {
    let config = PipelineConfig::load(&arguments.sources())?;
    let telemetry = Telemetry::install(Voice::Pipeline, config.watcher.logging)?;
    block_on(async move {
        let (to_watcher, watcher_signals) = mpsc::channel(signals::PENDING);
        let (to_syncer, syncer_signals) = mpsc::channel(signals::PENDING);
        forward(vec![to_watcher.clone(), to_syncer.clone()])?;
        let background = telemetry.keep();
        let watching = async {
            let result = watcher(&config.watcher, &telemetry, watcher_signals).await;
            end_other(&result, &to_syncer);
            result.and_then(|end| ended("watcher", &end))
        };
        let syncing = async {
            let result = syncer(&config.syncer, &telemetry, syncer_signals).await;
            end_other(&result, &to_watcher);
            result.and_then(|end| ended("syncer", &end))
        };
        let (watched, synced) = tokio::join!(Box::pin(watching), Box::pin(syncing));
        background.abort();
        watched.and(synced)
    })
}

/// A service that failed takes the other one with it. One that was asked to drain does not: the other was
/// asked too, and a second word would stop it at once.
fn end_other(result: &Result<Ended, Failed>, other: &mpsc::Sender<Signal>) {
    if !matches!(result, Ok(Ended { cause: Cause::Drained, .. })) {
        // The other one may have ended already; a full channel holds a signal like this one.
        let _ = other.try_send(Signal::Drain);
    }
}

async fn watcher(
    config: &WatcherConfig,
    telemetry: &Telemetry,
    mut signals: mpsc::Receiver<Signal>,
) -> Result<Ended, Failed> {
    let listener = http::bind("http.listen", config.http_listen).await?;
    let mut source = wiring::source(config).map_err(refused)?;
    cdc_executor::metrics::start_watcher();
    if let Some(needed) = config.needed_namespaces() {
        tracing::info!(service = "watcher", operation = "start", "{needed}");
    }
    // Until the source has said who it is there is no machine, but there are probes.
    let (waiting, starting) = watch::channel(Health::starting("watcher"));
    let probing = telemetry.probe(listener, starting, &config.instance);
    let described = wiring::describe_source(
        &mut source,
        &config.mongodb.database,
        config.mongodb.max_retries,
        &mut signals,
    );
    let name = match described.await {
        Ok(name) => name,
        Err(end) => return Ok(end),
    };
    let (service, health) = wiring::watcher(config, source, name).map_err(refused)?;
    probing.follow(waiting, health.clone());
    telemetry.logs.follow(health);
    let end = Box::pin(service.run(signals)).await;
    probing.end().await;
    Ok(end)
}

async fn syncer(
    config: &SyncerConfig,
    telemetry: &Telemetry,
    signals: mpsc::Receiver<Signal>,
) -> Result<Ended, Failed> {
    let listener = http::bind("http.listen", config.http_listen).await?;
    let (service, health) = wiring::syncer(config);
    let probing = telemetry.probe(listener, health.clone(), &config.instance);
    telemetry.logs.follow(health);
    let end = Box::pin(service.run(signals)).await;
    probing.end().await;
    Ok(end)
}

/// Logs and metrics of this process.
struct Telemetry {
    logs: Logs,
    metrics: PrometheusHandle,
}

impl Telemetry {
    fn install(voice: Voice, logging: Logging) -> Result<Self, Failed> {
        let bug =
            |what: &str, error: &dyn std::fmt::Display| Failed::new(Exit::Bug, format!("{what}: {error}"));
        let logs = Logs::install(voice, logging).map_err(|error| bug("the log", &error))?;
        let metrics = recorder::install().map_err(|error| bug("the metrics", &error))?;
        cdc_executor::metrics::describe();
        Ok(Self { logs, metrics })
    }

    /// Keeps what has to be kept up while services run.
    fn keep(&self) -> tokio::task::JoinHandle<()> {
        let (logs, metrics) = (self.logs.clone(), self.metrics.clone());
        tokio::spawn(async move {
            tokio::join!(logs.tell_repeats(), recorder::upkeep(metrics));
        })
    }

    fn probe(&self, listener: TcpListener, health: watch::Receiver<Health>, instance: &str) -> Probing {
        let (stop, stopped) = oneshot::channel::<()>();
        let probes = Probes::new(health, self.metrics.clone(), instance.to_owned());
        let serving = tokio::spawn(http::serve(listener, probes, async move {
            // Either way the service has ended.
            let _ = stopped.await;
        }));
        Probing { stop, serving }
    }
}

/// The probes of a running service.
struct Probing {
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Probing {
    /// Passes a service's health on to probes that began before it did.
    fn follow(&self, to: watch::Sender<Health>, mut from: watch::Receiver<Health>) {
        tokio::spawn(async move {
            loop {
                let health = from.borrow_and_update().clone();
                // No probe is left to hear it: the process is ending.
                if to.send(health).is_err() || from.changed().await.is_err() {
                    break;
                }
            }
        });
    }

    async fn end(self) {
        // The listener may have broken before; then it has been logged by its absence in every probe.
        let _ = self.stop.send(());
        if let Ok(Ok(Err(error))) =
            tokio::time::timeout(std::time::Duration::from_secs(1), self.serving).await
        {
            tracing::warn!(operation = "http", %error, "the probes' listener broke");
        }
    }
}

fn block_on(service: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failed::new(Exit::LocalIo, format!("the runtime cannot be started: {error}")))?
        .block_on(Box::pin(service))
}

fn forward(services: Vec<mpsc::Sender<Signal>>) -> Result<(), Failed> {
    signals::forward(services)
        .map(drop)
        .map_err(|error| Failed::new(Exit::LocalIo, format!("signals cannot be handled: {error}")))
}

fn refused(failure: Failure) -> Failed {
    Failed::new(Exit::Config, failure.chain())
}

/// The last line of the log, and the exit code.
fn ended(service: &'static str, end: &Ended) -> Result<(), Failed> {
    if end.cause == Cause::Drained {
        tracing::info!(service, operation = "stop", cause = %end.cause, "stopped");
        return Ok(());
    }
    let exit = Exit::of(end.cause);
    tracing::error!(
        service,
        operation = "stop",
        error_type = "fatal",
        error = %end,
        stack_trace = %StackTrace::capture(),
        exit_code = exit.code(),
        "stopped"
    );
    Err(Failed::new(exit, end.to_string()))
}
