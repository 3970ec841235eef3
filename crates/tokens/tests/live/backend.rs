//! What the suite needs of a backend: stores over named cells, and a way to tamper with a cell.

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cdc_event::{Position, ResumeToken};
use cdc_machine::Lineage;
use cdc_ports::{Acquisition, StoreIdentity, TokenRecord, TokenStore, Watched};
use cdc_tokens::{FileRegister, FileStore, RedisRegister, RedisSettings, RedisStore};
use cdc_watcher::{Contents, Known, RecordChange};
use tempfile::TempDir;

pub(crate) const LINEAGE: Lineage = Lineage(1_700_000_000);

/// Long enough that nothing runs out by itself in a test.
pub(crate) const LONG: Duration = Duration::from_secs(15);
/// Short enough to be waited for.
pub(crate) const SHORT: Duration = Duration::from_millis(50);

pub(crate) trait Backend {
    type Store: TokenStore;

    fn store_of(&self, cell: &str, identity: StoreIdentity, instance: &str, ttl: Duration) -> Self::Store;
    /// A store in a place that nobody has chosen, and where its record may be instead.
    fn standby_by_default(
        &self,
        cell: &str,
        earlier: &[&str],
        identity: StoreIdentity,
        instance: &str,
    ) -> Self::Store;
    fn get(&self, cell: &str) -> impl Future<Output = Option<String>>;
    /// `None` removes the cell.
    fn put(&self, cell: &str, content: Option<&str>) -> impl Future<Output = ()>;

    fn store(&self, cell: &str, instance: &str) -> Self::Store {
        self.store_of(cell, identity(), instance, LONG)
    }

    /// A store that has the lease.
    async fn holder(&self, cell: &str, instance: &str) -> Self::Store {
        let mut store = self.store(cell, instance);
        owned(store.acquire(false).await.unwrap());
        store
    }

    fn store_by_default(&self, cell: &str, earlier: &[&str], identity: StoreIdentity) -> Self::Store {
        self.standby_by_default(cell, earlier, identity, "a")
    }
}

pub(crate) struct Files {
    pub(crate) folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, cell: &str) -> PathBuf {
        self.folder.path().join(cell)
    }
}

impl Backend for Files {
    type Store = FileStore;

    fn store_of(&self, cell: &str, identity: StoreIdentity, instance: &str, ttl: Duration) -> FileStore {
        FileStore::new(self.path(cell), identity, instance).unwrap().with_lease_ttl(ttl)
    }

    fn standby_by_default(
        &self,
        cell: &str,
        earlier: &[&str],
        identity: StoreIdentity,
        instance: &str,
    ) -> FileStore {
        let earlier = earlier.iter().map(|cell| FileRegister::new(self.path(cell)).unwrap()).collect();
        self.store_of(cell, identity, instance, LONG).by_default(earlier)
    }

    async fn get(&self, cell: &str) -> Option<String> {
        std::fs::read_to_string(self.path(cell)).ok()
    }

    async fn put(&self, cell: &str, content: Option<&str>) {
        match content {
            Some(content) => std::fs::write(self.path(cell), content).unwrap(),
            None => std::fs::remove_file(self.path(cell)).unwrap(),
        }
    }
}

/// One test for each backend.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_redis {
            $(#[tokio::test] async fn $name() { super::$name(crate::backend::Redis::start()).await; })*
        }
        mod on_file {
            $(#[tokio::test] async fn $name() { super::$name(crate::backend::Files::new()).await; })*
        }
    };
}
pub(crate) use on_both;

