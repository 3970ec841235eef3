use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use cdc_executor::ports::{
    ConsumerEvent, Failure, MissingTopic, RecordConsumer, RejectedRecord, TopicPartition,
};
use cdc_executor::similar;
use cdc_machine::{EffectId, Fault};
use cdc_syncer::{FetchStart, LogBounds, Partition};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::classify::failure_from;
use crate::complaints::Complaints;
use crate::config;
use crate::dead_letter::DeadLetters;
use crate::orphans;
use crate::owned::ClientKind;
use crate::partitions::PartitionNames;
use crate::poller::{Command, Poller, Voice};
use crate::producer::{PROBE, PROBE_TIMEOUT, SILENT};
use crate::reach;
use crate::rebalance::GroupCallbacks;
use crate::settings::ConsumerSettings;
use crate::topics::{any_leader_answers, sign_of_life};

/// The longest that the brokers may take to answer a new client.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Complaints of a client that could not join which are listened to; it says each only once.
const COMPLAINTS_MAX: u32 = 64;
/// The longest that a broker which leads partitions may then take.
const LEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that committed offsets may take to be read.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that one partition's bounds may take to be read, and all of them.
const BOUNDS_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const BOUNDS_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest that the ends of all logs, or the list of the topics, may take to be read: nobody waits for them.
const ENDS_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that a commit may take. librdkafka itself gives up within its session time-out.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest that leaving may take. After it the client closes by itself, or with the process.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A revocation must be confirmed this long before the session would end.
const REVOCATION_MARGIN: Duration = Duration::from_secs(4);
/// Events that the driver has not read yet. One answer per fetch and one event per rebalance: this many mean
/// that it reads none.
const EVENTS_MAX: usize = 256;

type Client = BaseConsumer<GroupCallbacks>;

/// A member of the consumer group. Clones are handles to the same client.
///
/// The member is static: its name in the group is `instance`, and a process that comes back under it within
/// the session time-out gets its partitions back without a rebalance. [`RecordConsumer::leave`] leaves the
/// group in so many words, so that the others go on at once; a process that is killed does not.
///
/// The partition assignor is cooperative-sticky and cannot be changed, so partitions that stay keep their
/// records and their place through a rebalance. librdkafka itself fetches nothing while a revocation waits
/// to be confirmed.
#[derive(Clone)]
pub struct KafkaConsumer {
    inner: Arc<Inner>,
}

struct Inner {
    settings: ConsumerSettings,
    names: Arc<PartitionNames>,
    sender: tokio::sync::mpsc::Sender<(u64, ConsumerEvent)>,
    receiver: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<(u64, ConsumerEvent)>>,
    /// Of the client that may speak.
    session: AtomicU64,
    running: Mutex<Option<Session>>,
    dead_letters: DeadLetters,
}

