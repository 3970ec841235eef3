//! What the role of `docs/privileges.md` is enough for, and what it may not see.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use cdc_devstack::{Mongod, MongodOptions, RunFolder};
use cdc_mongo::MongoSource;
use cdc_ports::Source;
use cdc_watcher::{Reading, StartAt};
use mongodb::Client;

use crate::rig::{LINEAGE, MAX_BYTES, MAX_EVENTS, settings};

/// How long the replica set may take to elect its only member.
const ELECTED_WITHIN: Duration = Duration::from_secs(20);
/// Looks at the watched names that a source makes before the count is taken.
const LOOKS: usize = 3;

#[tokio::test]
async fn the_role_of_the_page_reads_the_stream_and_asks_once_for_an_oplog_that_is_closed() {
    let keys = RunFolder::create(None).unwrap();
    let key_file = keys.path().join("key");
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&key_file).unwrap();
    file.write_all(b"anything above six letters").unwrap();
    let args = vec!["--keyFile".to_owned(), key_file.display().to_string()];
    let mongod = Mongod::start(MongodOptions { args, ..MongodOptions::default() }).await.unwrap();
    let uri = |login: &str| format!("mongodb://{login}{}/?directConnection=true", mongod.addrs().join(","));
    let begun = Instant::now();
    let admin = Client::with_uri_str(uri("")).await.unwrap().database("admin");
    // Whoever is on the same host may create the first user, once there is a primary.
    let root = doc! { "createUser": "root", "pwd": "secret", "roles": ["root"] };
    while let Err(error) = admin.run_command(root.clone()).await {
        assert!(begun.elapsed() < ELECTED_WITHIN, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let client = Client::with_uri_str(uri("root:secret@")).await.unwrap();
    let admin = client.database("admin");
    let watched = doc! { "db": "game_db", "collection": "" };
    let actions = ["find", "changeStream", "listCollections"];
    let privileges = [doc! { "resource": watched, "actions": actions.to_vec() }];
    let role = doc! { "createRole": "cdcWatcher", "privileges": privileges.to_vec(), "roles": [] };
    admin.run_command(role).await.unwrap();
    let user = doc! { "createUser": "cdc", "pwd": "secret", "roles": ["cdcWatcher"] };
    admin.run_command(user).await.unwrap();

    let refused = || {
        let log = std::fs::read_to_string(mongod.members()[0].log()).unwrap();
        log.lines().filter(|line| line.contains("not authorized on local")).count()
    };
    let login = format!("mongodb://cdc:secret@{}/?replicaSet=rs0", mongod.addrs().join(","));
    let mut source = MongoSource::new(settings(&login, &["players"])).unwrap();
    source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap();
    let players = client.database("game_db").collection::<Document>("players");
    players.insert_one(doc! { "_id": "p1" }).await.unwrap();
    let (mut events, mut looks) = (0, 0);
    while events == 0 || looks < LOOKS {
        let batch = source.next(MAX_EVENTS, MAX_BYTES).await.unwrap();
        events += batch.events.len();
        looks += usize::from(batch.sightings.is_some());
        assert_eq!(batch.history, None);
    }
    assert_eq!((events, refused()), (1, 1));
}
