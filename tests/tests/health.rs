//! `/health` while nothing happens: whichever server ceases to answer, it is said within ten seconds; so is a broker
//! that announces itself under a name that leads nowhere.

use std::time::Duration;

use cdc_devstack::pipeline::{
    Deployment, Endpoints, HEALTHY_WITHIN, PLAYERS_TABLE, Role, SOURCE_DATABASE, TOPIC,
};
use cdc_devstack::{KafkaOptions, Options, Service};
use cdc_tests::Failure;
use cdc_tests::log::Log;
use cdc_tests::testbed::Testbed;
use tokio::time::Instant;

const SAID_WITHIN: Duration = Duration::from_secs(10);

/// Waits until the service says that it is not well; returns its words.
async fn unwell(service: &Service, since: Instant) -> Result<String, Failure> {
    unwell_with(service, since, "").await
}

/// Waits until the service says that it is not well, in words that hold this.
async fn unwell_with(service: &Service, since: Instant, word: &str) -> Result<String, Failure> {
    loop {
        // It may not listen yet.
        let answer = service.get("/health").await;
        if let Ok(answer) = &answer
            && answer.status == 503
            && answer.body.contains(word)
        {
            return Ok(answer.body.clone());
        }
        if since.elapsed() > SAID_WITHIN {
            return Err(format!("{answer:?} after {:?}", since.elapsed()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_named_within_ten_seconds_also_while_idle() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
    mongo.database(SOURCE_DATABASE).create_collection("players").await.unwrap();
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &[]).unwrap();
    let syncer = Deployment::new(Role::Syncer, "syncer", stack.folder(), &endpoints, &[]).unwrap();
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    watching.healthy(HEALTHY_WITHIN).await.unwrap();
    syncing.healthy(HEALTHY_WITHIN).await.unwrap();

    // One server of each service at a time.
    stack.mongod.pause().unwrap();
    stack.postgres.pause().unwrap();
    let since = Instant::now();
    let (source, target) = tokio::join!(unwell(&watching, since), unwell(&syncing, since));
    stack.mongod.resume().unwrap();
    stack.postgres.resume().unwrap();
    let (source, target) = (source.unwrap(), target.unwrap());
    assert!(source.contains("mongodb"), "{source}");
    assert!(target.contains("postgres"), "{target}");
    watching.healthy(HEALTHY_WITHIN).await.unwrap();
    syncing.healthy(HEALTHY_WITHIN).await.unwrap();

    stack.redis.pause().unwrap();
    let store = unwell(&watching, Instant::now()).await;
    stack.redis.resume().unwrap();
    let store = store.unwrap();
    assert!(store.contains("redis"), "{store}");
    watching.healthy(HEALTHY_WITHIN).await.unwrap();

    stack.kafka.pause().unwrap();
    let since = Instant::now();
    let brokers = tokio::join!(unwell(&watching, since), unwell(&syncing, since));
    stack.kafka.resume().unwrap();
    for said in [brokers.0.unwrap(), brokers.1.unwrap()] {
        assert!(said.contains("kafka"), "{said}");
    }
    watching.healthy(HEALTHY_WITHIN).await.unwrap();
    syncing.healthy(HEALTHY_WITHIN).await.unwrap();

    watching.terminate(Duration::from_secs(30)).await.unwrap();
    syncing.terminate(Duration::from_secs(30)).await.unwrap();
}

/// The bootstrap works, and everything after it goes to a name that nobody has configured here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_announces_a_name_which_does_not_resolve_is_told_of_by_that_name() {
    const HOST: &str = "no-such-host.invalid";
    let _turn = crate::TURN.lock().await;
    let kafka = KafkaOptions { doors: 1, door_host: HOST, ..KafkaOptions::default() };
    let Testbed { stack, endpoints, postgres, .. } =
        Testbed::with(Options { kafka, ..Options::default() }).await.unwrap();
    let log = Log::new(&endpoints.kafka_brokers).unwrap();
    log.create(TOPIC, 2, &[]).await.unwrap();
    postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
    let door = stack.kafka.doors(0)[0];
    let endpoints = Endpoints { kafka_brokers: door.upstream.to_string(), ..endpoints };
    let announced = format!("{HOST}:{}", door.advertised);

    for role in [Role::Watcher, Role::Syncer] {
        let settings = [("CDC__KAFKA__MAX_RETRIES", "1")];
        let deployment = Deployment::new(role, role.name(), stack.folder(), &endpoints, &settings).unwrap();
        let mut service = deployment.spawn().unwrap();
        unwell_with(&service, Instant::now(), &announced).await.unwrap();
        let status = service.exited(Duration::from_secs(40)).await.unwrap();
        assert_eq!(status.code(), Some(69), "{}", role.name());
        let text = std::fs::read_to_string(deployment.log()).unwrap();
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains(&format!("the broker announced {announced}")), "{last}");
    }
}
