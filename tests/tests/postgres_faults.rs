//! What PostgreSQL alone goes through: deadlocks, a full disk, a lock that is held for a minute. A real server, a Syncer
//! in a state that its `/metrics` tells right before the strike, and in the end every row.
//!
//! These take no turn: they wait for PostgreSQL's own time-outs and hardly load the machine.

use std::ops::Range;
use std::time::Duration;

use cdc_devstack::Service;
use cdc_model::faults::{State, cells};
use cdc_tests::messages::Spelled;
use cdc_tests::say;
use cdc_tests::site::{PATIENCE, Site, metric, until_metric};
use cdc_tests::small_disk::SmallDisk;

const TOPIC: &str = "cdc.game_db.crowd";
const TABLE: &str = "crowd";
const ROWS: &str = "SELECT count(*) FROM crowd";
const RENEWED: &str = "SELECT count(*) FROM crowd WHERE bio LIKE 'y%'";

/// Small windows, so that a standing table is soon felt.
const SETTINGS: &[(&str, &str)] = &[
    ("CDC__BATCH__BUFFER_SIZE", "10"),
    ("CDC__WORKERS__CHANNEL_BUFFER", "10"),
    ("CDC__WORKERS__POOL_SIZE", "2"),
];
/// More than the Syncer has room for with these settings.
const CROWD: u64 = 200;
/// A few rows, which leave it room.
const FEW: u64 = 5;
/// Bytes of each document; no page of PostgreSQL's holds ten of them.
const BIO_BYTES: usize = 1_000;
/// Of the disk that is filled: the table's pages and the ballast.
const DISK_BYTES: u64 = 4 * 1024 * 1024;
/// PostgreSQL looks for a deadlock once in each wait, this long after it began: late enough for the test to close
/// the circle meanwhile.
const DEADLOCK_TIMEOUT: &str = "ALTER DATABASE postgres SET deadlock_timeout = '5s'";
/// The test's own session never looks: whoever looks is the victim.
const NEVER_LOOK: &str = "SET deadlock_timeout = '1h'";

const LOCK_ROWS: &str = "BEGIN; LOCK TABLE crowd IN EXCLUSIVE MODE";
/// Statements may still be prepared, which a lock of the whole table would hold up outside of any transaction.
const LOCK_EACH_ROW: &str = "BEGIN; SELECT FROM crowd FOR UPDATE";
const WAITERS: &str = "SELECT least(count(*), 1) FROM pg_locks AS held JOIN pg_locks AS wanted USING (pid) \
     WHERE held.relation = 'cdc.partitions'::regclass AND held.granted AND NOT wanted.granted";
const DEADLOCKS: &str = "SELECT least(deadlocks, 1) FROM pg_stat_database WHERE datname = 'postgres'";

/// A Syncer that works on a table of the test's making.
struct Scene {
    site: Site,
    syncer: Service,
    /// Rows that have been put into the log, each once.
    rows: u64,
    /// How many of them have been put once more.
    renewed: u64,
}

impl Scene {
    /// `tablespace` names the table's, where it is not the server's own.
    async fn begin(site: Site, tablespace: Option<&str>) -> Self {
        let tablespace = tablespace.map_or_else(String::new, |name| format!(" TABLESPACE {name}"));
        let table = format!(
            "CREATE TABLE {TABLE} (id text PRIMARY KEY, bio text, cdc_position bytea){tablespace}; \
             ALTER TABLE {TABLE} ALTER COLUMN bio SET STORAGE PLAIN"
        );
        site.sql.batch_execute(&table).await.unwrap();
        site.log.create(TOPIC, 2, &[]).await.unwrap();
        let syncer = site.syncer("crowd", TOPIC, SETTINGS).unwrap().start().await.unwrap();
        let mut scene = Self { site, syncer, rows: 0, renewed: 0 };
        scene.put(FEW);
        scene.all_arrive().await;
        scene
    }

    /// So many rows more.
    fn put(&mut self, count: u64) {
        self.send(self.rows..self.rows + count, "x", 0);
        self.rows += count;
    }

    /// A newer version of so many rows.
    fn renew(&mut self, count: u64) {
        self.send(0..count, "y", 1_000_000);
        self.renewed = count;
    }

    fn send(&self, rows: Range<u64>, letter: &str, from_position: u64) {
        let bio = format!(",\"bio\":\"{}\"", letter.repeat(BIO_BYTES));
        for n in rows {
            let message = Spelled::upsert(TABLE, &format!("c-{n}"), &bio, from_position + n);
            self.site.log.put(TOPIC, i32::try_from(n % 2).unwrap(), &message).unwrap();
        }
        self.site.log.flush().unwrap();
    }

