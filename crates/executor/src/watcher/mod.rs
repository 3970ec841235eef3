//! The Watcher's executor: one driver loop owns the machine; the source and the token store have a lane
//! each; the producer is called from the loop itself, which is therefore the one sequencer (trap T6).

mod answers;
mod growth;
mod lag;
mod lanes;
mod publishing;
mod sending;
mod sums;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cdc_event::{Message, ResumeToken};
use cdc_machine::{Cause, Dependency, Effects, Machine, StateName};
use cdc_watcher::{Config, OnTooLarge, TimerKind, TopicState, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use self::answers::Reply;
use self::growth::Growth;
use self::lag::SourceLag;
use self::lanes::{SourceOrder, StoreOrder, source_lane, store_lane};
use self::publishing::Publishing;
use self::sums::Sums;
use self::watched::Watched;
use crate::clock::Clock;
use crate::given_up::{Told, key_hash};
use crate::health::{HealthSign, PATIENCE, Standing, WatchedName, is_working, within_reason};
use crate::jitter::Jitter;
use crate::metrics::WatcherMetrics;
use crate::owed::Owed;
use crate::report::{self, Attempt};
use crate::shutdown::{Tasks, closing_time};
use crate::timers::Timers;
use crate::{Ended, Health, LANE_ORDERS, Shutdown, TICK};
use cdc_ports::{Failure, Holder, Producer, ReportSink, Source, TokenStore};

pub(crate) type Input = cdc_watcher::Input<Message, ResumeToken>;
type Effect = cdc_watcher::Effect<Message, ResumeToken>;

pub(crate) const SERVICE: &str = "watcher";

/// The Watcher with its ports, ready to run.
pub struct WatcherService<P> {
    config: Config,
    database: String,
    sink: Arc<ReportSink>,
    producer: P,
    source_orders: mpsc::Sender<SourceOrder>,
    store_orders: mpsc::Sender<StoreOrder>,
    replies: mpsc::Receiver<Reply>,
    lanes: Tasks,
    health: HealthSign,
    jitter: Jitter,
    clock: Clock,
}

impl<P: Producer> WatcherService<P> {
    /// Puts the service together and starts its lanes; nothing is ordered before [`Self::run`]. The
    /// producer reports into `sink`.
    /// `database` is the source's, for the messages of gaps.
    pub fn new(
        config: Config,
        database: String,
        source: impl Source,
        producer: P,
        sink: Arc<ReportSink>,
        store: impl TokenStore,
        jitter: Jitter,
    ) -> (Self, watch::Receiver<Health>) {
        let (source_orders, source_inbox) = mpsc::channel(LANE_ORDERS);
        let (store_orders, store_inbox) = mpsc::channel(LANE_ORDERS);
        let (reply_sender, replies) = mpsc::channel(LANE_ORDERS);
        let lanes = Tasks::default();
        lanes.spawn(source_lane(source, source_inbox, reply_sender.clone()));
        lanes.spawn(store_lane(store, store_inbox, reply_sender, database.clone()));
        let (health, receiver) = HealthSign::new(SERVICE);
        let service = Self {
            config,
            database,
            sink,
            producer,
            source_orders,
            store_orders,
            replies,
            lanes,
            health,
            jitter,
            clock: Clock::default(),
        };
        (service, receiver)
    }

    /// Runs until the machine stops, and says why it did.
    pub async fn run(self, shutdown: Shutdown) -> Ended {
        self.drive(Watcher::new(), shutdown).await
    }

    async fn drive(self, machine: Watcher<Message, ResumeToken>, shutdown: Shutdown) -> Ended {
        let mut signals = shutdown.signals();
        let Self {
            config,
            database,
            sink,
            producer,
            source_orders,
            store_orders,
            mut replies,
            lanes,
            health,
            jitter,
            clock,
        } = self;
        let neighbours = Neighbours::new(config.token_store);
        let mut driver = Driver {
            machine,
            config,
            effects: Effects::new(),
            hands: Hands {
                producer: Some(producer),
                preparing: None,
                probing: None,
                growth: Growth::default(),
                source: source_orders,
                store: store_orders,
                timers: Timers::new(jitter, clock),
                refused: VecDeque::new(),
                publishing: Publishing::default(),
                published_now: 0,
                owed: Debts::default(),
                standing: neighbours,
                metrics: WatcherMetrics::new(),
                saved: None,
                standby: None,
                lag: SourceLag::default(),
                watched: Watched::new(database),
                told_too_large: Told::default(),
                sums: Sums::default(),
                seen: None,
                uncopied: None,
                last_failure: None,
            },
        };
        let mut reports = Vec::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let mut flow = driver.feed(Input::Start);
        while flow.is_continue() {
            if let Some(names) = driver.hands.seen.take() {
                health.watched(names);
            }
            if let Some(documents) = driver.hands.uncopied.take() {
                health.uncopied(documents);
            }
            let (trouble, missing) = (driver.hands.trouble(), driver.hands.watched.missing());
            health.update(driver.machine.state(), trouble.as_deref(), missing);
            health.unused_partitions(driver.hands.growth.unused());
            flow = tokio::select! {
                biased;
                signal = signals.next() => driver.feed(Input::Signal(signal)),
                () = sink.take(&mut reports) => driver.on_reports(&mut reports),
                Some(reply) = replies.recv() => driver.on_reply(reply),
                prepared = joined(&mut driver.hands.preparing) => driver.on_prepared(prepared),
                probed = joined(&mut driver.hands.probing) => {
                    driver.on_probed(probed);
                    ControlFlow::Continue(())
                }
                timer = driver.hands.timers.next() => driver.feed(Input::Timer(timer)),
                _ = tick.tick() => {
                    driver.on_tick();
                    ControlFlow::Continue(())
                }
            };
        }
        driver.hands.sums.say(true);
        health.update(driver.machine.state(), None, None);
        let cause = match flow {
            ControlFlow::Break(cause) => cause,
            ControlFlow::Continue(()) => Cause::Invariant("the driver's loop ended without a cause"),
        };
        shutdown.stopped(cause);
        let last_failure = driver.hands.last_failure.take();
        drop(driver);
        lanes.close(closing_time(cause)).await;
        Ended { cause, last_failure }
    }
}

/// A producer that is being made, together with the request that asked for it.
type Preparing<P> = JoinHandle<Prepared<P>>;
type Prepared<P> = (P, cdc_machine::EffectId, Result<Vec<TopicState>, Failure>);

/// Waits for a task; for ever where there is none.
async fn joined<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    }
}

