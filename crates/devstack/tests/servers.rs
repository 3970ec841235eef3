//! The servers themselves, alive: they start, keep their data through every kind of end, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bson::{Document, doc};
use cdc_devstack::{
    Kafka, Lifetime, Mongod, MongodOptions, Options, Postgres, PostgresOptions, Redis, RedisOptions, Service,
    ServiceCommand, Stack,
};
use mongodb::{
    Client,
    options::{Acknowledgment, WriteConcern},
};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const NOTHING_WITHIN: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(30);

/// A zombie has ended; whoever inherited it has yet to notice.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z')))
}

async fn redis_command(redis: &Redis, words: &[&str]) -> String {
    let mut stream = TcpStream::connect(redis.addr()).await.unwrap();
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = [0; 256];
    let length = stream.read(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply[..length]).into_owned()
}

async fn insert(mongod: &Mongod, id: i32) {
    let client = Client::with_uri_str(mongod.uri()).await.unwrap();
    let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let collection = client.database("test").collection::<Document>("kept");
    collection.insert_one(doc! { "_id": id }).write_concern(concern).await.unwrap();
}

async fn documents(mongod: &Mongod) -> u64 {
    let client = Client::with_uri_str(mongod.uri()).await.unwrap();
    client.database("test").collection::<Document>("kept").count_documents(doc! {}).await.unwrap()
}

fn admin<T: rdkafka::config::FromClientConfig>(kafka: &Kafka) -> T {
    rdkafka::ClientConfig::new().set("bootstrap.servers", kafka.bootstrap_servers()).create().unwrap()
}

async fn create_topic(kafka: &Kafka, name: &str) {
    let client: AdminClient<DefaultClientContext> = admin(kafka);
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    let created = client.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    assert_eq!(created, [Ok(name.to_owned())]);
}

fn topics(kafka: &Kafka) -> Vec<String> {
    let client: BaseConsumer = admin(kafka);
    let metadata = client.fetch_metadata(None, SOON).unwrap();
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

#[tokio::test]
async fn all_four_start_work_and_leave_nothing_behind() {
    let mut stack = Stack::start(Options::default()).await.unwrap();
    let folder = stack.folder().to_path_buf();
    let pids: Vec<u32> = stack.servers().map(|server| server.pid().unwrap()).collect();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_running(*pid)));

    insert(&stack.mongod, 1).await;
    stack.postgres.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)").await.unwrap();
    assert_eq!(redis_command(&stack.redis, &["SET", "kept", "1"]).await, "+OK\r\n");
    create_topic(&stack.kafka, "kept").await;

    // Each of them once killed and once stopped, and the data is there every time.
    stack.kafka.kill().await;
    stack.postgres.kill().await;
    stack.redis.kill().await;
    stack.mongod.kill().await;
    assert!(!pids.iter().any(|pid| is_running(*pid)));
    stack.mongod.restart().await.unwrap();
    stack.postgres.restart().await.unwrap();
    stack.redis.restart().await.unwrap();
    stack.kafka.restart().await.unwrap();
    insert(&stack.mongod, 2).await;
    stack.postgres.execute("INSERT INTO kept VALUES (2)").await.unwrap();
    assert_eq!(redis_command(&stack.redis, &["INCR", "kept"]).await, ":2\r\n");
    stack.stop().await.unwrap();
    assert!(stack.servers().all(|server| server.pid().is_none()));
    stack.mongod.restart().await.unwrap();
    stack.postgres.restart().await.unwrap();
    stack.redis.restart().await.unwrap();
    stack.kafka.restart().await.unwrap();

    assert_eq!(documents(&stack.mongod).await, 2);
    let two_rows = "DO $$ BEGIN ASSERT (SELECT count(*) FROM kept) = 2; END $$";
    stack.postgres.execute(two_rows).await.unwrap();
    assert_eq!(redis_command(&stack.redis, &["GET", "kept"]).await, "$1\r\n2\r\n");
    assert_eq!(topics(&stack.kafka), ["kept"]);

    let pids: Vec<u32> = stack.servers().map(|server| server.pid().unwrap()).collect();
    drop(stack);
    assert!(!pids.iter().any(|pid| is_running(*pid)));
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_goes_on() {
    let mut redis = Redis::start(RedisOptions::default()).await.unwrap();
    redis.pause().unwrap();
    assert!(timeout(NOTHING_WITHIN, redis_command(&redis, &["PING"])).await.is_err());
    redis.resume().unwrap();
    let answer = timeout(SOON, redis_command(&redis, &["PING"])).await;
    assert_eq!(answer.unwrap(), "+PONG\r\n");

    let mut postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&postgres.url(), tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    postgres.pause().unwrap();
    // The backend of a connection that is open already is frozen as well.
    assert!(timeout(NOTHING_WITHIN, client.simple_query("SELECT 1")).await.is_err());
    postgres.resume().unwrap();
    timeout(SOON, client.simple_query("SELECT 1")).await.unwrap().unwrap();
    postgres.pause().unwrap();
    postgres.stop().await.unwrap(); // resumes it, or it could not end
    drop(client);
    drop(driver.await);
}