/// A client and its thread. The thread owns the client: it must not be dropped on a runtime's thread, where
/// closing would block.
struct Session {
    commands: Sender<Command>,
    client: Weak<Client>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl KafkaConsumer {
    /// A consumer that has not joined yet.
    #[must_use]
    pub fn new(settings: ConsumerSettings) -> Self {
        let (sender, receiver) = tokio::sync::mpsc::channel(EVENTS_MAX);
        let dead_letters = DeadLetters::new(settings.clone());
        Self {
            inner: Arc::new(Inner {
                settings,
                names: Arc::default(),
                sender,
                receiver: tokio::sync::Mutex::new(receiver),
                session: AtomicU64::new(0),
                running: Mutex::new(None),
                dead_letters,
            }),
        }
    }

    fn order(&self, command: Command) {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        // A client that died has said so itself; orders to it are void.
        let heard = running.as_ref().is_some_and(|session| session.commands.send(command).is_ok());
        if !heard {
            tracing::debug!("an order to the Kafka consumer came after its end");
        }
    }

    fn client(&self, operation: &'static str) -> Result<Weak<Client>, Failure> {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|session| Weak::clone(&session.client)).ok_or_else(|| not_joined(operation))
    }

    /// Runs a blocking call of the client off the runtime, for a bounded time.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        timeout: Duration,
        call: impl FnOnce(&Client) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let client = self.client(operation)?;
        let called = tokio::task::spawn_blocking(move || {
            let client = client.upgrade().ok_or_else(|| not_joined(operation))?;
            call(&client).map_err(|failed| client.context().explain(failed))
        });
        match tokio::time::timeout(timeout, called).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Failure::new(
                Fault::Bug,
                operation,
                "a call of the Kafka consumer panicked, which is a bug",
            )
            .because(panic)),
            Err(elapsed) => Err(Failure::new(
                Fault::Transient,
                operation,
                "the brokers did not answer in time; it is tried again",
            )
            .because(elapsed)),
        }
    }

    fn list(
        &self,
        partitions: impl Iterator<Item = (Partition, Offset)>,
    ) -> Result<TopicPartitionList, Failure> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            let name = self.name(partition);
            list.add_partition_offset(&name.topic, name.partition, offset).map_err(|error| {
                failure_from("kafka_offsets", &format!("{}/{}", name.topic, name.partition), &error)
            })?;
        }
        Ok(list)
    }
}

fn not_joined(operation: &'static str) -> Failure {
    Failure::new(
        Fault::Transient,
        operation,
        "there is no Kafka consumer at the moment; one is made at the next connection",
    )
}

/// Hears what lies in the client's queue: its complaints wait there until it is polled, one at a time.
fn listen(client: &Client) {
    for _ in 0..COMPLAINTS_MAX {
        drop(client.poll(Duration::ZERO));
    }
}

/// Waits until the brokers answer, and subscribes. Blocks for at most [`JOIN_TIMEOUT`] and twice [`LEADER_TIMEOUT`].
fn subscribe(client: &Client, settings: &ConsumerSettings) -> Result<(), Failure> {
    let named = settings.topics.iter().find(|topic| !topic.starts_with('^')).map(String::as_str);
    let answered = client.fetch_metadata(named, JOIN_TIMEOUT).map_err(|error| {
        listen(client);
        let failure =
            client.context().explain(failure_from("kafka_join", "the brokers did not answer", &error));
        reach::in_words(failure, &settings.connection.brokers)
    })?;
    if let Some(topic) = named {
        // Any broker tells of the others; whether they can be reached at what they announce shows only there.
        any_leader_answers(client.client(), topic, LEADER_TIMEOUT).map_err(|error| {
            let what = format!("no broker that leads a partition of {topic} answers");
            listen(client);
            client.context().explain(failure_from("kafka_join", &what, &error))
        })?;
    }
    for topic in answered.topics().iter().filter(|topic| topic.partitions().is_empty()) {
        // No failure: the group is told of it once it exists.
        tracing::warn!(
            topic = topic.name(),
            "the topic does not exist yet; the Syncer waits for it. The Watcher makes it at its start"
        );
    }
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    client
        .subscribe(&topics)
        .map_err(|error| failure_from("kafka_join", &format!("subscribing to {topics:?}"), &error))
}

/// What a consumer's thread is made with.
struct Launch {
    settings: ConsumerSettings,
    names: Arc<PartitionNames>,
    voice: Voice,
    revocation_deadline: Duration,
    orders: Receiver<Command>,
    joined: tokio::sync::oneshot::Sender<Result<Weak<Client>, Failure>>,
}

