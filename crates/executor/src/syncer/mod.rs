//! The Syncer's executor: one driver loop owns the machine; the consumer's client has a thread of its own;
//! each request to PostgreSQL or Kafka is a task that ends with one answer.

mod answers;
mod batch_log;
mod ends;
mod holds;
mod lag;
mod missing;
mod orders;
mod parked;
mod requests;
mod sampled;
mod sums;
#[cfg(test)]
mod tests;
mod upkeep;
mod written_batch;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use cdc_machine::{Answered, Cause, Dependency, EffectId, Effects, Machine, Request};
use cdc_syncer::{Config, Held, Partition, Syncer, TimerKind, Topic};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use self::answers::Reply;
use self::ends::Ends;
use self::lag::Lags;
use self::missing::Missing;
pub use self::sums::BatchLog;
use self::sums::Sums;
use crate::clock::Clock;
use crate::health::{DependencyHealth, HealthSign, TopicLag, is_working};
use crate::jitter::Jitter;
use crate::metrics::SyncerMetrics;
use crate::observer::Observer;
use crate::pending_since::PendingSince;
use crate::report::{self, Attempt};
use crate::shutdown::closing_time;
use crate::stages::StageSeconds;
use crate::timers::Timers;
use crate::{Ended, Health, Shutdown, TICK};
use cdc_ports::{Database, Failure, KafkaRecord, RecordConsumer, TablesAtRisk};
use cdc_traces::Traces;

pub(crate) type Input = cdc_syncer::Input<KafkaRecord>;
type Effect = cdc_syncer::Effect<KafkaRecord>;

const SERVICE: &str = "syncer";

/// The Syncer with its ports, ready to run.
pub struct SyncerService<C, D> {
    config: Config,
    consumer: C,
    database: D,
    health: HealthSign,
    jitter: Jitter,
    clock: Clock,
    batches: BatchLog,
    traces: Traces,
}

impl<C: RecordConsumer, D: Database> SyncerService<C, D> {
    /// Puts the service together; nothing is ordered before [`Self::run`].
    pub fn new(config: Config, consumer: C, database: D, jitter: Jitter) -> (Self, watch::Receiver<Health>) {
        let (health, receiver) = HealthSign::new(SERVICE);
        let (clock, batches, traces) = (Clock::default(), BatchLog::default(), Traces::off());
        // The session is the adapter's, and with it the group's patience.
        let config = Config { revocation_deadline: consumer.revocation_deadline(), ..config };
        (Self { config, consumer, database, health, jitter, clock, batches, traces }, receiver)
    }

    /// How the log tells of batches.
    #[must_use]
    pub fn telling(mut self, batches: BatchLog) -> Self {
        self.batches = batches;
        self
    }

