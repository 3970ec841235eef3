//! What only a server can go through.

use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::TokenStore;
use cdc_tokens::RedisStore;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::backend::{Backend, LINEAGE, Redis, assert_same, identity, owned, plain, token};

const KEY: &str = "cdc:watcher:resume_token";

#[tokio::test]
async fn the_key_holds_readable_json() {
    let server = Redis::start();
    let mut store = server.store(KEY, "host-a");
    owned(store.acquire(false).await.unwrap());
    store.save(&token(7), LINEAGE, &plain()).await.unwrap();
    let record: serde_json::Value = serde_json::from_str(&server.get(KEY).await.unwrap()).unwrap();
    assert_eq!(record["version"], 2);
    assert_eq!(record["holder"], "host-a");
    assert_eq!(record["source"], "rs0/game_db");
    assert_eq!(record["position"], token(7).position.to_string());
    assert_eq!(record["cluster_time"]["t"], 0x6B04_5F8E);
    assert_eq!(record["cluster_time"]["i"], 7);
}

#[tokio::test]
async fn a_server_that_restarts_empty_gets_the_position_back() {
    let server = Redis::start();
    let port = server.port;
    let mut store = server.store(KEY, "a");
    owned(store.acquire(false).await.unwrap());
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();

    drop(server);
    let failure = store.save(&token(2), LINEAGE, &plain()).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    assert_eq!(failure.operation, "token_save");

    let server = Redis::start_on(port, &[]);
    store.save(&token(2), LINEAGE, &plain()).await.unwrap();
    assert_same(&server.store(KEY, "b").peek().await.unwrap().unwrap().token, &token(2));
}

/// A save whose answer never came may have been done. The next one finds it and goes on.
#[tokio::test]
async fn a_save_without_an_answer_is_found_by_the_next_one() {
    let server = Redis::start();
    let mut store = server.store(KEY, "a");
    owned(store.acquire(false).await.unwrap());
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();

    let mut own = server.connection().await;
    // Writes are held back for as long, and carried out then, whoever still waits for them.
    let pause = redis::cmd("CLIENT").arg("PAUSE").arg(60_000).arg("WRITE").to_owned();
    pause.exec_async(&mut own).await.unwrap();
    let failure = store.save(&token(2), LINEAGE, &plain()).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    redis::cmd("CLIENT").arg("UNPAUSE").exec_async(&mut own).await.unwrap();

    store.save(&token(3), LINEAGE, &plain()).await.unwrap();
    store.renew().await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(3));
}

#[tokio::test]
async fn a_script_cache_that_was_flushed_is_filled_again() {
    let server = Redis::start();
    let mut store = server.store(KEY, "a");
    owned(store.acquire(false).await.unwrap());
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut server.connection().await).await.unwrap();
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(1));
}

#[tokio::test]
async fn a_wrong_password_is_an_auth_fault_that_does_not_print_it() {
    let port = Redis::start().port;
    let server = Redis::start_on(port, &["--requirepass", "right"]);
    let mut none = server.store(KEY, "a");
    assert_eq!(none.acquire(false).await.unwrap_err().fault, Fault::Auth);

    let with = |password: &str| {
        let mut settings = server.settings(KEY);
        settings.password = Some(password.to_owned().into());
        RedisStore::new(settings, identity(), "a").unwrap()
    };
    let failure = with("hunter2").acquire(false).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Auth, "{failure}");
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
    assert_eq!(owned(with("right").acquire(false).await.unwrap()), None);
}

/// Where the default user is switched off, as it is where users have names.
#[tokio::test]
async fn a_named_user_is_logged_in_with_or_without_a_password() {
    let server = Redis::start();
    let mut own = server.connection().await;
    for user in ["watcher on >right ~cdc:* +@all", "trusted on nopass ~cdc:* +@all", "default off"] {
        let mut command = redis::cmd("ACL").arg("SETUSER").to_owned();
        user.split(' ').for_each(|word| {
            command.arg(word);
        });
        command.exec_async(&mut own).await.unwrap();
    }
    let with = |username: Option<&str>, password: Option<&str>, key: &str| {
        let mut settings = server.settings(key);
        settings.username = username.map(str::to_owned);
        settings.password = password.map(|password| password.to_owned().into());
        RedisStore::new(settings, identity(), "a").unwrap()
    };
    let mut named = with(Some("watcher"), Some("right"), KEY);
    assert_eq!(owned(named.acquire(false).await.unwrap()), None);
    named.save(&token(1), LINEAGE, &plain()).await.unwrap();
    named.release().await.unwrap();
    assert!(owned(with(Some("trusted"), None, KEY).acquire(false).await.unwrap()).is_some());
    let refused = [
        (None, Some("right"), KEY),
        (None, None, KEY),
        (Some("watcher"), Some("wrong"), KEY),
        (Some("watcher"), None, KEY),
        (Some("watcher"), Some("right"), "other:key"),
    ];
    for (username, password, key) in refused {
        let failure = with(username, password, key).acquire(false).await.unwrap_err();
        assert_eq!(failure.fault, Fault::Auth, "{username:?}, {key}: {failure}");
        assert!(failure.message.contains("token_storage.redis.username and password"), "{failure}");
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_fatal() {
    let server = Redis::start();
    redis::cmd("LPUSH").arg(KEY).arg("x").exec_async(&mut server.connection().await).await.unwrap();
    let failure = server.store(KEY, "a").acquire(false).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal, "{failure}");
}

#[tokio::test]
async fn a_server_without_memory_or_a_replica_is_transient() {
    let server = Redis::start();
    let mut own = server.connection().await;
    let mut store = server.store(KEY, "a");
    owned(store.acquire(false).await.unwrap());

    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").exec_async(&mut own).await.unwrap();
    let failure = store.save(&token(1), LINEAGE, &plain()).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").exec_async(&mut own).await.unwrap();
    store.save(&token(1), LINEAGE, &plain()).await.unwrap();

    redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1").exec_async(&mut own).await.unwrap();
    let failure = store.save(&token(2), LINEAGE, &plain()).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut own).await.unwrap();
    store.save(&token(2), LINEAGE, &plain()).await.unwrap();
}

#[tokio::test]
async fn one_save_is_one_command_in_monitor() {
    let server = Redis::start();
    let mut store = server.store(KEY, "a");
    owned(store.acquire(false).await.unwrap());

    let mut monitor = BufReader::new(TcpStream::connect(("127.0.0.1", server.port)).await.unwrap());
    monitor.write_all(b"MONITOR\r\n").await.unwrap();
    let mut lines = monitor.lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));

    const SAVES: u32 = 5;
    for n in 1..=SAVES {
        store.save(&token(n), LINEAGE, &plain()).await.unwrap();
    }
    redis::cmd("ECHO").arg("end of the test").exec_async(&mut server.connection().await).await.unwrap();

    let mut saves = 0;
    loop {
        let line = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await;
        let line = line.expect("MONITOR goes on").unwrap().unwrap();
        if line.contains("end of the test") {
            break;
        }
        // What a script calls is shown with the client `lua`.
        if line.contains(KEY) && !line.contains(" lua]") {
            assert!(line.contains("\"EVALSHA\""), "{line}");
            saves += 1;
        }
    }
    assert_eq!(saves, SAVES);
}