impl Launch {
    /// The thread's whole life. The answer to the join is given before a client that failed is closed, which
    /// may take long.
    fn run(self) {
        let created = config::consumer(&self.settings)
            .create_with_context(GroupCallbacks::new(Complaints::default()))
            .map_err(|error| failure_from("kafka_join", "a consumer could not be made", &error));
        let client: Arc<Client> = match created {
            Ok(client) => Arc::new(client),
            Err(failed) => return answer(self.joined, Err(failed)),
        };
        match subscribe(&client, &self.settings) {
            Ok(()) => {
                let _until_it_ends = self.look_out_for_orphans(&client);
                answer(self.joined, Ok(Arc::downgrade(&client)));
                Poller::new(client, self.orders, self.voice, self.names, self.revocation_deadline).run();
            }
            Err(failed) => {
                client.context().close();
                answer(self.joined, Err(failed));
            }
        }
    }

    /// Without the thread everything works but for partitions that a crash has left to nobody. It ends when what is
    /// returned is dropped.
    fn look_out_for_orphans(&self, client: &Arc<Client>) -> Sender<()> {
        let (until, ended) = std::sync::mpsc::channel();
        let (client, deadline) = (Arc::downgrade(client), self.revocation_deadline);
        let (group, instance) = (self.settings.group.clone(), self.settings.instance.clone());
        let spawned = std::thread::Builder::new()
            .name("kafka-orphans".to_owned())
            .spawn(move || orphans::look_out(&client, &ended, (&group, &instance), deadline));
        if let Err(error) = spawned {
            tracing::warn!(%error, "the thread that looks for partitions without a member could not be started");
        }
        until
    }
}

fn answer(
    joined: tokio::sync::oneshot::Sender<Result<Weak<Client>, Failure>>,
    result: Result<Weak<Client>, Failure>,
) {
    if joined.send(result).is_err() {
        tracing::debug!("nobody waits for the consumer to join any more");
    }
}

