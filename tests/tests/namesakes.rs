//! Two processes of one `instance`, as two of them on one host have without a word in the configuration: the second
//! disturbs nobody and says what to set, and one that was killed is replaced at once.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_devstack::pipeline::{Deployment, HEALTHY_WITHIN, Role, SOURCE_DATABASE, TOKEN_KEY};
use cdc_devstack::source::{PLAYERS, Source};
use cdc_devstack::{Service, compare};
use cdc_tests::load::Load;
use cdc_tests::testbed::Testbed;
use tokio::time::Instant;

const NAME: [(&str, &str); 1] = [("CDC__INSTANCE", "vm")];
const PATIENCE: Duration = Duration::from_secs(30);
/// What a metric of seconds may be off: it is set once a second, and read a little later.
const TOLERANCE_SECONDS: f64 = 1.9;

/// Waits until `/health` holds these words.
async fn says(service: &Service, words: &str) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let body = service.get("/health").await.map(|response| response.body).unwrap_or_default();
        if body.contains(words) {
            return;
        }
        assert!(Instant::now() < patience, "{words} is not in {body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn saved_at_ms(redis: &str) -> f64 {
    let client = redis::Client::open(redis).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let text: String = redis::AsyncCommands::get(&mut connection, TOKEN_KEY).await.unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["saved_at_ms"].as_f64().unwrap()
}

/// Waits until the token's age is told as it is.
async fn tells_age_since(service: &Service, saved_at_ms: f64) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let told = match service.metrics().await {
            Ok(metrics) => metrics.value("watcher_resume_token_age_seconds", &[]),
            Err(_) => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - saved_at_ms / 1000.0;
        if told.is_some_and(|told| (told - age).abs() < TOLERANCE_SECONDS) {
            return;
        }
        assert!(Instant::now() < patience, "told {told:?}, and it is {age}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_of_one_name_disturbs_nobody_and_a_dead_one_is_replaced_at_once() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let redis = stack.redis.url();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let deploy = |role, file| Deployment::new(role, file, stack.folder(), &endpoints, &NAME).unwrap();
    let (watcher, syncer) = (deploy(Role::Watcher, "watcher-1"), deploy(Role::Syncer, "syncer-1"));
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    let load = Load::start(&mongo, &source, 0x1_4a3e, 2, 200);

    let second_watcher = deploy(Role::Watcher, "watcher-2").spawn().unwrap();
    let words = format!(
        "standby: instance \\\"vm\\\" already runs on this machine as pid {} (since ",
        watching.pid()
    );
    says(&second_watcher, &words).await;
    let mut second_syncer = deploy(Role::Syncer, "syncer-2").spawn().unwrap();
    assert_eq!(second_syncer.exited(PATIENCE).await.unwrap().code(), Some(75));
    let told = fs::read_to_string(second_syncer.log()).unwrap();
    let words = format!("another process joined group cdc-syncer as \\\"vm\\\" (pid {} on ", syncing.pid());
    assert!(told.contains(&words), "{}", second_syncer.log().display());
    let told = fs::read_to_string(syncing.log()).unwrap();
    assert!(!told.contains("under this instance name"), "it was thrown out of the group");

    // Whoever is gone is replaced at once: the Syncer by its next process, the Watcher by the one that waits.
    syncing.kill().await.unwrap();
    syncing = syncer.start().await.unwrap();
    let told = fs::read_to_string(syncing.log()).unwrap();
    assert!(!told.contains("its name is free in") && !told.contains("another process joined"));
    watching.kill().await.unwrap();
    let mut working = second_watcher;
    working.healthy(HEALTHY_WITHIN).await.unwrap();
    load.stop().await.unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(60)).await.unwrap();
    assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");

    assert_eq!(syncing.terminate(PATIENCE).await.unwrap().code(), Some(0));
    let members = postgres.query_one("SELECT count(*) FROM cdc.members", &[]).await.unwrap();
    assert_eq!(members.get::<_, i64>(0), 0, "a clean stop gives the name back");

    // The token's age goes on where it was, also before MongoDB has answered.
    assert_eq!(working.terminate(PATIENCE).await.unwrap().code(), Some(0));
    let saved_at = saved_at_ms(&redis).await;
    stack.mongod.kill().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let lonely = watcher.spawn().unwrap();
    tells_age_since(&lonely, saved_at).await;
}
