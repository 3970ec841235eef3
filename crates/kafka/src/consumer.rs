mod launch;
mod offsets;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use cdc_machine::{EffectId, Fault};
use cdc_ports::{
    ConsumerEvent, Failure, MissingTopic, RecordConsumer, RejectedRecord, TopicPartition, similar,
};
use cdc_syncer::{FetchStart, LogBounds, Partition};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::classify::failure_from;
use crate::config;
use crate::dead_letter::DeadLetters;
use crate::guarded::ClientKind;
use crate::partitions::PartitionNames;
use crate::poller::{Command, Voice};
use crate::probe::{PROBE, PROBE_TIMEOUT, SILENT, leaders_answer};
use crate::rebalance::GroupClient;
use crate::settings::{ConsumerSettings, dead_letter_topic};
use crate::topics::listed;
use launch::{JOIN_TIMEOUT, LEADER_TIMEOUT, Launch};
use offsets::ENDS_TIMEOUT;

/// The longest that a commit may take. librdkafka itself gives up within its session time-out.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest that leaving may take. After it the client closes by itself, or with the process.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A revocation must be confirmed this long before the session would end.
const REVOCATION_MARGIN: Duration = Duration::from_secs(4);
/// How much longer than the machine's deadline the consumer's thread waits: it answers only for a driver that does not.
const REVOCATION_GRACE: Duration = Duration::from_millis(500);
/// Events that the driver has not read yet. One answer per fetch and one event per rebalance: this many mean
/// that it reads none.
const EVENTS_MAX: usize = 256;

/// A member of the consumer group. Clones are handles to the same client.
///
/// The member is static: its name in the group is `instance`, and a process that comes back under it within
/// the session time-out gets its partitions back without a rebalance. [`RecordConsumer::leave`] leaves the
/// group explicitly, so that the others go on at once; a process that is killed does not.
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
    client: Weak<GroupClient>,
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

    fn client(&self, operation: &'static str) -> Result<Weak<GroupClient>, Failure> {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|session| Weak::clone(&session.client)).ok_or_else(|| not_joined(operation))
    }

    /// Runs a blocking call of the client off the runtime, for a bounded time.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        timeout: Duration,
        call: impl FnOnce(&GroupClient) -> Result<T, Failure> + Send + 'static,
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
            revocation_deadline: self.revocation_deadline() + REVOCATION_GRACE,
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
        // Longer than subscribing takes, unless many addresses stand behind the names of brokers that do not answer.
        let within = JOIN_TIMEOUT + LEADER_TIMEOUT * 2 + LEAVE_TIMEOUT;
        let Ok(joined) = tokio::time::timeout(within, joined).await else {
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
        let within = offsets::COMMITTED_TIMEOUT + JOIN_TIMEOUT;
        self.call(offsets::COMMITTED, within, move |client| offsets::committed(client, asked, &names)).await
    }

    async fn log_bounds(&self, partitions: &[Partition]) -> Result<Vec<Option<LogBounds>>, Failure> {
        let names: Vec<TopicPartition> = partitions.iter().map(|partition| self.name(*partition)).collect();
        let within = offsets::BOUNDS_TIMEOUT;
        self.call(offsets::BOUNDS, within, move |client| offsets::bounds(client, &names)).await
    }

    async fn log_ends(&self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, Failure> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let asked = self.list(partitions.iter().map(|partition| (*partition, Offset::End)))?;
        let names: Vec<TopicPartition> = partitions.iter().map(|partition| self.name(*partition)).collect();
        self.call(offsets::ENDS, ENDS_TIMEOUT * 2, move |client| offsets::ends(client, asked, &names)).await
    }

    async fn missing_topics(&self) -> Result<Vec<MissingTopic>, Failure> {
        const OPERATION: &str = "kafka_topics";
        let topics: Vec<String> =
            self.inner.settings.topics.iter().filter(|topic| !topic.starts_with('^')).cloned().collect();
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let template = self.inner.settings.dead_letter_topic.clone();
        self.call(OPERATION, ENDS_TIMEOUT * 2, move |client| {
            let mut there = listed(client.client(), OPERATION, ENDS_TIMEOUT)?;
            there.retain(|_, partitions| !partitions.is_empty());
            Ok(without_partitions(topics, &there, &template))
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
        let named = self.inner.settings.named_topic().map(ToOwned::to_owned);
        self.call(PROBE, PROBE_TIMEOUT * 2, move |client| {
            let answer = match &named {
                Some(topic) => {
                    leaders_answer(client.client(), &[topic], Instant::now() + PROBE_TIMEOUT).map(drop)
                }
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

/// The topics that do not exist, each with an existing one of a similar name. A topic of dead letters is never meant.
fn without_partitions(
    topics: Vec<String>,
    there: &BTreeMap<String, Vec<i32>>,
    dead_letter_template: &str,
) -> Vec<MissingTopic> {
    let missing: Vec<String> = topics.into_iter().filter(|topic| !there.contains_key(topic)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let dead: HashSet<String> =
        there.keys().map(|topic| dead_letter_topic(dead_letter_template, topic)).collect();
    let others: Vec<&str> = there.keys().filter(|name| !dead.contains(*name)).map(String::as_str).collect();
    let suggest = |topic: String| {
        let similar = similar(&topic, &others).map(ToOwned::to_owned);
        MissingTopic { topic, similar }
    };
    missing.into_iter().map(suggest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_topic_is_told_one_like_it_that_is_no_dead_letter_topic() {
        let there: BTreeMap<String, Vec<i32>> =
            ["dead.orders", "orders"].map(|name| (name.to_owned(), vec![0])).into();
        let topics = ["orders", "orderss", "dead.order"].map(ToOwned::to_owned).to_vec();
        let found = without_partitions(topics, &there, "dead.{topic}");
        let found: Vec<_> = found.iter().map(|it| (it.topic.as_str(), it.similar.as_deref())).collect();
        assert_eq!(found, [("orderss", Some("orders")), ("dead.order", None)]);
    }
}