/// Since when each neighbour owes an answer.
#[derive(Default)]
struct Debts {
    source: Owed,
    store: Owed,
    save: Owed,
    broker: Owed,
}

/// What each neighbour has shown of itself.
struct Neighbours {
    source: Standing,
    store: Standing,
    broker: Standing,
}

impl Neighbours {
    fn new(token_store: Dependency) -> Self {
        Self {
            source: Standing::new(Dependency::MongoDb.as_str()),
            store: Standing::new(token_store.as_str()),
            broker: Standing::new(Dependency::Kafka.as_str()),
        }
    }
}

/// A moment in the past, also one before this process began.
struct SavedAt {
    known_at: Instant,
    before: Duration,
}

impl SavedAt {
    fn ago(before: Duration) -> Self {
        Self { known_at: Instant::now(), before }
    }

    fn age(&self) -> Duration {
        self.before.saturating_add(self.known_at.elapsed())
    }
}

/// Everything that effects are carried out with. It holds no business state.
struct Hands<P> {
    producer: Option<P>,
    preparing: Option<Preparing<P>>,
    /// A sign of life that the brokers were asked for.
    probing: Option<JoinHandle<Result<Vec<u32>, Failure>>>,
    growth: Growth,
    source: mpsc::Sender<SourceOrder>,
    store: mpsc::Sender<StoreOrder>,
    timers: Timers<TimerKind>,
    /// Messages that the client refused on the spot; they become inputs after the step.
    refused: VecDeque<Input>,
    publishing: Publishing,
    published_now: u64,
    owed: Debts,
    standing: Neighbours,
    metrics: WatcherMetrics,
    /// When the position was saved; `None` until the store has told.
    saved: Option<SavedAt>,
    /// Who holds the lease, while it is waited for.
    standby: Option<Holder>,
    lag: SourceLag,
    watched: Watched,
    /// Events that do not fit, and were told of.
    told_too_large: Told,
    /// What the log is to tell of the events that were published since its last line.
    sums: Sums,
    /// What the probes are to be told of the watched names.
    seen: Option<Vec<WatchedName>>,
    /// What the probes are to be told of documents that are not copied.
    uncopied: Option<Vec<(String, u64)>>,
    /// The failure that was logged last.
    last_failure: Option<String>,
}

