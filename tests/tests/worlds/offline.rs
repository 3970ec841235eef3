//! What a configuration alone shows, before anything is asked or started.

use super::servers::Servers;
use super::{File, World, world};

const WATCH: &[&str] = &["watch"];
const SYNC: &[&str] = &["sync"];
const RUN: &[&str] = &["run"];
const OFFLINE: &[&str] = &["validate", "--offline"];

const PROPERTIES: &str = "\
mongodb: {uri: 'mongodb://h', database: d, collection: c}
kafka:
  brokers: ['h:9092']
  properties:
    linger: 5
    socket.timeout.ms: soon
    acks: 1
";

pub(super) fn worlds(servers: &Servers) -> Vec<World> {
    let nowhere = servers.folder().join("no-such-password").display().to_string();
    vec![
        world("the file is not there", WATCH, File::Missing),
        world("the file is no YAML", WATCH, File::Text("mongodb: {uri: 'mongodb://h'")),
        world(
            "keys are misspelt",
            OFFLINE,
            File::Text("mongodb: {uri: 'mongodb://h', databse: d, colection: c}\n"),
        ),
        world("the Syncer's file is given to the Watcher", WATCH, File::Syncer),
        world("a variable of the environment is misspelt", WATCH, File::Watcher)
            .with("CDC__MONGODB__URL", "mongodb://h"),
        world("a password stands on the command line", SYNC, File::Syncer)
            .and("--set")
            .and("postgres.password=secret"),
        world("the file with the password is not there", SYNC, File::Syncer)
            .with("CDC__POSTGRES__PASSWORD", "")
            .with("CDC__POSTGRES__PASSWORD_FILE", nowhere),
        world("mongodb.uri has another scheme", WATCH, File::Watcher).with("CDC__MONGODB__URI", "http://h"),
        world("mongodb.uri has a port that is none", OFFLINE, File::Watcher)
            .with("CDC__MONGODB__URI", "mongodb://h:99999"),
        world("mongodb.uri has an option that is none", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", "mongodb://h/?replicaset"),
        world("mongodb.uri has a password that is not percent-encoded", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", "mongodb://u:p/w@d@h"),
        world("a collection of the server's own", WATCH, File::Watcher)
            .with("CDC__MONGODB__DATABASE", "admin")
            .with("CDC__MONGODB__COLLECTION", "system.users"),
        world("two collections go into one topic", WATCH, File::Watcher)
            .with("CDC__MONGODB__COLLECTION", "players,guests"),
        world("a broker without its port", SYNC, File::Syncer).with("CDC__KAFKA__BROKERS", "kafka"),
        world("a broker as a URL", WATCH, File::Watcher).with("CDC__KAFKA__BROKERS", "kafka://h:9092"),
        world(
            "properties that librdkafka refuses, and one that a promise rests on",
            OFFLINE,
            File::Text(PROPERTIES),
        ),
        world("Redis's address as a URL", WATCH, File::Watcher)
            .with("CDC__TOKEN_STORAGE__REDIS__ADDR", "redis://h:6379"),
        world("a Redis database below 0", WATCH, File::Watcher).with("CDC__TOKEN_STORAGE__REDIS__DB", "-1"),
        world("PostgreSQL's host as a URL", SYNC, File::Syncer)
            .with("CDC__POSTGRES__HOST", "postgres://h:5432/d"),
        world("more workers than connections", SYNC, File::Syncer).with("CDC__WORKERS__POOL_SIZE", "60"),
        world("a topic that tells no collection", SYNC, File::Syncer).with("CDC__KAFKA__TOPIC", "orders"),
        world("what is not there yet", OFFLINE, File::Watcher).with("CDC__ON_HISTORY_LOST", "snapshot"),
        world("two listeners on one port", RUN, File::Pipeline)
            .with("CDC__WATCHER__HTTP__LISTEN", "127.0.0.1:9464")
            .with("CDC__SYNCER__HTTP__LISTEN", "127.0.0.1:9464"),
        world("a token of the Syncer", &["token", "show"], File::Syncer),
    ]
}