#[tokio::test]
async fn a_replica_set_elects_another_primary() {
    let mut mongod = Mongod::start(MongodOptions { members: 3, ..MongodOptions::default() }).await.unwrap();
    insert(&mongod, 1).await;
    let first = mongod.primary().await.unwrap().unwrap();
    mongod.member_mut(first).unwrap().kill().await;
    let deadline = Instant::now() + SOON;
    let second = loop {
        assert!(Instant::now() < deadline, "no election");
        if let Some(primary) = mongod.primary().await.unwrap() {
            break primary;
        }
    };
    assert_ne!(first, second);
    mongod.restart().await.unwrap();
    mongod.step_down(1).await.unwrap();
    mongod.restart().await.unwrap(); // waits for the next primary
    assert_eq!(documents(&mongod).await, 1);
    assert!(mongod.member_mut(3).unwrap_err().to_string().contains("there are 3"));
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let settings = vec![("shared_buffers".to_owned(), "none".to_owned())];
    let error =
        Postgres::start(PostgresOptions { settings, without_fsync: true }).await.unwrap_err().to_string();
    assert!(error.starts_with("postgres: ended before it was ready"), "{error}");
    assert!(error.contains("invalid value for parameter \"shared_buffers\""), "{error}");
}

/// The one end that no destructor sees.
#[test]
fn the_servers_die_with_a_parent_that_is_killed() {
    let mut parent = Command::new(env!("CARGO_BIN_EXE_devstack")).stdout(Stdio::piped()).spawn().unwrap();
    let mut pids = Vec::new();
    let mut folder = PathBuf::new();
    for line in BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let value = |name| line.strip_prefix(name)?.strip_prefix("='")?.strip_suffix('\'');
        if let Some(value) = value("DEVSTACK_PIDS") {
            pids = value.split(' ').map(|pid| pid.parse().unwrap()).collect();
        } else if let Some(value) = value("DEVSTACK_FOLDER") {
            folder = value.into();
        } else if line == "READY" {
            break;
        }
    }
    assert_eq!(pids.len(), 4, "all four are up");
    parent.kill().unwrap();
    parent.wait().unwrap();
    let deadline = Instant::now() + SOON;
    while pids.iter().any(|pid| is_running(*pid)) {
        assert!(Instant::now() < deadline, "still running: {pids:?}");
        thread::yield_now();
    }
    // The folder waits for the next run, which sweeps it.
    assert!(folder.exists());
    drop(cdc_devstack::RunFolder::create(None).unwrap());
    assert!(!folder.exists());
}

#[tokio::test]
async fn detached_servers_live_until_their_script_ends_them() {
    let options = Options { lifetime: Lifetime::Detached, ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let folder = stack.folder().to_path_buf();
    let pids: Vec<u32> = stack.servers().map(|server| server.pid().unwrap()).collect();
    drop(stack);
    drop(cdc_devstack::RunFolder::create(None).unwrap()); // sweeps what nobody owns
    let alive = pids.iter().all(|pid| is_running(*pid)) && folder.exists();
    // Before the assertion, so that a failure leaves nothing either.
    let ended = Command::new(folder.join("stop.sh")).status().unwrap();
    assert!(alive, "all of them outlive the owner: {pids:?}");
    assert!(ended.success());
    assert!(!pids.iter().any(|pid| is_running(*pid)));
    assert!(!folder.exists());
}

fn shell(folder: &Path, script: &str) -> ServiceCommand {
    ServiceCommand {
        name: "script".into(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: Vec::new(),
        folder: folder.into(),
        log: folder.join("script.log"),
        http: None,
    }
}

async fn logged(service: &Service, word: &str) {
    while !fs::read_to_string(service.log()).unwrap_or_default().contains(word) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_service_is_measured_terminated_and_killed() {
    let folder = tempfile::tempdir().unwrap();
    let polite = "trap 'echo bye; exit 3' TERM; echo up; while :; do :; done";
    let mut service = Service::spawn(shell(folder.path(), polite)).unwrap();
    logged(&service, "up").await;
    assert!(service.memory_peak_bytes().unwrap() > 100_000);
    while service.cpu_time().unwrap().is_zero() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(service.terminate(SOON).await.unwrap().code(), Some(3));
    logged(&service, "bye").await;
    assert!(service.kill().await.is_err(), "it has ended, so nothing was killed");

    let stubborn = "trap '' TERM; echo again; while :; do sleep 1; done";
    let mut service = Service::spawn(shell(folder.path(), stubborn)).unwrap();
    logged(&service, "again").await;
    let error = service.terminate(NOTHING_WITHIN).await.unwrap_err().to_string();
    assert!(error.contains("still runs after 0.3 s"), "{error}");
    assert!(error.contains("bye"), "the log goes on where it was: {error}");
    service.kill().await.unwrap();
    assert!(!is_running(service.pid()));
}

#[tokio::test]
async fn a_service_that_ends_early_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = shell(folder.path(), "echo no configuration; exit 78");
    command.http = Some(([127, 0, 0, 1], 1).into()); // nobody listens on the reserved port 1
    let mut service = Service::spawn(command).unwrap();
    let error = service.healthy(SOON).await.unwrap_err().to_string();
    assert!(error.contains("ended before /health was well (exit status: 78)"), "{error}");
    assert!(error.contains("no configuration"), "{error}");
}
