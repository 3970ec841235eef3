//! The Watcher's executor: one driver loop owns the machine; the source and the token store have a task
//! each; the producer is called from the loop itself, which is therefore the one sequencer (trap T6).

mod answers;
mod growth;
mod lag;
mod neighbours;
mod orders;
mod publishing;
mod sampled;
mod sending;
mod sums;
mod tasks;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use cdc_event::{Message, ResumeToken};
use cdc_machine::{Cause, Effects, Machine};
use cdc_watcher::{Config, OnTooLarge, TimerKind, TopicState, Watcher};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use self::growth::Growth;
use self::lag::SourceLag;
use self::neighbours::{Neighbours, Pending, SavedAt};
use self::publishing::Publishing;
use self::sampled::SampledEvents;
use self::sums::Sums;
use self::tasks::{Reply, SourceOrder, StoreOrder, source_task, store_task};
use self::watched::Watched;
use crate::clock::Clock;
use crate::given_up::Told;
use crate::health::{HealthSign, WatchedName, is_working};
use crate::jitter::Jitter;
use crate::metrics::WatcherMetrics;
use crate::observer::Observer;
use crate::report::{self, Attempt};
use crate::shutdown::{Tasks, closing_time};
use crate::timers::Timers;
use crate::{Ended, Health, Shutdown, TASK_ORDERS, TICK};
use cdc_ports::{Failure, Holder, Producer, ReportSink, Source, TokenStore};
use cdc_traces::Traces;

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
    tasks: Tasks,
    health: HealthSign,
    identified: oneshot::Sender<()>,
    until_identified: Option<oneshot::Receiver<()>>,
    jitter: Jitter,
    clock: Clock,
    traces: Traces,
}

impl<P: Producer> WatcherService<P> {
    /// Puts the service together and starts its tasks; nothing is ordered before [`Self::run`]. The
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
        let (source_orders, source_inbox) = mpsc::channel(TASK_ORDERS);
        let (store_orders, store_inbox) = mpsc::channel(TASK_ORDERS);
        let (reply_sender, replies) = mpsc::channel(TASK_ORDERS);
        let tasks = Tasks::default();
        tasks.spawn(source_task(source, source_inbox, reply_sender.clone()));
        tasks.spawn(store_task(store, store_inbox, reply_sender, database.clone()));
        let (health, receiver) = HealthSign::new(SERVICE);
        let (identified, until_identified) = oneshot::channel();
        let service = Self {
            config,
            database,
            sink,
            producer,
            source_orders,
            store_orders,
            replies,
            tasks,
            health,
            identified,
            until_identified: Some(until_identified),
            jitter,
            clock: Clock::default(),
            traces: Traces::off(),
        };
        (service, receiver)
    }

    /// Where the spans of what it does go.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.traces = traces;
        self
    }

    /// Waits until the source has said who it is, or the service ends.
    pub fn until_identified(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let waiting = self.until_identified.take();
        async move {
            if let Some(waiting) = waiting {
                // A service that ends drops its end.
                let _ = waiting.await;
            }
        }
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
            tasks,
            health,
            identified,
            until_identified: _,
            jitter,
            clock,
            traces,
        } = self;
        let neighbours = Neighbours::new(config.token_store);
        let observer = Observer::begin(&traces, SERVICE, machine.state());
        let mut driver = Driver {
            machine,
            observer,
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
                sampled: SampledEvents::new(traces),
                published_now: 0,
                pending: Pending::default(),
                neighbours,
                metrics: WatcherMetrics::new(),
                saved: None,
                source_name: None,
                identified: Some(identified),
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
        // Whoever hears that it has stopped may send its last spans.
        driver.observer.end(cause);
        shutdown.stopped(cause);
        replies.close();
        let last_failure = driver.hands.last_failure.take();
        drop(driver);
        tasks.close(closing_time(cause)).await;
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
    sampled: SampledEvents,
    published_now: u64,
    pending: Pending,
    neighbours: Neighbours,
    metrics: WatcherMetrics,
    /// When the position was saved; `None` until the store has told.
    saved: Option<SavedAt>,
    /// Who the source is, once it has said so: what the token record has to belong to. Told to whoever waits for that.
    source_name: Option<Arc<str>>,
    identified: Option<oneshot::Sender<()>>,
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
    observer: Observer,
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
        if let Input::DeliveryTooLarge { marker, .. } = &input {
            self.tell_too_large(marker);
        }
        let from = self.machine.state();
        let name = input.name();
        self.observer.hears(|| input.answers());
        self.machine.step(&self.config, input, &mut self.effects);
        let to = self.machine.state();
        if from != to {
            self.hands.moved(from, to, name);
        }
        self.observer.stepped((from, to), name, || self.machine.waits_for().as_str());
        for effect in self.effects.as_slice() {
            self.observer.orders(|| (effect.request(), effect.called_off()));
        }
        for effect in self.effects.drain() {
            self.hands.carry_out(effect)?;
        }
        let sent = std::mem::take(&mut self.hands.published_now);
        self.hands.publishing.sent(sent, self.hands.lag.newest_unix_seconds());
        ControlFlow::Continue(())
    }

    /// Says of an event that does not fit what becomes of it by policy. A marker of it is told of when it is sent.
    fn tell_too_large(&mut self, marker: &Message) {
        match self.config.on_too_large {
            OnTooLarge::DeadLetter => {}
            OnTooLarge::Skip => self.hands.tell_too_large(marker, "it is left out, as on_too_large says"),
            OnTooLarge::Stop => {
                self.hands.tell_too_large(marker, "the service stops at it, as on_too_large says");
            }
        }
    }

    fn on_tick(&mut self) {
        self.observer.tick();
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
