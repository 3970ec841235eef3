//! The commands that run: `watch`, `sync`, and `run` for both in one process.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use cdc_executor::{Ended, Health, Shutdown};
use cdc_machine::{Cause, Signal};
use cdc_ports::Failure;
use cdc_ports::StackTrace;
use cdc_traces::Traces;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::ConfigArgs;
use crate::config::{Logging, PipelineConfig, SyncerConfig, TraceExport, WatcherConfig};
use crate::exit::{Exit, Failed};
use crate::http::{self, Probes};
use crate::logs::{Logs, Voice};
use crate::otlp::{self, Export, FLUSHES_WITHIN, FLUSHES_WITHIN_ABORTED, Service};
use crate::watchdog::Watchdog;
use crate::{recorder, wiring};

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
    let shutdown = Shutdown::default();
    let watchdog = Watchdog::start(vec![shutdown.clone()], config.machine.drain_timeout)?;
    block_on(&watchdog, async {
        telemetry.keep();
        let end = watcher(&config, &telemetry, &shutdown).await?;
        ended("watcher", &end, &watchdog)
    })
}

/// `cdc sync`
///
/// # Errors
/// Whatever made it stop, with its exit code.
pub fn sync(arguments: ConfigArgs) -> Result<(), Failed> {
    let config = SyncerConfig::load(&arguments.sources())?;
    let telemetry = Telemetry::install(Voice::Syncer, config.logging)?;
    let shutdown = Shutdown::default();
    let watchdog = Watchdog::start(vec![shutdown.clone()], config.machine.drain_timeout)?;
    block_on(&watchdog, async {
        telemetry.keep();
        let end = syncer(&config, &telemetry, &shutdown).await?;
        ended("syncer", &end, &watchdog)
    })
}

/// `cdc run`: when one service stops, the other drains.
///
/// # Errors
/// The first failure, with its exit code.
pub fn run(arguments: ConfigArgs) -> Result<(), Failed> {
    let config = PipelineConfig::load(&arguments.sources())?;
    let telemetry = Telemetry::install(Voice::Pipeline, config.watcher.logging)?;
    let (to_watcher, to_syncer) = (Shutdown::default(), Shutdown::default());
    let drains_within = config.watcher.machine.drain_timeout.max(config.syncer.machine.drain_timeout);
    let watchdog = Watchdog::start(vec![to_watcher.clone(), to_syncer.clone()], drains_within)?;
    block_on(&watchdog, async {
        telemetry.keep();
        let first_failure = RefCell::new(None);
        let finish = |service, result: Result<Ended, Failed>, other: &Shutdown| {
            if let Some(exit) = failure_of(&result) {
                // Before the last line, which a log that nobody reads may never take.
                watchdog.failing(exit);
                other.ask(Signal::Drain);
            }
            if let Err(failed) = result.and_then(|end| last_line(service, &end)) {
                first_failure.borrow_mut().get_or_insert(failed);
            }
        };
        let watching = async {
            finish("watcher", watcher(&config.watcher, &telemetry, &to_watcher).await, &to_syncer);
        };
        let syncing = async {
            finish("syncer", syncer(&config.syncer, &telemetry, &to_syncer).await, &to_watcher);
        };
        tokio::join!(Box::pin(watching), Box::pin(syncing));
        first_failure.take().map_or(Ok(()), Err)
    })
}

/// What a failed service ends the process with, since it takes the other one with it. One that was asked to drain does
/// not: the other was asked, too.
fn failure_of(result: &Result<Ended, Failed>) -> Option<Exit> {
    match result {
        Ok(Ended { cause: Cause::Drained, .. }) => None,
        Ok(end) => Some(Exit::of(end.cause)),
        Err(failed) => Some(failed.exit),
    }
}

