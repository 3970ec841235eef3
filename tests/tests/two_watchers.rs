//! Two Watchers for one pipeline: one works, the other waits, and at no time do both save.

use std::fs;
use std::time::Duration;

use cdc_devstack::Service;
use cdc_devstack::pipeline::{Deployment, HEALTHY_WITHIN, Role, SOURCE_DATABASE, TOKEN_KEY, TOPIC};
use cdc_devstack::source::{PLAYERS, Source};
use cdc_tests::load::Load;
use cdc_tests::testbed::Testbed;
use cdc_tests::{history, saved, topic, verdict};
use futures_util::StreamExt as _;
use tokio::time::Instant;

/// What a Watcher logs that has to wait.
const WAITS: &str = "the lease is held by another instance";

/// Marks the moment in what Redis hears.
const GONE: &str = "the first Watcher is gone";

fn waits(service: &Service) -> usize {
    fs::read_to_string(service.log()).unwrap().matches(WAITS).count()
}

async fn record(redis: &str) -> serde_json::Value {
    let client = redis::Client::open(redis).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let text: String = redis::AsyncCommands::get(&mut connection, TOKEN_KEY).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_works_and_the_other_waits_until_the_first_is_gone() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, .. } = Testbed::start().await.unwrap();
    let redis = stack.redis.url();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    let since = history::now(&mongo).await.unwrap();
    let first = Deployment::new(Role::Watcher, "first", stack.folder(), &endpoints, &[]).unwrap();
    let second = Deployment::new(Role::Watcher, "second", stack.folder(), &endpoints, &[]).unwrap();
    let mut working = first.start().await.unwrap();
    let load = Load::start(&mongo, &source, 0x2_3a7c, 2, 300);

    // The second waits, and says for whom.
    let mut waiting = second.spawn().unwrap();
    let patience = Instant::now() + HEALTHY_WITHIN;
    while waits(&waiting) == 0 {
        assert!(Instant::now() < patience, "the second Watcher does not say that it waits");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(fs::read_to_string(waiting.log()).unwrap().contains("\"holder\":\"first\""));
    assert_eq!(waiting.get("/health").await.unwrap().status, 503);
    assert_eq!(record(&redis).await["holder"], "first");

    // The first stands still for longer than its lease: the second goes on where it was.
    working.pause().unwrap();
    waiting.healthy(HEALTHY_WITHIN).await.unwrap();
    assert_eq!(record(&redis).await["holder"], "second");

    // The first wakes up, is told, and has saved nothing by then.
    let client = redis::Client::open(redis.as_str()).unwrap();
    let mut commands = client.get_async_monitor().await.unwrap().into_on_message::<String>();
    working.resume().unwrap();
    let status = working.exited(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(75), "a restart is safe: {}", working.log().display());
    let mut own = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("ECHO").arg(GONE).exec_async(&mut own).await.unwrap();
    // All that was stored until then, and on to the second's next record: it renews its lease at the least.
    let (mut is_gone, mut stores) = (false, 0);
    while !is_gone || stores == 0 {
        let line = tokio::time::timeout(HEALTHY_WITHIN, commands.next()).await;
        let line = line.unwrap().unwrap();
        is_gone |= line.contains(GONE);
        // What the script does carries the client `lua`.
        if line.contains(" lua]") && line.contains("\"SET\"") {
            assert!(line.contains("\\\"holder\\\":\\\"second\\\""), "{line}");
            stores += 1;
        }
    }

    // Killed and started again under its name, it waits for nobody, itself included.
    let waited = waits(&waiting);
    waiting.kill().await.unwrap();
    let mut restarted = second.start().await.unwrap();
    assert_eq!(waits(&restarted), waited);
    tokio::time::sleep(Duration::from_secs(1)).await;

    let applied = load.stop().await.unwrap();
    assert!(applied.total() > 0);
    let happened = history::changes(&mongo, &source, since).await.unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let published = topic::read_all(&endpoints.kafka_brokers, TOPIC).unwrap();
        let absent = verdict::absent(&happened, &published).len();
        if absent == 0 {
            break;
        }
        assert!(Instant::now() < patience, "{absent} of {} changes are missing", happened.len());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let status = restarted.terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let last = saved::token(&redis, TOKEN_KEY).await.unwrap().unwrap();
    let published = topic::read_all(&endpoints.kafka_brokers, TOPIC).unwrap();
    assert!(verdict::covered_but_absent(&happened, &last, &published).is_empty());
}
