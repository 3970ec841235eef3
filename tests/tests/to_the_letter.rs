//! `max_replay_events: 1` with `token_save_interval: 1` is the design document's Property 4 to the letter.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE, TOKEN_KEY, TOPIC};
use cdc_devstack::source::{PLAYERS, Source};
use cdc_devstack::workload::player_id;
use cdc_tests::testbed::Testbed;
use cdc_tests::{history, saved, topic};
use futures_util::StreamExt as _;

const EVENTS: u32 = 2_000;

/// Feature: cdc-pipeline, Property 4: Resume Token Save After Kafka Success
/// Validates: Requirements 2.1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_saved_before_the_next_is_published() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, .. } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    let since = history::now(&mongo).await.unwrap();
    let settings =
        [("CDC__PERFORMANCE__MAX_REPLAY_EVENTS", "1"), ("CDC__PERFORMANCE__TOKEN_SAVE_INTERVAL", "1")];
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &settings).unwrap();
    let mut watching = watcher.start().await.unwrap();

    let client = redis::Client::open(stack.redis.url()).unwrap();
    let monitor = client.get_async_monitor().await.unwrap();
    let mut commands = monitor.into_on_message::<String>();
    let watched = tokio::spawn(async move {
        let mut saves: Vec<(f64, String)> = Vec::new();
        while let Ok(Some(line)) = tokio::time::timeout(Duration::from_secs(5), commands.next()).await {
            saves.extend(save_of(&line));
        }
        saves
    });

    let players = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    for number in 0..EVENTS {
        let at = DateTime::now();
        players
            .insert_one(doc! { "_id": player_id(number), "username": format!("p{number}"), "created_at": at })
            .await
            .unwrap();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while topic::count(&endpoints.kafka_brokers, TOPIC).unwrap() < i64::from(EVENTS) {
        assert!(tokio::time::Instant::now() < deadline, "not all events arrived");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut saves = watched.await.unwrap();
    watching.terminate(Duration::from_secs(25)).await.unwrap();

    let happened = history::changes(&mongo, &source, since).await.unwrap();
    let tokens: Vec<&str> = happened.iter().map(|change| change.token.as_str()).collect();
    assert_eq!(tokens.len(), EVENTS as usize);
    // The lease's renewals write the record too, and idle positions are saved before and after the events:
    // what counts is each token's first save.
    saves.dedup_by(|later, first| later.1 == first.1);
    saves.retain(|(_, token)| tokens.contains(&token.as_str()));
    let saved: Vec<&str> = saves.iter().map(|(_, token)| token.as_str()).collect();
    let differs = saved.iter().zip(&tokens).position(|(saved, token)| saved != token);
    assert_eq!(
        (saved.len(), differs),
        (tokens.len(), None),
        "the saves that Redis saw equal the events, in order"
    );

    // A message's time stamp is the moment when it was handed to the client, in milliseconds.
    let mut published = topic::read_all(&endpoints.kafka_brokers, TOPIC).unwrap();
    published.sort_by_key(|message| message.value["position"].as_str().unwrap().to_owned());
    assert_eq!(published.len(), EVENTS as usize);
    for (index, (at, _)) in saves.iter().enumerate() {
        let at_ms = (at * 1000.0) as i64;
        assert!(published[index].timestamp_ms <= at_ms, "event {index} is published before its save");
        if let Some(next) = published.get(index + 1) {
            assert!(next.timestamp_ms >= at_ms, "event {} is published after the save of {index}", index + 1);
        }
    }
}

/// Time and token of a command that stores a record, in MONITOR's words:
/// `1339518083.107412 [0 127.0.0.1:60866] "EVALSHA" … "{\"version\":1,…}"`.
fn save_of(line: &str) -> Option<(f64, String)> {
    if !line.contains(TOKEN_KEY) || line.contains("lua]") {
        return None;
    }
    let at: f64 = line.split_whitespace().next()?.trim_start_matches('+').parse().ok()?;
    let begin = line.rfind("{\\\"version\\\"")?;
    let end = line.rfind("\\\"}\"")? + 3;
    let record = line.get(begin..end)?.replace("\\\"", "\"");
    Some((at, saved::of_record(&record).ok()??))
}