    /// Where the spans of what it does go.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.traces = traces;
        self
    }

    /// Runs until the machine stops, and says why it did.
    pub async fn run(self, shutdown: Shutdown) -> Ended {
        let machine = Syncer::new(&self.config);
        self.drive(machine, shutdown).await
    }

    async fn drive(self, machine: Syncer<KafkaRecord>, shutdown: Shutdown) -> Ended {
        let mut signals = shutdown.signals();
        let Self { config, consumer, database, health, jitter, clock, batches, traces } = self;
        let workers = config.pool_size.max(1);
        let observer = Observer::begin(&traces, SERVICE, machine.state());
        let mut driver = Driver {
            machine,
            observer,
            config,
            effects: Effects::new(),
            hands: Hands {
                consumer: consumer.clone(),
                database: database.clone(),
                requests: JoinSet::new(),
                timers: Timers::new(jitter, clock),
                pending: Pending::default(),
                kafka: DependencyHealth::new(Dependency::Kafka.as_str()),
                postgres: DependencyHealth::new(Dependency::Postgres.as_str()),
                probing: [false; 2],
                ends: Ends::default(),
                counted_gaps: None,
                writing: 0,
                workers,
                metrics: SyncerMetrics::new(),
                traces,
                stages: StageSeconds::syncer(),
                lags: Lags::default(),
                lag_told: None,
                missing: Missing::default(),
                revoking: Vec::new(),
                batches,
                sums: Sums::default(),
                last_failure: None,
                topics: BTreeMap::new(),
                held: BTreeMap::new(),
                held_partitions: BTreeMap::new(),
                at_risk: TablesAtRisk::default(),
            },
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let mut flow = driver.feed(Input::Start);
        while flow.is_continue() {
            if let Some(topics) = driver.hands.lag_told.take() {
                health.lag(topics);
            }
            let trouble = driver.hands.trouble();
            health.update(driver.machine.state(), trouble.as_deref(), driver.hands.missing.in_words());
            health.parked(driver.machine.parked_rows());
            health.holds(&driver.hands.held);
            health.at_risk(&driver.hands.at_risk);
            flow = tokio::select! {
                biased;
                signal = signals.next() => driver.feed(Input::Signal(signal)),
                Some(done) = driver.hands.requests.join_next() => match done {
                    Ok(reply) => driver.on_reply(reply),
                    Err(_) => ControlFlow::Break(Cause::Invariant("a request's task panicked")),
                },
                timer = driver.hands.timers.next() => driver.on_timer(timer),
                event = consumer.event() => driver.on_event(event),
                _ = tick.tick() => {
                    driver.on_tick();
                    ControlFlow::Continue(())
                }
            };
        }
        driver.hands.sums.say(true);
        health.holds(&driver.hands.held);
        health.update(driver.machine.state(), None, None);
        let cause = match flow {
            ControlFlow::Break(cause) => cause,
            ControlFlow::Continue(()) => Cause::Invariant("the driver's loop ended without a cause"),
        };
        // Whoever hears that it has stopped may send its last spans.
        driver.observer.end(cause);
        shutdown.stopped(cause);
        let closing = async {
            // What is still in flight is cut off here; whatever it did is harmless to do again.
            driver.hands.requests.shutdown().await;
            database.close().await;
        };
        if tokio::time::timeout(closing_time(cause), closing).await.is_err() {
            tracing::warn!(service = SERVICE, operation = "pool_close", "the pool did not close in time");
        }
        Ended { cause, last_failure: driver.hands.last_failure }
    }
}

/// The group asks for partitions back, and the service answers: a request the other way round.
const fn revocation(id: EffectId) -> Request {
    Request { name: "Revocation", key: id.0, is_of_batch: false }
}

const fn revocation_of(input: &Input) -> Option<Request> {
    if let Input::Revoking { id, .. } = input { Some(revocation(*id)) } else { None }
}

const fn confirmed(effect: &Effect) -> Option<Answered> {
    if let Effect::ConfirmRevoked { id } = effect {
        Some(Answered { request: revocation(*id), failure: None })
    } else {
        None
    }
}

/// Since when an answer of each sort is pending.
#[derive(Default)]
struct Pending {
    connection: PendingSince,
    check: PendingSince,
    commit: PendingSince,
    membership: PendingSince,
    writes: PendingSince,
}

/// What an answer is pending of.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Connection,
    Check,
    Commit,
    Membership,
    Writes,
}

impl Pending {
    const fn of(&mut self, wait: Wait) -> &mut PendingSince {
        match wait {
            Wait::Connection => &mut self.connection,
            Wait::Check => &mut self.check,
            Wait::Commit => &mut self.commit,
            Wait::Membership => &mut self.membership,
            Wait::Writes => &mut self.writes,
        }
    }
}

