//! One stack, and for each case a collection, a topic and a token record of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use bson::{Document, doc};
use cdc_devstack::pipeline::{Deployment, Endpoints, Role, SOURCE_DATABASE};
use cdc_devstack::{KafkaOptions, MongodOptions, Options, Service, Stack};
use cdc_tests::testbed::Testbed;
use cdc_tests::topic::{self, TopicMessage};
use cdc_tests::waiting::until;
use mongodb::{Client, Collection, Database};
use serde_json::Value;

/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(45);

/// Of each topic: enough for "every one of them", few enough to be read again and again.
pub(crate) const PARTITIONS: usize = 2;

pub(crate) const STOP: &str = "stop";
pub(crate) const FROM_NOW: &str = "from_now";

pub(crate) struct Rig {
    pub(crate) stack: Stack,
    pub(crate) endpoints: Endpoints,
    pub(crate) mongo: Client,
    pub(crate) database: Database,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        // An oplog that is cut soon, and at each checkpoint; it has room for an event that fits no reply.
        let args = ["--syncdelay", "1"].map(str::to_owned).to_vec();
        let mongod = MongodOptions { oplog_mb: 64, args, ..MongodOptions::default() };
        // What nobody has ruled on, everybody may: one case forbids a question.
        let authorizer = [
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            ("allow.everyone.if.no.acl.found", "true"),
        ];
        let properties = authorizer.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let kafka = KafkaOptions { properties, ..KafkaOptions::default() };
        let Testbed { stack, endpoints, mongo, .. } =
            Testbed::with(Options { mongod, kafka, ..Options::default() }).await.unwrap();
        let database = mongo.database(SOURCE_DATABASE);
        Self { stack, endpoints, mongo, database }
    }

    pub(crate) fn case(&self, collection: &str) -> Case<'_> {
        Case {
            rig: self,
            collections: collection.to_owned(),
            topic: format!("cdc.{SOURCE_DATABASE}.{collection}"),
            key: format!("token:{collection}"),
            file: None,
        }
    }

    pub(crate) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.stack.redis.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

/// What one case has of its own.
pub(crate) struct Case<'a> {
    pub(crate) rig: &'a Rig,
    /// One, or several with commas between them; the first one's topic is `topic`.
    pub(crate) collections: String,
    pub(crate) topic: String,
    pub(crate) key: String,
    /// The token file, where there is one.
    pub(crate) file: Option<std::path::PathBuf>,
}

