//! PostgreSQL away for 25 seconds: no Syncer ends, whatever state the outage strikes it in, and nothing is given up.
//!
//! It takes no turn: five small Syncers, which mostly wait.

use std::collections::BTreeMap;
use std::time::Duration;

use cdc_devstack::Service;
use cdc_devstack::pipeline::Deployment;
use cdc_model::faults::State;
use cdc_tests::messages::Spelled;
use cdc_tests::site::{PATIENCE, Site, until_metric};
use cdc_tests::topic;

/// Below the 31 seconds of a connection's five retries.
const AWAY: Duration = Duration::from_secs(25);

/// Small windows, so that a standing table is soon felt, and a drain that outlasts the outage.
const SETTINGS: &[(&str, &str)] = &[
    ("CDC__BATCH__BUFFER_SIZE", "10"),
    ("CDC__WORKERS__CHANNEL_BUFFER", "10"),
    ("CDC__WORKERS__POOL_SIZE", "2"),
    ("CDC__SHUTDOWN__TIMEOUT", "80s"),
];
/// More than the Syncer has room for with these settings.
const CROWD: u64 = 200;
/// A few rows, which leave it room.
const FEW: u64 = 5;

/// Batches may hold their partitions, and nobody records the offsets of this one.
const LOCK_OFFSETS: &str =
    "SELECT FROM cdc.partitions WHERE topic = 'cdc.game_db.savingtoken' FOR NO KEY UPDATE";

/// A Syncer of its own group, on a topic and a table of its own.
struct Struck {
    state: State,
    table: String,
    topic: String,
    deployment: Deployment,
    service: Option<Service>,
    rows: u64,
}

impl Struck {
    async fn new(site: &Site, state: State) -> Self {
        let table = state.as_str().to_lowercase();
        let topic = format!("cdc.game_db.{table}");
        let make = format!("CREATE TABLE {table} (id text PRIMARY KEY, cdc_position bytea)");
        site.sql.batch_execute(&make).await.unwrap();
        site.log.create(&topic, 1, &[]).await.unwrap();
        let settings = [&[("CDC__KAFKA__CONSUMER_GROUP", table.as_str())], SETTINGS].concat();
        let deployment = site.syncer(&table, &topic, &settings).unwrap();
        Self { state, table, topic, deployment, service: None, rows: 0 }
    }

    fn put(&mut self, site: &Site, count: u64) {
        for n in self.rows..self.rows + count {
            let message = Spelled::upsert(&self.table, &format!("n-{n}"), "", n);
            site.log.put(&self.topic, 0, &message).unwrap();
        }
        site.log.flush().unwrap();
        self.rows += count;
    }

    async fn all_arrive(&self, site: &Site) {
        let rows = format!("SELECT count(*) FROM {}", self.table);
        site.until(&rows, i64::try_from(self.rows).unwrap()).await.unwrap();
    }

    /// Dead letters of all its processes. A metric is the last one's alone.
    fn fallen(&self, site: &Site) -> usize {
        let dead = format!("{}.dead-letters", self.topic);
        topic::read_raw(site.brokers(), &dead, &BTreeMap::new()).unwrap().len()
    }

    fn service(&mut self) -> &mut Service {
        self.service.as_mut().unwrap()
    }

    async fn reach(&mut self, state: State) {
        let labels = [("state", state.as_str())];
        until_metric(self.service(), "cdc_state", &labels, 1.0, PATIENCE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_25_seconds_ends_no_syncer_in_any_state() {
    let mut site = Site::start().await.unwrap();
    let mut all = Vec::new();
    for state in State::ALL {
        all.push(Struck::new(&site, state).await);
    }
    for struck in &mut all {
        struck.put(&site, FEW);
        if struck.state != State::Connecting {
            struck.service = Some(struck.deployment.start().await.unwrap());
            struck.all_arrive(&site).await;
        }
    }
    let other = site.session().await.unwrap();
    other.batch_execute("BEGIN; LOCK TABLE awaitingack, draining IN EXCLUSIVE MODE").await.unwrap();
    other.batch_execute(LOCK_OFFSETS).await.unwrap();
    for struck in &mut all {
        match struck.state {
            State::Connecting | State::Streaming => continue,
            State::AwaitingAck | State::SavingToken | State::Draining => struck.put(&site, CROWD),
        }
        if struck.state == State::Draining {
            struck.reach(State::AwaitingAck).await;
            struck.service().request_stop().unwrap();
        }
        struck.reach(struck.state).await;
    }

    site.postgres.kill().await;
    for struck in &mut all {
        if struck.state == State::Connecting {
            struck.service = Some(struck.deployment.spawn().unwrap());
            struck.reach(State::Connecting).await;
        } else if struck.state == State::Streaming {
            struck.put(&site, FEW);
        }
    }
    tokio::time::sleep(AWAY).await;
    for struck in &mut all {
        let status = struck.service().exit_status().unwrap();
        assert_eq!(status, None, "{:?}: {}", struck.state, site.last_words());
    }
    site.postgres.restart().await.unwrap();
    site.sql = site.session().await.unwrap();

    for struck in &mut all {
        if struck.state == State::Draining {
            let status = struck.service().exited(PATIENCE).await.unwrap();
            assert_eq!(status.code(), Some(0), "{}", site.last_words());
            struck.service = Some(struck.deployment.start().await.unwrap());
        }
        struck.put(&site, FEW);
        struck.all_arrive(&site).await;
        assert!(struck.service().exit_status().unwrap().is_none());
        assert_eq!(struck.service().terminate(PATIENCE).await.unwrap().code(), Some(0));
        assert_eq!(struck.fallen(&site), 0, "{:?}", struck.state);
    }
}