/// Everything that effects are carried out with. It holds no business state.
struct Hands<C, D> {
    consumer: C,
    database: D,
    requests: JoinSet<Reply>,
    timers: Timers<TimerKind>,
    pending: Pending,
    kafka: DependencyHealth,
    postgres: DependencyHealth,
    /// Whether Kafka and PostgreSQL are being asked for a sign of life.
    probing: [bool; 2],
    ends: Ends,
    /// When the open gaps were counted last.
    counted_gaps: Option<Instant>,
    /// Batches in flight.
    writing: usize,
    /// How many the machine routes to.
    workers: u32,
    metrics: SyncerMetrics,
    traces: Traces,
    stages: StageSeconds<4>,
    lags: Lags,
    /// What the probes are to be told of the topics.
    lag_told: Option<Vec<TopicLag>>,
    missing: Missing,
    /// What the group wants back.
    revoking: Vec<(EffectId, Vec<Partition>)>,
    batches: BatchLog,
    /// What the log is to tell of the rows that were written since its last line.
    sums: Sums,
    /// The failure that was logged last.
    last_failure: Option<String>,
    /// The machine's numbers for topics, given at first sight.
    topics: BTreeMap<Arc<str>, Topic>,
    /// The topics that were told to be held, by name.
    held: BTreeMap<Arc<str>, Held>,
    /// The partitions that this was told for.
    held_partitions: BTreeMap<Partition, Held>,
    at_risk: TablesAtRisk,
}

struct Driver<C, D> {
    machine: Syncer<KafkaRecord>,
    observer: Observer,
    config: Config,
    effects: Effects<Effect>,
    hands: Hands<C, D>,
}

impl<C: RecordConsumer, D: Database> Driver<C, D> {
    fn feed(&mut self, input: Input) -> ControlFlow<Cause> {
        let from = self.machine.state();
        let name = input.name();
        let revocation = revocation_of(&input);
        self.observer.hears(|| input.answers());
        self.machine.step(&self.config, input, &mut self.effects);
        let to = self.machine.state();
        if from != to {
            self.hands.moved(from, to, name);
        }
        self.observer.stepped((from, to), name, || self.machine.waits_for().as_str());
        self.observer.orders(|| (revocation, None));
        for effect in self.effects.as_slice() {
            self.observer.orders(|| (effect.request(), effect.called_off()));
            self.observer.hears(|| confirmed(effect));
        }
        self.hands.tell_holds(self.machine.holds(), self.config.on_table_error);
        for effect in self.effects.drain() {
            if let (Effect::Stop { .. }, Some((row, reason, detail))) = (&effect, self.machine.stopped_at()) {
                self.hands.ended_at(row, reason, detail);
            }
            self.hands.carry_out(effect)?;
        }
        ControlFlow::Continue(())
    }

    /// Once everything in hand is written, the ends of the logs are looked at: where a partition stands at its end,
    /// nothing is lost if the topic is made anew.
    fn look_at_ends(&mut self) {
        if self.machine.buffered_records() == 0
            && let Some(records) = self.hands.ends.take()
        {
            let (consumer, database) = (self.hands.consumer.clone(), self.hands.database.clone());
            self.hands.request(requests::look_at_ends(records, consumer, database));
        }
    }

    fn on_tick(&mut self) {
        self.observer.tick();
        self.hands.sums.say(false);
        self.hands.metrics.buffer.set(self.machine.buffered_records() as f64);
        self.hands.metrics.buffer_full.set(f64::from(u8::from(self.machine.is_full(&self.config))));
        self.hands.metrics.workers.set(self.hands.writing as f64);
        self.hands.metrics.stale.absolute(self.machine.stale_inputs());
        self.hands.metrics.parked_rows.set(self.machine.parked_rows() as f64);
        self.hands.at_risk = self.hands.database.tables_at_risk();
        self.hands.metrics.unfenced_tables.set(self.hands.at_risk.unfenced.len() as f64);
        self.hands.lags.wrote(self.machine.written());
        self.hands.tell_lag();
        let is_working = is_working(self.machine.state());
        self.hands.missing.nothing_assigned(is_working.then(|| self.hands.lags.none_for()));
        if is_working {
            self.hands.probe();
            self.hands.look();
        }
    }

    fn log(&mut self, failure: &Failure, attempt: (u32, Option<u32>)) {
        self.hands.last_failure = Some(failure.to_string());
        self.tell(failure, attempt);
    }

    fn tell(&self, failure: &Failure, attempt: (u32, Option<u32>)) {
        self.hands.metrics.common.failed(failure.fault);
        let attempt = Attempt { retry: attempt.0, max: attempt.1 };
        report::failure(SERVICE, self.machine.state().as_str(), failure, attempt);
    }
}