/// A Redis server that ends with the test.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port, &[])
    }

    pub(crate) fn start_on(port: u16, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(port, &folder, more);
        Self { child, port, folder }
    }

    /// One that keeps what it has acknowledged.
    pub(crate) fn durable() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port, DURABLE)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts a killed one again, on its data, and waits until it has loaded them.
    pub(crate) async fn restart(&mut self) {
        self.restart_loading(&[]);
        let patience = Instant::now() + Duration::from_secs(20);
        while self.ping().await.is_err() {
            assert!(Instant::now() < patience, "redis-server in {:?} does not load its data", self.folder);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The same, but returns as soon as the port is open. The server answers every command with LOADING until its data
    /// are read.
    pub(crate) fn restart_loading(&mut self, more: &[&str]) {
        self.child = spawn(self.port, &self.folder, &[DURABLE, more].concat());
    }

    async fn ping(&self) -> ::redis::RedisResult<()> {
        let client = ::redis::Client::open(format!("redis://127.0.0.1:{}/0", self.port))?;
        ::redis::cmd("PING").exec_async(&mut client.get_multiplexed_async_connection().await?).await
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// A place that writes can no longer be saved to.
    pub(crate) fn remove_folder(&self) {
        std::fs::remove_dir_all(self.folder.path()).unwrap();
    }

    pub(crate) fn settings(&self, key: &str) -> RedisSettings {
        RedisSettings {
            addr: format!("127.0.0.1:{}", self.port),
            username: None,
            password: None,
            db: 0,
            key: key.to_owned(),
        }
    }

    /// A connection of the test's own.
    pub(crate) async fn connection(&self) -> ::redis::aio::MultiplexedConnection {
        let client = ::redis::Client::open(format!("redis://127.0.0.1:{}/0", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

/// Redis' own words for what `durable` promises.
const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no"];

#[expect(clippy::disallowed_methods, reason = "a test's set-up, before anything runs beside it")]
fn spawn(port: u16, folder: &TempDir, more: &[&str]) -> Child {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder.path())
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server on PATH (Debian: apt-get install redis-server)");
    let patience = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < patience, "redis-server in {folder:?} does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Backend for Redis {
    type Store = RedisStore;

    fn store_of(&self, cell: &str, identity: StoreIdentity, instance: &str, ttl: Duration) -> RedisStore {
        RedisStore::new(self.settings(cell), identity, instance).unwrap().with_lease_ttl(ttl)
    }

    fn standby_by_default(
        &self,
        cell: &str,
        earlier: &[&str],
        identity: StoreIdentity,
        instance: &str,
    ) -> RedisStore {
        let earlier = earlier.iter().map(|cell| RedisRegister::new(self.settings(cell)).unwrap()).collect();
        self.store_of(cell, identity, instance, LONG).by_default(earlier)
    }

    async fn get(&self, cell: &str) -> Option<String> {
        ::redis::cmd("GET").arg(cell).query_async(&mut self.connection().await).await.unwrap()
    }

    async fn put(&self, cell: &str, content: Option<&str>) {
        let command = match content {
            Some(content) => ::redis::cmd("SET").arg(cell).arg(content).to_owned(),
            None => ::redis::cmd("DEL").arg(cell).to_owned(),
        };
        command.exec_async(&mut self.connection().await).await.unwrap();
    }
}

pub(crate) fn identity() -> StoreIdentity {
    StoreIdentity { source: "rs0/game_db".to_owned(), collections: vec![watched("players")] }
}

pub(crate) fn watched(name: &str) -> Watched {
    Watched { name: name.to_owned(), topic: format!("cdc.game_db.{name}") }
}

pub(crate) const KNOWN: Known =
    Known { contents: Contents::Uuid([7; 16]), partitions: Some(8), holds_messages: true };

/// A save that changes nothing but the position.
pub(crate) fn plain() -> RecordChange<ResumeToken> {
    RecordChange { known: vec![KNOWN], gaps: Vec::new(), announced: true }
}

/// The token of the `n`th event.
pub(crate) fn token(n: u32) -> ResumeToken {
    let bson = bson::rawdoc! { "_data": format!("826B045F8E{n:08X}2B0229296E04") };
    let mut position = LINEAGE.0.to_be_bytes().to_vec();
    position.extend(0x6B04_5F8E_u32.to_be_bytes());
    position.extend(n.to_be_bytes());
    position.extend([0x29, 0x29, 0x6E]);
    ResumeToken {
        bson: Bytes::from(bson.into_bytes()),
        position: Position::from_bytes(&position).unwrap(),
        rests_on: None,
    }
}

/// The record that came with the lease.
#[track_caller]
pub(crate) fn owned(acquisition: Acquisition) -> Option<TokenRecord> {
    match acquisition {
        Acquisition::Empty => None,
        Acquisition::Position { record, .. } => Some(*record),
        other => panic!("not ours: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn held(acquisition: Acquisition) -> (String, Duration) {
    match acquisition {
        Acquisition::Held { holder, expires_in, .. } => (holder.instance, expires_in),
        other => panic!("not held: {other:?}"),
    }
}

/// Tokens are equal where their positions are; here the bytes have to be, too.
#[track_caller]
pub(crate) fn assert_same(found: &ResumeToken, expected: &ResumeToken) {
    assert_eq!((&found.bson, found.position), (&expected.bson, expected.position));
}