struct Driver<P> {
    machine: Watcher<Message, ResumeToken>,
    config: Config,
    effects: Effects<Effect>,
    hands: Hands<P>,
}

impl<P: Producer> Driver<P> {
    /// One step, and all that it orders; then the steps that refused messages give rise to.
    fn feed(&mut self, input: Input) -> ControlFlow<Cause> {
        self.step(input)?;
        while let Some(refused) = self.hands.refused.pop_front() {
            self.step(refused)?;
        }
        ControlFlow::Continue(())
    }

    fn step(&mut self, input: Input) -> ControlFlow<Cause> {
        if let Input::DeliveryTooLarge { marker, .. } = &input
            && self.config.on_too_large == OnTooLarge::Stop
        {
            self.hands.tell_too_large(marker, "the service stops at it, as on_too_large says");
        }
        let from = self.machine.state();
        let name = input.name();
        self.machine.step(&self.config, input, &mut self.effects);
        let to = self.machine.state();
        if from != to {
            self.hands.moved(from, to, name);
        }
        for effect in self.effects.drain() {
            self.hands.carry_out(effect)?;
        }
        let sent = std::mem::take(&mut self.hands.published_now);
        self.hands.publishing.sent(sent, self.hands.lag.newest_unix_seconds());
        ControlFlow::Continue(())
    }

    fn on_tick(&mut self) {
        self.hands.sums.say(false);
        let lag = self.hands.lag.seconds(self.hands.publishing.oldest_source_seconds());
        if let Some(lag) = lag {
            self.hands.metrics.common.lag.set(lag);
        }
        let hands = &self.hands;
        if let Some(saved) = &hands.saved {
            hands.metrics.token_age.set(saved.age().as_secs_f64());
        }
        hands.metrics.unsaved.set(self.machine.unsaved_events() as f64);
        hands.metrics.stale.absolute(self.machine.stale_inputs());
        if is_working(self.machine.state()) {
            self.hands.probe();
        }
    }

    fn log(&mut self, failure: &Failure, attempt: (u32, Option<u32>)) {
        self.hands.last_failure = Some(failure.to_string());
        self.hands.metrics.common.failed(failure.fault);
        let attempt = Attempt { retry: attempt.0, max: attempt.1 };
        report::failure(SERVICE, self.machine.state().as_str(), failure, attempt);
    }
}

