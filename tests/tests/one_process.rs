//! `cdc run`: both services in one process, with the token in a file.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cdc_devstack::pipeline::{Endpoints, PLAYERS_TABLE, SOURCE_DATABASE, TOPIC, cdc_binary};
use cdc_devstack::{Options, Service, ServiceCommand, Stack, compare};
use cdc_tests::load::Load;
use mongodb::Client;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_services_in_one_process_copy_restart_and_drain() {
    let _turn = crate::TURN.lock().await;
    let stack = Box::pin(Stack::start(Options::default())).await.unwrap();
    let endpoints = Endpoints::of(&stack);
    let mongo = Client::with_uri_str(&endpoints.mongodb_uri).await.unwrap();
    let postgres = endpoints.postgres().await.unwrap();
    postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
    let config = stack.folder().join("pipeline.yaml");
    let token = stack.folder().join("token.json");
    fs::write(&config, pipeline_yaml(&endpoints, &token.display().to_string())).unwrap();
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
    running.healthy(Duration::from_secs(60)).await.unwrap();
    let load = Load::start(&mongo, SOURCE_DATABASE, 7, 2, 300);
    tokio::time::sleep(Duration::from_secs(3)).await;
    running.kill().await.unwrap();
    running = Service::spawn(command.clone()).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.stop().await.unwrap();
    let database = mongo.database(SOURCE_DATABASE);
    let comparison = compare::players_converge(&database, &postgres, Duration::from_secs(60)).await.unwrap();
    assert!(comparison.is_equal() && comparison.compared > 0, "{comparison}");

    let status = running.terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0), "both drain, and neither takes the other's end for a second signal");
    assert!(fs::read_to_string(&token).unwrap().contains("\"resume_token\""));
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn pipeline_yaml(endpoints: &Endpoints, token: &str) -> String {
    format!(
        "watcher:\n  instance: pipeline\n  mongodb: {{uri: \"{}\", database: {SOURCE_DATABASE}, collection: players}}\n  \
         kafka: {{brokers: [\"{}\"], topic: {TOPIC}}}\n  token_storage: {{type: file, file: {{path: \"{token}\"}}}}\n\
         syncer:\n  instance: pipeline\n  kafka: {{brokers: [\"{}\"], topic: {TOPIC}}}\n  \
         postgres: {{host: \"{}\", port: {}, database: {}, user: {}}}\n",
        endpoints.mongodb_uri,
        endpoints.kafka_brokers,
        endpoints.kafka_brokers,
        endpoints.postgres_host,
        endpoints.postgres_port,
        endpoints.postgres_database,
        endpoints.postgres_user,
    )
}
