//! A fresh database, the adapter on it, and a client that looks over its shoulder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cdc_devstack::{Postgres, PostgresOptions};
use cdc_machine::{Epoch, SeqNo};
use cdc_ports::{
    Database, KafkaRecord, LedgerClaim, RetryCounts, RetryReply, Share, TopicPartition, WriteCounts,
    WriteReply,
};
use cdc_postgres::{Endpoint, Namespace, PostgresDatabase, Settings, TableMapping};
use cdc_syncer::{
    Batch, Held, ParkedRows, Parking, Partition, Rejected, RejectedParked, RetryOutcome, Row, WorkerId,
    WriteOutcome,
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use crate::messages::Message;

static SERVER: OnceCell<Postgres> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The specification's table, as it stands there.
pub(crate) const PLAYERS: &str = "
CREATE TABLE players (
    id VARCHAR(24) PRIMARY KEY,
    username VARCHAR(255) NOT NULL,
    level INTEGER NOT NULL DEFAULT 1,
    score BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL DEFAULT NOW(),
    cdc_operation VARCHAR(20),
    cdc_timestamp TIMESTAMP NOT NULL,
    CONSTRAINT unique_username UNIQUE (username)
);
CREATE INDEX idx_players_level ON players(level);
CREATE INDEX idx_players_score ON players(score DESC);
CREATE INDEX idx_players_created_at ON players(created_at);
";

pub(crate) const PARTITION: Partition = Partition(0);
pub(crate) const EPOCH: Epoch = Epoch(1);

/// The keys of the only worker.
pub(crate) const ALL: Share = Share { worker: WorkerId(0), of: 1 };

const TOPIC: &str = "cdc.game_db.players";

/// One database of the shared server.
pub(crate) struct Stand {
    pub(crate) settings: Settings,
    pub(crate) client: Client,
    /// One partition each: partition 0 of ours belongs to the first.
    topics: Vec<String>,
}

impl Stand {
    /// A fresh database with this schema in it.
    pub(crate) async fn new(schema: &str) -> Self {
        let server =
            SERVER.get_or_init(|| async { Postgres::start(PostgresOptions::default()).await.unwrap() }).await;
        Self::on(server, schema).await
    }

    /// The same on this server.
    pub(crate) async fn on(server: &Postgres, schema: &str) -> Self {
        let name = format!("stand_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        server.execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let mut settings = Settings::new(Endpoint::Host(server.host().to_owned()), name, server.user());
        settings.port = server.port();
        settings.min_connections = 0;
        settings.max_connections = 4;
        settings.namespaces = [(TOPIC.to_owned(), Namespace::new("game_db", "players"))].into();
        let client = client(&settings, &settings.user).await;
        client.batch_execute(schema).await.unwrap();
        Self { settings, client, topics: vec![TOPIC.to_owned()] }
    }

    /// The adapter logs in as a role of its own from now on, which owns nothing and may do nothing but make the
    /// bookkeeping. Returns its name.
    pub(crate) async fn as_a_role_of_its_own(&mut self) -> String {
        let (database, role) = (&self.settings.database, format!("role_of_{}", self.settings.database));
        let sql = format!("CREATE ROLE {role} LOGIN; GRANT CREATE, CONNECT ON DATABASE {database} TO {role}");
        self.client.batch_execute(&sql).await.unwrap();
        self.settings.user.clone_from(&role);
        role
    }

    /// The topic carries another collection than its name tells.
    pub(crate) fn carrying(mut self, collection: &str) -> Self {
        self.settings.namespaces.insert(TOPIC.to_owned(), Namespace::new("game_db", collection));
        self
    }

    /// What is said of the first topic's table.
    pub(crate) fn mapped(mut self, mapping: TableMapping) -> Self {
        self.settings.tables.insert(self.topics[0].clone(), mapping);
        self
    }

    /// A topic for each of these collections, in the order of our partitions.
    pub(crate) fn carrying_all<'c>(mut self, collections: impl IntoIterator<Item = &'c str>) -> Self {
        self.topics = collections.into_iter().map(|collection| format!("cdc.game_db.{collection}")).collect();
        let bound = self.topics.iter().map(|topic| (topic.clone(), Namespace::of_topic(topic).unwrap()));
        self.settings.namespaces = bound.collect();
        self
    }

    /// The adapter, connected and with all partitions acquired.
    pub(crate) async fn database(&self) -> PostgresDatabase {
        let database = self.connected().await;
        database.acquire(&claims(self), 1).await.unwrap();
        database
    }

    /// The adapter, connected.
    pub(crate) async fn connected(&self) -> PostgresDatabase {
        let database = PostgresDatabase::new(self.settings.clone());
        database.connect().await.unwrap();
        database
    }

    /// Looks over its shoulder again after the server was away.
    pub(crate) async fn reconnect(&mut self) {
        self.client = client(&self.settings, &self.settings.user).await;
    }

    /// One value of one row, as PostgreSQL's own text; `None` for NULL.
    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        let wrapped = format!("SELECT (({sql})::text)");
        self.client.query_one(&wrapped, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        // Within a transaction PostgreSQL shows the sessions that there were when it was first asked.
        self.client.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        self.client.query_one(&format!("SELECT count(*) FROM {sql}"), &[]).await.unwrap().get(0)
    }

    /// Waits until some session of this database waits for a lock.
    pub(crate) async fn until_blocked(&self) {
        let blocked = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while self.count(blocked).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Claims of all topics' partitions.
pub(crate) fn claims(stand: &Stand) -> Vec<LedgerClaim> {
    let claim = |(partition, topic): (u32, &String)| LedgerClaim {
        partition: Partition(partition),
        epoch: EPOCH,
        name: TopicPartition { topic: Arc::from(topic.as_str()), partition: 0 },
    };
    (0..).zip(&stand.topics).map(claim).collect()
}

pub(crate) async fn client(settings: &Settings, user: &str) -> Client {
    let Endpoint::Host(host) = &settings.endpoint else { unreachable!("the stand uses TCP") };
    let (client, connection) = tokio_postgres::Config::new()
        .host(host)
        .port(settings.port)
        .dbname(&settings.database)
        .user(user)
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn claim(epoch: Epoch) -> LedgerClaim {
    LedgerClaim {
        partition: PARTITION,
        epoch,
        name: TopicPartition { topic: Arc::from(TOPIC), partition: 0 },
    }
}

/// A batch of the messages' partitions, in their order.
pub(crate) fn batch(messages: &[Message]) -> Batch<KafkaRecord> {
    mixed_batch(messages.iter().map(|it| (it.partition(), it.key().into(), Some(it.value().into()))))
}

/// Writes to partition 1, and expects every record to find its row.
pub(crate) async fn write_all_to(database: &PostgresDatabase, epoch: Epoch, messages: &[Message]) {
    let mut rows = batch(messages).rows().to_vec();
    for row in &mut rows {
        (row.partition, row.epoch) = (Partition(1), epoch);
    }
    let (_, rejected) = written(database.write(&Batch::new(rows), ALL, Parking::Off).await);
    assert_eq!(rejected, []);
}

pub(crate) fn batch_of(records: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Batch<KafkaRecord> {
    mixed_batch(records.into_iter().map(|(key, value)| (PARTITION, key, value)))
}

fn mixed_batch(
    records: impl IntoIterator<Item = (Partition, Vec<u8>, Option<Vec<u8>>)>,
) -> Batch<KafkaRecord> {
    let rows = records
        .into_iter()
        .enumerate()
        .map(|(index, (partition, key, value))| Row {
            partition,
            epoch: EPOCH,
            seq: SeqNo(index as u64),
            offset: i64::try_from(index).unwrap(),
            route: u64::MAX - index as u64,
            bytes: 0,
            handle: KafkaRecord::new(&key, value.as_deref(), b"", 0),
        })
        .collect();
    Batch::new(rows)
}

/// Writes, and expects the batch to be written.
pub(crate) async fn write(database: &PostgresDatabase, messages: &[Message]) -> (WriteCounts, Vec<Rejected>) {
    written(database.write(&batch(messages), ALL, Parking::Off).await)
}

pub(crate) fn written(reply: WriteReply) -> (WriteCounts, Vec<Rejected>) {
    let shown = format!("{:?}: {:?}", reply.outcome, reply.failure);
    let WriteOutcome::Written { rejected, .. } = reply.outcome else { panic!("{shown}") };
    (reply.counts, rejected)
}

/// Expects the batch to be written, all of it or around what is parked after it.
pub(crate) fn parked_after(reply: WriteReply) -> (WriteCounts, Vec<ParkedRows>) {
    let shown = format!("{:?}: {:?}", reply.outcome, reply.failure);
    let WriteOutcome::Written { rejected, parked } = reply.outcome else { panic!("{shown}") };
    assert_eq!(rejected, []);
    (reply.counts, parked)
}

/// Expects a retry of parked rows to be done; what is parked after it, and what is rejected.
pub(crate) fn retried(reply: RetryReply) -> (RetryCounts, Vec<ParkedRows>, Vec<RejectedParked<KafkaRecord>>) {
    let shown = format!("{:?}: {:?}", reply.outcome, reply.failure);
    let RetryOutcome::Done { parked, is_changed, rejected } = reply.outcome else { panic!("{shown}") };
    assert_eq!(is_changed, reply.counts.resolved + reply.counts.evicted > 0);
    (reply.counts, parked, rejected)
}

/// Why a look at the topic refuses its table.
pub(crate) async fn held(database: &PostgresDatabase, epoch: Epoch) -> Option<Held> {
    database.acquire(&[claim(epoch)], 1).await.unwrap().remove(0).held
}

/// Writes, and expects every record to find its row.
pub(crate) async fn write_all(database: &PostgresDatabase, messages: &[Message]) -> WriteCounts {
    let (counts, rejected) = write(database, messages).await;
    assert_eq!(rejected, []);
    counts
}