impl<P: Producer> Hands<P> {
    /// Carries out one order. Every order has its line here; what it comes to returns as an input.
    fn carry_out(&mut self, effect: Effect) -> ControlFlow<Cause> {
        match effect {
            Effect::AcquireLease { id, over_damage } => {
                self.order_store(StoreOrder::Acquire { id, over_damage })
            }
            Effect::RenewLease { id } => self.order_store(StoreOrder::Renew { id }),
            Effect::ReleaseLease { id } => self.order_store(StoreOrder::Release { id }),
            Effect::SaveToken { id, token, lineage, amendment } => {
                self.owed.save.asked();
                self.sums.acknowledged(token.position().position);
                self.order_store(StoreOrder::Save { id, token, lineage, amendment })
            }
            Effect::OpenStream { epoch, from, lineage, reading } => {
                self.owed.source.asked();
                self.order_source(SourceOrder::Open { epoch, from, lineage, reading })
            }
            Effect::Pull { epoch, max_events, max_bytes } => {
                self.owed.source.asked();
                self.order_source(SourceOrder::Pull { epoch, max_events, max_bytes })
            }
            Effect::CloseStream { epoch: _ } => self.order_source(SourceOrder::Close),
            Effect::PrepareProducer { id, batching } => self.prepare(id, batching),
            Effect::Publish { seq, record, partitions } => {
                tracing::debug!(
                    service = SERVICE,
                    operation = "kafka_publish",
                    seq = seq.0,
                    topic = &*record.topic,
                    position = %record.position,
                    key_hash = %format_args!("{:016x}", key_hash(&record.key)),
                    bytes = record.value.len(),
                    "an event is published"
                );
                self.send(seq, |producer| producer.send(seq, record, partitions));
                ControlFlow::Continue(())
            }
            Effect::PublishControl { seq, records, copies } => {
                for record in &records {
                    self.send_control(seq, record, copies);
                }
                ControlFlow::Continue(())
            }
            Effect::PublishMarker { seq, marker } => {
                self.tell_too_large(&marker, "a marker without the body goes to the dead letters");
                self.send(seq, |producer| producer.send_marker(seq, marker));
                ControlFlow::Continue(())
            }
            Effect::LeaveOut { marker } => {
                self.tell_too_large(&marker, "it is left out, as on_too_large says");
                ControlFlow::Continue(())
            }
            Effect::PurgeQueued => {
                if let Some(producer) = &mut self.producer {
                    producer.purge_queued();
                }
                ControlFlow::Continue(())
            }
            Effect::SetTimer { timer, after } => {
                match timer.kind {
                    TimerKind::Reconnect | TimerKind::SaveRetry => self.timers.set_with_jitter(timer, after),
                    TimerKind::SaveSpacing
                    | TimerKind::SaveDelay
                    | TimerKind::IdleSave
                    | TimerKind::LeaseRenew
                    | TimerKind::LeaseWait
                    | TimerKind::Drain => self.timers.set(timer, after),
                }
                ControlFlow::Continue(())
            }
            Effect::CancelTimer { timer } => {
                self.timers.cancel(timer);
                ControlFlow::Continue(())
            }
            Effect::Stop { cause } => ControlFlow::Break(cause),
        }
    }

    fn order_source(&mut self, order: SourceOrder) -> ControlFlow<Cause> {
        match self.source.try_send(order) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(Cause::Invariant("the source lane has more orders than it can owe")),
        }
    }

    fn order_store(&mut self, order: StoreOrder) -> ControlFlow<Cause> {
        self.owed.store.asked();
        match self.store.try_send(order) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(Cause::Invariant("the store lane has more orders than it can owe")),
        }
    }

    fn moved(&self, from: StateName, to: StateName, input: &'static str) {
        self.metrics.common.moved(from, to);
        crate::log_transition(SERVICE, from, to, input);
    }

    /// Asks the brokers for a sign of life where there is nothing to publish, and now and then how large the topics
    /// are. The source is read all the time, and the store's lease is renewed; only the brokers can be quiet for
    /// long.
    fn probe(&mut self) {
        let is_quiet = !self.has_reports_due() && self.standing.broker.is_quiet();
        if self.probing.is_some() || !(is_quiet || self.growth.is_due()) {
            return;
        }
        self.growth.asked();
        if let Some(producer) = &self.producer {
            self.probing = Some(tokio::spawn(within_reason(producer.probe())));
        }
    }

    fn has_reports_due(&self) -> bool {
        self.publishing.age() > Duration::ZERO
    }

    /// Which neighbour gave a bad answer, or owes one for too long.
    fn trouble(&self) -> Option<String> {
        let Neighbours { source, store, broker } = &self.standing;
        if let Some(trouble) = [source, store, broker].into_iter().find_map(Standing::trouble) {
            return Some(trouble.to_owned());
        }
        if let Some(holder) = &self.standby {
            return Some(holder.why_waiting());
        }
        let debts = [
            ("mongodb", self.owed.source.age()),
            ("the token store", self.owed.store.age()),
            ("kafka", self.owed.broker.age().max(self.publishing.age())),
        ];
        let (name, age) = debts.into_iter().max_by_key(|(_, age)| *age)?;
        if age > PATIENCE {
            return Some(format!("{name} owes an answer for {} s", age.as_secs()));
        }
        self.watched.trouble()
    }
}