impl RecordConsumer for KafkaConsumer {
    async fn join(&self) -> Result<(), Failure> {
        config::check_properties(ClientKind::Consumer, &self.inner.settings.connection)?;
        self.leave().await;
        let number = self.inner.session.fetch_add(1, Ordering::AcqRel) + 1;
        let (commands, orders) = std::sync::mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (answer, joined) = tokio::sync::oneshot::channel();
        let launch = Launch {
            settings: self.inner.settings.clone(),
            names: Arc::clone(&self.inner.names),
            voice: Voice { session: number, events: self.inner.sender.clone() },
            revocation_deadline: self.revocation_deadline(),
            orders,
            joined: answer,
        };
        let spawned = std::thread::Builder::new().name("kafka-consumer".to_owned()).spawn(move || {
            launch.run();
            drop(end);
        });
        spawned.map_err(|error| {
            Failure::new(Fault::Transient, "kafka_join", "the consumer's thread could not be started")
                .because(error)
        })?;
        let Ok(joined) =
            tokio::time::timeout(JOIN_TIMEOUT + LEADER_TIMEOUT * 2 + LEAVE_TIMEOUT, joined).await
        else {
            let text = "the Kafka client was not ready in time; it is made anew";
            return Err(Failure::new(Fault::Transient, "kafka_join", text));
        };
        let client = joined.map_err(|gone| {
            Failure::new(Fault::Bug, "kafka_join", "the consumer's thread panicked, which is a bug")
                .because(gone)
        })??;
        *self.inner.running.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Session { commands, client, ended });
        Ok(())
    }

    async fn leave(&self) {
        let session = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Session { commands, client: _, ended }) = session else { return };
        // A thread that has ended needs no order.
        let _ = commands.send(Command::Leave);
        if tokio::time::timeout(LEAVE_TIMEOUT, ended).await.is_err() {
            tracing::warn!(
                "the Kafka consumer is still closing; the group gives its partitions away when its session ends"
            );
        }
    }

    async fn event(&self) -> ConsumerEvent {
        let mut events = self.inner.receiver.lock().await;
        loop {
            match events.recv().await {
                Some((session, event)) if session == self.inner.session.load(Ordering::Acquire) => {
                    return event;
                }
                Some((session, _)) => tracing::debug!(session, "a former consumer's event is dropped"),
                // Unreachable while `inner` holds a sender; there is nothing to tell.
                None => std::future::pending().await,
            }
        }
    }

    fn name(&self, partition: Partition) -> TopicPartition {
        self.inner
            .names
            .name(partition)
            .unwrap_or_else(|| TopicPartition { topic: Arc::from("(unknown)"), partition: -1 })
    }

    async fn committed(&self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, Failure> {
        let asked = self.list(partitions.iter().map(|partition| (*partition, Offset::Invalid)))?;
        let names: Vec<TopicPartition> = partitions.iter().map(|partition| self.name(*partition)).collect();
        self.call("kafka_committed", COMMITTED_TIMEOUT + JOIN_TIMEOUT, move |client| {
            let answered = client.committed_offsets(asked, COMMITTED_TIMEOUT).map_err(|error| {
                failure_from("kafka_committed", "the group's offsets could not be read", &error)
            })?;
            names.iter().map(|name| committed_offset(&answered, name)).collect()
        })
        .await
    }

    async fn log_bounds(&self, partitions: &[Partition]) -> Result<Vec<Option<LogBounds>>, Failure> {
        let names: Vec<TopicPartition> = partitions.iter().map(|partition| self.name(*partition)).collect();
        self.call("kafka_log_bounds", BOUNDS_TIMEOUT, move |client| {
            let sizes = topic_sizes(client, &names)?;
            names
                .iter()
                .map(|TopicPartition { topic, partition }| {
                    if sizes.get(topic).is_none_or(|size| *partition >= *size) {
                        return Ok(None);
                    }
                    let bounds = client.fetch_watermarks(topic, *partition, BOUNDS_REQUEST_TIMEOUT);
                    let (first, end) = bounds.map_err(|error| {
                        let what = format!("the offsets that {topic}/{partition} holds could not be read");
                        failure_from("kafka_log_bounds", &what, &error)
                    })?;
                    Ok(Some(LogBounds { first, end }))
                })
                .collect()
        })
        .await
    }

    async fn log_ends(&self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, Failure> {
        const OPERATION: &str = "kafka_log_ends";
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        // A request by time, one for each leader; librdkafka passes the end on as it is.
        let asked = self.list(partitions.iter().map(|partition| (*partition, Offset::End)))?;
        let names: Vec<TopicPartition> = partitions.iter().map(|partition| self.name(*partition)).collect();
        self.call(OPERATION, ENDS_TIMEOUT * 2, move |client| {
            let answered = client.offsets_for_times(asked, ENDS_TIMEOUT).map_err(|error| {
                failure_from(OPERATION, "the ends of the partitions' logs could not be read", &error)
            })?;
            let end_of = |name: &TopicPartition| {
                let element = answered.find_partition(&name.topic, name.partition)?;
                match (element.error(), element.offset()) {
                    (Ok(()), Offset::Offset(end)) => Some(end),
                    _ => None,
                }
            };
            Ok(names.iter().map(end_of).collect())
        })
        .await
    }

    async fn missing_topics(&self) -> Result<Vec<MissingTopic>, Failure> {
        const OPERATION: &str = "kafka_topics";
        let topics: Vec<String> =
            self.inner.settings.topics.iter().filter(|topic| !topic.starts_with('^')).cloned().collect();
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        self.call(OPERATION, ENDS_TIMEOUT * 2, move |client| {
            let answered = client
                .fetch_metadata(None, ENDS_TIMEOUT)
                .map_err(|error| failure_from(OPERATION, "the brokers did not list their topics", &error))?;
            let there: Vec<&str> = answered
                .topics()
                .iter()
                .filter(|topic| !topic.partitions().is_empty())
                .map(rdkafka::metadata::MetadataTopic::name)
                .collect();
            let is_missing = |topic: &String| !there.contains(&topic.as_str());
            let missing = topics.into_iter().filter(is_missing);
            let suggest = |topic: String| {
                let others = there.iter().filter(|name| !name.ends_with(".dead-letters"));
                let others: Vec<&str> = others.copied().collect();
                let similar = similar(&topic, &others).map(ToOwned::to_owned);
                MissingTopic { topic, similar }
            };
            Ok(missing.map(suggest).collect())
        })
        .await
    }

    async fn commit(&self, offsets: &[(Partition, i64)]) -> Result<(), Failure> {
        if offsets.is_empty() {
            return Ok(());
        }
        let list =
            self.list(offsets.iter().map(|(partition, offset)| (*partition, Offset::Offset(*offset))))?;
        self.call("kafka_commit", COMMIT_TIMEOUT, move |client| {
            client.commit(&list, CommitMode::Sync).map_err(|error| {
                failure_from("kafka_commit", "the group's offsets were not committed", &error)
            })
        })
        .await
    }

    fn start(&self, starts: &[FetchStart]) {
        self.order(Command::Start(starts.to_vec()));
    }

    fn stop(&self, partitions: &[Partition]) {
        self.order(Command::Stop(partitions.to_vec()));
    }

    fn fetch(&self, max_records: u32, max_bytes: u64) {
        self.order(Command::Fetch { max_records, max_bytes });
    }

    fn pause(&self) {
        self.order(Command::Pause);
    }

    fn resume(&self) {
        self.order(Command::Resume);
    }

    fn confirm_revoked(&self, id: EffectId) {
        self.order(Command::ConfirmRevoked(id));
    }

    async fn dead_letter(&self, record: RejectedRecord) -> Result<(), Failure> {
        self.inner.dead_letters.put(record).await
    }

    async fn probe(&self) -> Result<(), Failure> {
        let topics = &self.inner.settings.topics;
        let named = topics.iter().find(|topic| !topic.starts_with('^')).cloned();
        self.call(PROBE, PROBE_TIMEOUT * 2, move |client| {
            let answer = match &named {
                Some(topic) => sign_of_life(client.client(), topic, Instant::now() + PROBE_TIMEOUT).map(drop),
                None => client.fetch_metadata(None, PROBE_TIMEOUT).map(drop),
            };
            answer.map_err(|error| failure_from(PROBE, SILENT, &error))
        })
        .await
    }

    fn revocation_deadline(&self) -> Duration {
        let session = self.inner.settings.session_timeout;
        session.saturating_sub(REVOCATION_MARGIN).max(session / 2)
    }
}

/// How many partitions each of these topics has now. Asked first: for the bounds of a partition that does not exist
/// librdkafka would look until its time is up.
fn topic_sizes(client: &Client, names: &[TopicPartition]) -> Result<HashMap<Arc<str>, i32>, Failure> {
    let topics: HashSet<&Arc<str>> = names.iter().map(|name| &name.topic).collect();
    let mut sizes = HashMap::new();
    for topic in topics {
        let answered = client.fetch_metadata(Some(topic), BOUNDS_REQUEST_TIMEOUT).map_err(|error| {
            failure_from("kafka_log_bounds", &format!("the partitions of {topic} could not be read"), &error)
        })?;
        let size = answered.topics().iter().find(|it| it.name() == &**topic).map(|it| it.partitions().len());
        sizes.insert(Arc::clone(topic), size.and_then(|size| i32::try_from(size).ok()).unwrap_or(0));
    }
    Ok(sizes)
}

fn committed_offset(answered: &TopicPartitionList, name: &TopicPartition) -> Result<Option<i64>, Failure> {
    let what = || format!("the group's offset of {}/{}", name.topic, name.partition);
    let Some(element) = answered.find_partition(&name.topic, name.partition) else { return Ok(None) };
    element.error().map_err(|error| failure_from("kafka_committed", &what(), &error))?;
    match element.offset() {
        Offset::Offset(offset) => Ok(Some(offset)),
        Offset::Invalid | Offset::Beginning | Offset::End | Offset::Stored | Offset::OffsetTail(_) => {
            Ok(None)
        }
    }
}