    async fn all_arrive(&self) {
        self.site.until(ROWS, i64::try_from(self.rows).unwrap()).await.unwrap();
        self.site.until(RENEWED, i64::try_from(self.renewed).unwrap()).await.unwrap();
    }

    /// Fills the log behind a table that stands still, until the Syncer says that it is in this state.
    async fn fill_until(&mut self, state: State, fill: impl FnOnce(&mut Self, u64)) {
        match state {
            State::Streaming => {}
            State::AwaitingAck | State::Draining => fill(self, CROWD),
            State::Connecting | State::SavingToken => panic!("the Syncer writes nothing in {state:?}"),
        }
        if state == State::Draining {
            until_metric(&self.syncer, "cdc_state", &[("state", "AwaitingAck")], 1.0, PATIENCE)
                .await
                .unwrap();
            self.syncer.request_stop().unwrap();
        }
        until_metric(&self.syncer, "cdc_state", &[("state", state.as_str())], 1.0, PATIENCE).await.unwrap();
    }

    /// Every row is there in the end, and the Syncer has outlived the fault.
    async fn outlives(mut self, state: State) {
        if state == State::Draining {
            let status = self.syncer.exited(PATIENCE).await.unwrap();
            assert_eq!(status.code(), Some(0), "{}", self.site.last_words());
            self.syncer = self.site.syncer("crowd", TOPIC, SETTINGS).unwrap().start().await.unwrap();
        }
        self.put(FEW);
        self.all_arrive().await;
        assert!(self.syncer.exit_status().unwrap().is_none());
        assert_eq!(self.syncer.terminate(PATIENCE).await.unwrap().code(), Some(0));
    }

    async fn failures(&self) -> f64 {
        metric(&self.syncer, "syncer_errors_total", &[]).await
    }
}

/// The states in which the list of faults has this test strike.
fn states(test: &str) -> impl Iterator<Item = State> {
    cells().filter(move |cell| cell.test.name == test).map(|cell| cell.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_tried_again() {
    for state in states("a_deadlock_is_tried_again") {
        let site = Site::start().await.unwrap();
        site.sql.batch_execute(DEADLOCK_TIMEOUT).await.unwrap();
        let mut scene = Scene::begin(site, None).await;
        scene.put(CROWD);
        scene.all_arrive().await;
        let other = scene.site.session().await.unwrap();
        other.batch_execute(NEVER_LOOK).await.unwrap();
        other.batch_execute(LOCK_EACH_ROW).await.unwrap();
        scene.fill_until(state, Scene::renew).await;
        if state == State::Streaming {
            scene.renew(FEW);
        }
        // The Syncer holds its partitions and waits for a row, which the other session holds; that one now waits for
        // the partitions.
        scene.site.until(WAITERS, 1).await.unwrap();
        let closing = other.batch_execute("LOCK TABLE cdc.partitions IN EXCLUSIVE MODE");
        tokio::time::timeout(PATIENCE, closing).await.unwrap().unwrap();
        other.batch_execute("ROLLBACK").await.unwrap();
        scene.site.until(DEADLOCKS, 1).await.unwrap();
        scene.outlives(state).await;
        say(&format!("a deadlock in {state:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_waited_for() {
    for state in states("a_full_disk_is_waited_for") {
        let site = Site::start().await.unwrap();
        let Some(disk) = SmallDisk::mount(DISK_BYTES, site.postgres.owner()).unwrap() else {
            say("no disk was filled: this user may not mount one");
            return;
        };
        let make = format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display());
        site.sql.batch_execute(&make).await.unwrap();
        let mut scene = Scene::begin(site, Some("small")).await;
        let other = scene.site.session().await.unwrap();
        other.batch_execute(LOCK_ROWS).await.unwrap();
        scene.fill_until(state, Scene::put).await;
        disk.fill().unwrap();
        let before = scene.failures().await;
        other.batch_execute("ROLLBACK").await.unwrap();
        if state == State::Streaming {
            scene.put(CROWD);
        }
        until_metric(&scene.syncer, "syncer_errors_total", &[], before + 1.0, PATIENCE).await.unwrap();
        disk.empty().unwrap();
        scene.outlives(state).await;
        say(&format!("a full disk in {state:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_held_for_a_minute_is_waited_for() {
    const MINUTE: Duration = Duration::from_secs(60);
    let mut scene = Scene::begin(Site::start().await.unwrap(), None).await;
    let other = scene.site.session().await.unwrap();
    other.batch_execute(LOCK_ROWS).await.unwrap();
    scene.fill_until(State::AwaitingAck, Scene::put).await;
    tokio::time::sleep(MINUTE).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    scene.outlives(State::AwaitingAck).await;
}
