//! What breaks in Redis: each fault's class, what the store does next, and that nothing confirmed is lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::{Failure, TokenStore};
use cdc_tokens::RedisStore;

use crate::backend::{Backend, LINEAGE, Redis, assert_same, identity, owned, plain, token};

const KEY: &str = "cdc:watcher:resume_token";

/// A holder that has saved token 1.
async fn holder(server: &Redis) -> RedisStore {
    let mut store = server.store(KEY, "a");
    owned(store.acquire(false).await.unwrap());
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();
    store
}

async fn save(store: &mut RedisStore, n: u32) -> Result<(), Failure> {
    store.save(&token(n), LINEAGE, &plain()).await.map(drop)
}

/// The save fails for now, and the same one succeeds once the server is well.
async fn refused_for_now(store: &mut RedisStore, n: u32) {
    let failure = save(store, n).await.unwrap_err();
    assert_eq!((failure.fault, failure.operation), (Fault::Transient, "token_save"), "{failure}");
    assert!(failure.message.contains("trying again"), "{failure}");
}

async fn saved(store: &mut RedisStore, n: u32) {
    save(store, n).await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(n));
}

async fn command(server: &Redis, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.exec_async(&mut server.connection().await).await.unwrap();
}

#[tokio::test]
async fn killed_and_started_again_on_its_data() {
    let mut server = Redis::durable();
    let mut store = holder(&server).await;
    server.kill();
    refused_for_now(&mut store, 2).await;
    server.restart().await;
    assert_same(&server.store(KEY, "b").peek().await.unwrap().unwrap().token, &token(1));
    saved(&mut store, 3).await;
}

#[tokio::test]
async fn paused_and_resumed() {
    let server = Redis::start();
    let mut store = holder(&server).await;
    server.signal("-STOP");
    refused_for_now(&mut store, 2).await;
    // A connection is accepted by the kernel; nobody answers on it.
    refused_for_now(&mut store, 2).await;
    server.signal("-CONT");
    saved(&mut store, 3).await;
}

#[tokio::test]
async fn loading_its_data() {
    let mut server = Redis::durable();
    let fill = "for n = 1, 3000 do redis.call('SET', 'filler:' .. n, string.rep('x', 100)) end";
    command(&server, &["EVAL", fill, "0"]).await;
    let mut store = holder(&server).await;
    server.kill();
    server.restart_loading(&["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]);
    let mut is_said = false;
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(failure) = save(&mut store, 2).await {
        assert_eq!(failure.fault, Fault::Transient, "{failure}");
        assert!(tokio::time::Instant::now() < patience, "{failure}");
        is_said |= failure.to_string().contains("is loading the dataset");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_said, "it took up its work without loading");
    saved(&mut store, 3).await;
}

#[tokio::test]
async fn cannot_save_its_snapshots() {
    let server = Redis::start();
    let mut store = holder(&server).await;
    command(&server, &["CONFIG", "SET", "save", "3600 1"]).await;
    server.remove_folder();
    command(&server, &["BGSAVE"]).await;
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    let failure = loop {
        // The failure shows once the child that was to save has ended.
        match save(&mut store, 2).await {
            Err(failure) => break failure,
            Ok(()) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(tokio::time::Instant::now() < patience, "writes go on");
    };
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    assert!(failure.to_string().contains("MISCONF"), "{failure}");
    command(&server, &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await;
    saved(&mut store, 3).await;
}

#[tokio::test]
async fn every_connection_dropped_while_idle() {
    let server = Redis::start();
    let mut store = holder(&server).await;
    for n in 2..5 {
        command(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        // The first command may be the one that finds out; the next has a connection of its own.
        if let Err(failure) = save(&mut store, n).await {
            assert_eq!(failure.fault, Fault::Transient, "{failure}");
            save(&mut store, n).await.unwrap();
        }
        assert_same(&store.peek().await.unwrap().unwrap().token, &token(n));
    }
}

#[tokio::test]
async fn a_user_that_may_not_write_and_a_password_that_has_changed() {
    let server = Redis::start();
    let mut holder = holder(&server).await;
    command(&server, &["ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-set"]).await;
    let mut settings = server.settings(KEY);
    settings.username = Some("reader".to_owned());
    settings.password = Some("secret".to_owned().into());
    let mut reader = RedisStore::new(settings, identity(), "a").unwrap();
    let failure = reader.acquire(false).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Auth, "{failure}");
    assert!(failure.message.contains("the user may run"), "{failure}");

    let mut admin = server.connection().await;
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("new").exec_async(&mut admin).await.unwrap();
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
    kill.exec_async(&mut admin).await.unwrap();
    let mut last = save(&mut holder, 2).await.unwrap_err();
    if last.fault == Fault::Transient {
        last = save(&mut holder, 2).await.unwrap_err();
    }
    assert_eq!(last.fault, Fault::Auth, "{last}");
}

/// A replica that was behind is promoted: the record is older. Where its owner is this process, memory knows
/// better; where it is another one, this process has lost the lease.
#[tokio::test]
async fn failed_over_to_a_replica_that_was_behind() {
    let (primary, replica) = (Redis::start(), Redis::start());
    let mut earlier = primary.store(KEY, "b");
    owned(earlier.acquire(false).await.unwrap());
    earlier.save(&token(1), LINEAGE, &plain()).await.unwrap();
    earlier.release().await.unwrap();
    let theirs = primary.get(KEY).await.unwrap();
    let mut store = holder(&primary).await;
    let mine = primary.get(KEY).await.unwrap();
    save(&mut store, 2).await.unwrap();

    // The name stays, another server answers: here the old one takes over what the replica holds.
    replica.put(KEY, Some(&mine)).await;
    command(&primary, &["REPLICAOF", "127.0.0.1", &replica.port.to_string()]).await;
    until_it_holds(&primary, &mine).await;
    command(&primary, &["REPLICAOF", "NO", "ONE"]).await;
    saved(&mut store, 3).await;

    replica.put(KEY, Some(&theirs)).await;
    command(&primary, &["REPLICAOF", "127.0.0.1", &replica.port.to_string()]).await;
    until_it_holds(&primary, &theirs).await;
    command(&primary, &["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(save(&mut store, 4).await.unwrap_err().fault, Fault::Fenced);
    assert_eq!(primary.get(KEY).await.unwrap(), theirs, "nothing is saved over it");
}

async fn until_it_holds(server: &Redis, content: &str) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    while server.get(KEY).await.as_deref() != Some(content) {
        assert!(tokio::time::Instant::now() < patience, "the replica does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_that_may_evict_the_key_is_told_of() {
    let server = Redis::start();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _heard = tracing::subscriber::set_default(subscriber);

    let look = async || drop(server.store(KEY, "a").peek().await.unwrap());
    look().await;
    assert_eq!(log.text(), "");
    command(&server, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    look().await;
    assert_eq!(log.text(), "", "without a limit nothing is evicted");
    command(&server, &["CONFIG", "SET", "maxmemory", "100mb"]).await;
    look().await;
    assert!(log.text().contains("may evict"), "{}", log.text());
    assert!(log.text().contains("allkeys-lru"), "{}", log.text());
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