async fn watcher(
    config: &WatcherConfig,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<Ended, Failed> {
    let listener = http::bind("http.listen", config.http_listen).await?;
    let (mut service, health) = wiring::watcher(config).map_err(refused)?;
    let topics = config.topics();
    let whose = Service { name: "watcher", instance: &config.instance, topics: &topics };
    let (traces, export) = telemetry.export(config.tracing.as_ref(), &whose)?;
    let token_age = wiring::follow_token_age(config).map_err(refused)?;
    if let Some(needed) = config.needed_namespaces() {
        tracing::info!(service = "watcher", operation = "start", "{needed}");
    }
    let probing = telemetry.probe(listener, health.clone(), &config.instance);
    telemetry.logs.follow(health);
    let identified = service.until_identified();
    tokio::spawn(async move {
        identified.await;
        drop(token_age);
    });
    let running = Box::pin(service.traced(traces).run(shutdown.clone()));
    let (end, ()) = tokio::join!(running, flush(export, shutdown));
    probing.end().await;
    Ok(end)
}

async fn syncer(config: &SyncerConfig, telemetry: &Telemetry, shutdown: &Shutdown) -> Result<Ended, Failed> {
    let listener = http::bind("http.listen", config.http_listen).await?;
    let (service, health) = wiring::syncer(config);
    let whose = Service { name: "syncer", instance: &config.instance, topics: &config.kafka.topics };
    let (traces, export) = telemetry.export(config.tracing.as_ref(), &whose)?;
    let probing = telemetry.probe(listener, health.clone(), &config.instance);
    telemetry.logs.follow(health);
    let running = Box::pin(service.traced(traces).run(shutdown.clone()));
    let (end, ()) = tokio::join!(running, flush(export, shutdown));
    probing.end().await;
    Ok(end)
}

/// Sends the last spans while the service closes what it holds.
async fn flush(export: Export, shutdown: &Shutdown) {
    shutdown.until_stopped().await;
    let is_aborted = shutdown.cause() == Some(Cause::Aborted);
    export.close(if is_aborted { FLUSHES_WITHIN_ABORTED } else { FLUSHES_WITHIN }).await;
}

/// Logs and metrics of this process.
struct Telemetry {
    logs: Logs,
    metrics: PrometheusHandle,
}

/// How long open connections of probes are served out. With the services' own closing time it stays within what the
/// watchdog allows, after a second signal too.
const PROBES_CLOSE_WITHIN: Duration = Duration::from_millis(200);

impl Telemetry {
    fn install(voice: Voice, logging: Logging) -> Result<Self, Failed> {
        let bug =
            |what: &str, error: &dyn std::fmt::Display| Failed::new(Exit::Bug, format!("{what}: {error}"));
        let logs = Logs::install(voice, logging).map_err(|error| bug("the log", &error))?;
        let metrics = recorder::install().map_err(|error| bug("the metrics", &error))?;
        cdc_executor::metrics::describe();
        Ok(Self { logs, metrics })
    }

    /// Keeps what has to be kept up, for as long as the runtime runs.
    fn keep(&self) {
        let (logs, metrics) = (self.logs.clone(), self.metrics.clone());
        tokio::spawn(async move {
            tokio::join!(logs.tell_repeats(), recorder::upkeep(metrics));
        });
    }

    /// Begins to export a service's spans, and to name them in its lines.
    fn export(
        &self,
        wanted: Option<&TraceExport>,
        service: &Service<'_>,
    ) -> Result<(Traces, Export), Failed> {
        let (traces, export) = otlp::export(wanted, service)
            .map_err(|text| Failed::new(Exit::Config, format!("{}: {text}", service.name)))?;
        self.logs.name_spans(service.name, traces.clone());
        Ok((traces, export))
    }

    fn probe(&self, listener: TcpListener, health: watch::Receiver<Health>, instance: &str) -> Probing {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let probes = Probes::new(health, self.metrics.clone(), instance.to_owned());
        let serving = http::serve(listener, probes, stop.clone().cancelled_owned());
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::warn!(operation = "http", %error, "the probes' listener broke");
            }
        });
        Probing { stop, tasks }
    }
}

/// The probes of a running service.
struct Probing {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Probing {
    /// Closes the port.
    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(PROBES_CLOSE_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::debug!(operation = "http", "a probe's connection is cut off");
        }
    }
}

/// Runs a command to its end. Whatever it leaves behind in the runtime, a call into a library that does not return
/// included, is not waited for.
fn block_on(watchdog: &Watchdog, command: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failed::new(Exit::LocalIo, format!("the runtime cannot be started: {error}")))?;
    let outcome = runtime.block_on(Box::pin(command));
    watchdog.ended(outcome.as_ref().map_or_else(|failed| failed.exit, |()| Exit::Clean));
    runtime.shutdown_background();
    outcome
}

fn refused(failure: Failure) -> Failed {
    Failed::new(Exit::Config, failure.chain())
}

/// The end of a command with one service: the outcome is known to the watchdog before the log is asked to take a line.
fn ended(service: &'static str, end: &Ended, watchdog: &Watchdog) -> Result<(), Failed> {
    watchdog.ended(Exit::of(end.cause));
    last_line(service, end)
}

/// The last line of the log, and the exit code.
fn last_line(service: &'static str, end: &Ended) -> Result<(), Failed> {
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
