//! `cdc run`: both services in one process, with the token in a file.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cdc_devstack::pipeline::{Endpoints, SOURCE_DATABASE, cdc_binary};
use cdc_devstack::source::{COLLECTIONS, Source};
use cdc_devstack::{Service, ServiceCommand, Stack, compare};
use cdc_tests::load::Load;
use cdc_tests::testbed::Testbed;
use cdc_tests::topic;
use mongodb::Client;
use mongodb::bson::{Document, doc};

/// A collection whose table is a mirror, and how many documents it gets while PostgreSQL stands still.
const MIRRORED: &str = "matches";
const MORE: i64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_services_in_one_process_copy_restart_and_drain() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let config = stack.folder().join("pipeline.yaml");
    let token = stack.folder().join("token.json");
    fs::write(&config, pipeline_yaml(&source, &endpoints, &token.display().to_string())).unwrap();
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let command = ServiceCommand {
        name: "pipeline".to_owned(),
        program: cdc_binary().unwrap(),
        args: vec!["run".to_owned(), "-c".to_owned(), config.display().to_string()],
        env: vec![
            ("CDC__WATCHER__HTTP__LISTEN".to_owned(), http.to_string()),
            ("CDC__SYNCER__HTTP__LISTEN".to_owned(), format!("127.0.0.1:{}", free_port())),
        ],
        folder: stack.folder().to_path_buf(),
        log: stack.folder().join("pipeline.log"),
        http: Some(http),
    };

    let mut running = Service::spawn(command.clone()).unwrap();
    running.ready(Duration::from_secs(60)).await.unwrap();
    let load = Load::start(&mongo, &source, 7, 2, 100);
    tokio::time::sleep(Duration::from_secs(3)).await;
    running.kill().await.unwrap();
    running = Service::spawn(command.clone()).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.stop().await.unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(60)).await.unwrap();
    assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");

    goes_on_while_the_other_waits(&mut stack, &mongo).await;
    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(60)).await.unwrap();
    assert!(comparison.is_equal(), "{comparison}");

    let status = running.terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0), "both drain, and neither takes the other's end for a second signal");
    assert!(fs::read_to_string(&token).unwrap().contains("\"resume_token\""));
}

/// The Watcher publishes while the Syncer waits for a PostgreSQL that answers nothing.
async fn goes_on_while_the_other_waits(stack: &mut Stack, mongo: &Client) {
    let topic = format!("cdc.{SOURCE_DATABASE}.{MIRRORED}");
    let brokers = stack.kafka.bootstrap_servers();
    let before = topic::count(&brokers, &topic).unwrap();
    stack.postgres.pause().unwrap();
    let documents = (0..MORE).map(|number| doc! { "_id": format!("more-{number}"), "number": number });
    let collection = mongo.database(SOURCE_DATABASE).collection::<Document>(MIRRORED);
    collection.insert_many(documents).await.unwrap();
    let begun = Instant::now();
    while topic::count(&brokers, &topic).unwrap() < before + MORE {
        assert!(begun.elapsed() < Duration::from_secs(30), "the Watcher stands still with PostgreSQL");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stack.postgres.resume().unwrap();
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn pipeline_yaml(source: &Source, endpoints: &Endpoints, token: &str) -> String {
    let (collections, topics) = (source.names().collect::<Vec<_>>().join(", "), source.topics().join(", "));
    format!(
        "watcher:\n  instance: pipeline\n  mongodb: {{uri: \"{}\", database: {}, collection: [{collections}]}}\n  \
         kafka: {{brokers: [\"{}\"], topic: \"cdc.{{database}}.{{collection}}\"}}\n  \
         token_storage: {{type: file, file: {{path: \"{token}\"}}}}\n\
         syncer:\n  instance: pipeline\n  kafka: {{brokers: [\"{}\"], topic: [{topics}]}}\n  \
         postgres: {{host: \"{}\", port: {}, database: {}, user: {}}}\n",
        endpoints.mongodb_uri,
        source.database,
        endpoints.kafka_brokers,
        endpoints.kafka_brokers,
        endpoints.postgres_host,
        endpoints.postgres_port,
        endpoints.postgres_database,
        endpoints.postgres_user,
    )
}
