//! A client's thread, from its first question to its end.

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cdc_ports::Failure;
use rdkafka::consumer::Consumer as _;

use crate::classify::failure_from;
use crate::client_errors::ClientErrors;
use crate::config;
use crate::orphans;
use crate::partitions::PartitionNames;
use crate::poller::{Command, Poller, Voice};
use crate::probe::any_leader_answers;
use crate::reach;
use crate::rebalance::{GroupCallbacks, GroupClient};
use crate::settings::ConsumerSettings;

/// The longest that the brokers may take to answer a new client.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a broker which leads partitions may then take.
pub(super) const LEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Errors that are taken from a client that could not join. It reports each only once.
const ERRORS_MAX: u32 = 64;

/// Polls the client for its errors: they wait in its queue, one for each poll.
fn listen(client: &GroupClient) {
    for _ in 0..ERRORS_MAX {
        drop(client.poll(Duration::ZERO));
    }
}

/// Waits until the brokers answer, and subscribes. Blocks for at most [`JOIN_TIMEOUT`], and then for [`LEADER_TIMEOUT`], or
/// for as long as [`reach::in_words`] does where none answered.
fn subscribe(client: &GroupClient, settings: &ConsumerSettings) -> Result<(), Failure> {
    let named = settings.named_topic();
    let answered = client.fetch_metadata(named, JOIN_TIMEOUT).map_err(|error| {
        listen(client);
        let failure =
            client.context().explain(failure_from("kafka_join", "the brokers did not answer", &error));
        reach::in_words(failure, &settings.connection.brokers)
    })?;
    if let Some(topic) = answered.topics().iter().find(|topic| named == Some(topic.name())) {
        // Any broker tells of the others; whether they can be reached at what they announce shows only there.
        any_leader_answers(client.client(), topic, LEADER_TIMEOUT).map_err(|error| {
            let what = format!("no broker that leads a partition of {} answers", topic.name());
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
pub(super) struct Launch {
    pub(super) settings: ConsumerSettings,
    pub(super) names: Arc<PartitionNames>,
    pub(super) voice: Voice,
    pub(super) revocation_deadline: Duration,
    pub(super) orders: Receiver<Command>,
    pub(super) joined: tokio::sync::oneshot::Sender<Result<Weak<GroupClient>, Failure>>,
}

impl Launch {
    /// The thread's whole life. The answer to the join is given before a client that failed is closed, which
    /// may take long.
    pub(super) fn run(self) {
        let created = config::consumer(&self.settings)
            .create_with_context(GroupCallbacks::new(ClientErrors::default()))
            .map_err(|error| failure_from("kafka_join", "a consumer could not be made", &error));
        let client: Arc<GroupClient> = match created {
            Ok(client) => Arc::new(client),
            Err(failed) => return answer(self.joined, Err(failed)),
        };
        match subscribe(&client, &self.settings) {
            Ok(()) => {
                let _until_it_ends = self.look_out(&client);
                answer(self.joined, Ok(Arc::downgrade(&client)));
                Poller::new(client, self.orders, self.voice, self.names, self.revocation_deadline).run();
            }
            Err(failed) => {
                client.context().close();
                answer(self.joined, Err(failed));
            }
        }
    }

    /// Without the thread everything works except that partitions which a crash left without a member stay so, and that a
    /// client without brokers stays silent. It ends when what is returned is dropped.
    fn look_out(&self, client: &Arc<GroupClient>) -> Sender<()> {
        let (until, ended) = std::sync::mpsc::channel();
        let (client, deadline) = (Arc::downgrade(client), self.revocation_deadline);
        let settings = self.settings.clone();
        let spawned = std::thread::Builder::new()
            .name("kafka-lookout".to_owned())
            .spawn(move || orphans::look_out(&client, &ended, &settings, deadline));
        if let Err(error) = spawned {
            tracing::warn!(%error, "the thread that looks after the group and the client could not be started");
        }
        until
    }
}

fn answer(
    joined: tokio::sync::oneshot::Sender<Result<Weak<GroupClient>, Failure>>,
    result: Result<Weak<GroupClient>, Failure>,
) {
    if joined.send(result).is_err() {
        tracing::debug!("nobody waits for the consumer to join any more");
    }
}