impl Case<'_> {
    pub(crate) fn deployment(&self, policy: &str, more: &[(&str, &str)]) -> Deployment {
        let file = self.file.as_ref().map(|path| path.display().to_string());
        let mut settings = vec![
            ("CDC__MONGODB__COLLECTION", self.collections.as_str()),
            ("CDC__KAFKA__TOPIC", "cdc.{database}.{collection}"),
            ("CDC__KAFKA__PARTITIONS", "2"),
            ("CDC__TOKEN_STORAGE__REDIS__KEY", self.key.as_str()),
            ("CDC__ON_HISTORY_LOST", policy),
        ];
        if let Some(file) = &file {
            settings.extend([("CDC__TOKEN_STORAGE__TYPE", "file"), ("CDC__TOKEN_STORAGE__FILE__PATH", file)]);
        }
        settings.extend(more);
        let name = self.key.replace(':', "-");
        Deployment::new(Role::Watcher, &name, self.rig.stack.folder(), &self.rig.endpoints, &settings)
            .unwrap()
    }

    pub(crate) async fn start(&self, policy: &str) -> Service {
        self.deployment(policy, &[]).start().await.unwrap()
    }

    /// Starts a Watcher that is to end by itself, and says how.
    pub(crate) async fn exit_code(&self, policy: &str) -> Option<i32> {
        let mut service = self.deployment(policy, &[]).spawn().unwrap();
        service.exited(PATIENCE).await.unwrap().code()
    }

    pub(crate) fn documents(&self) -> Collection<Document> {
        let first = self.collections.split(',').next().unwrap();
        self.rig.database.collection(first)
    }

    pub(crate) async fn insert(&self, id: i32) {
        self.documents().insert_one(doc! { "_id": id, "username": format!("u{id}") }).await.unwrap();
    }

    fn messages(&self) -> Vec<TopicMessage> {
        topic::read_all(&self.rig.endpoints.kafka_brokers, &self.topic).unwrap()
    }

    /// The `_id`s whose insertions the topic holds, each once, sorted.
    pub(crate) fn inserted(&self) -> Vec<i64> {
        let inserts =
            self.messages().into_iter().filter(|message| message.value["operation_type"] == "insert");
        let mut ids: Vec<i64> =
            inserts.filter_map(|message| message.value["document_key"]["_id"].as_i64()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// In which partition each key's messages of this kind stand; a key in two of them panics.
    pub(crate) fn partitions_of_keys(&self, operation: &str) -> BTreeMap<String, i32> {
        let mut found = BTreeMap::new();
        for message in self.messages() {
            if message.value["operation_type"] == operation {
                let before = found.insert(message.key.clone(), message.partition);
                assert!(before.is_none_or(|before| before == message.partition), "{} moved", message.key);
            }
        }
        found
    }

    pub(crate) async fn until_inserted(&self, expected: &[i64]) {
        until(&format!("{:?} to arrive in {}", expected, self.topic), async || self.inserted() == expected)
            .await;
    }

    /// Partitions that hold such a control message, with the number of its copies in all.
    pub(crate) fn told(&self, operation: &str) -> (usize, usize) {
        let told: Vec<_> = self
            .messages()
            .into_iter()
            .filter(|message| message.value["operation_type"] == operation)
            .inspect(|message| assert_eq!(message.key, "cdc.control"))
            .map(|message| message.partition)
            .collect();
        let partitions: std::collections::BTreeSet<_> = told.iter().collect();
        (partitions.len(), told.len())
    }

    pub(crate) async fn content(&self) -> Option<Vec<u8>> {
        match &self.file {
            Some(file) => std::fs::read(file).ok(),
            None => {
                let command = redis::cmd("GET").arg(&self.key).to_owned();
                command.query_async(&mut self.rig.redis().await).await.unwrap()
            }
        }
    }

    pub(crate) async fn put(&self, content: &[u8]) {
        match &self.file {
            Some(file) => std::fs::write(file, content).unwrap(),
            None => {
                let command = redis::cmd("SET").arg(&self.key).arg(content).to_owned();
                command.exec_async(&mut self.rig.redis().await).await.unwrap();
            }
        }
    }

    pub(crate) async fn remove(&self) {
        match &self.file {
            Some(file) => std::fs::remove_file(file).unwrap(),
            None => {
                let command = redis::cmd("DEL").arg(&self.key).to_owned();
                command.exec_async(&mut self.rig.redis().await).await.unwrap();
            }
        }
    }

    pub(crate) async fn record(&self) -> Value {
        serde_json::from_slice(&self.content().await.unwrap()).unwrap()
    }

    /// The causes of the recorded gaps, oldest first.
    pub(crate) async fn causes(&self) -> Vec<String> {
        let record = self.record().await;
        let gaps = record["gaps"].as_array().unwrap().iter();
        gaps.map(|gap| gap["cause"].as_str().unwrap().to_owned()).collect()
    }

    /// One gap is on record, in every partition, in the metric; and the stream goes on behind it.
    pub(crate) async fn shows_one_gap(&self, service: &Service, cause: &str) {
        // What the first request alone shows, shows after the start.
        until("a gap on record", async || !self.causes().await.is_empty()).await;
        assert_eq!(self.causes().await, [cause]);
        until("the gap to be announced", async || {
            self.record().await["gaps"][0]["announced"].as_bool() == Some(true)
        })
        .await;
        let (partitions, copies) = self.told("gap");
        assert_eq!(partitions, PARTITIONS, "{copies} copies in all");
        assert_eq!(gaps_open(service).await, 1.0);
    }
}

/// Runs a command, and returns its exit code with all that it said.
pub(crate) async fn run(case: &Case<'_>, command: &[&str]) -> (Option<i32>, String) {
    let output = case.deployment(STOP, &[]).run(command).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

pub(crate) async fn gaps_open(service: &Service) -> f64 {
    service.metrics().await.unwrap().value("cdc_gaps_open", &[]).unwrap()
}

pub(crate) async fn finish(mut service: Service) {
    assert_eq!(service.terminate(Duration::from_secs(25)).await.unwrap().code(), Some(0));
}
