//! Servers that do not answer: a restart mends that once they do.

use super::{File, World, world};

const WATCH: &[&str] = &["watch"];
const SYNC: &[&str] = &["sync"];
const NOWHERE: &str = "127.0.0.1:1";
/// No resolver knows it: the domain is reserved for that.
const UNKNOWN: &str = "nowhere.invalid";

pub(super) fn worlds() -> Vec<World> {
    vec![
        world("MongoDB is away", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", format!("mongodb://{NOWHERE}")),
        world("MongoDB is away, tried twice", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", format!("mongodb://{NOWHERE}/?replicaSet=rs0"))
            .with("CDC__MONGODB__MAX_RETRIES", "1"),
        world("MongoDB's name does not resolve", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", format!("mongodb://{UNKNOWN}:27017")),
        world("Kafka is away from the Watcher", WATCH, File::Watcher).with("CDC__KAFKA__BROKERS", NOWHERE),
        world("Kafka is away from the Syncer", SYNC, File::Syncer).with("CDC__KAFKA__BROKERS", NOWHERE),
        world("Redis is away", WATCH, File::Watcher).with("CDC__TOKEN_STORAGE__REDIS__ADDR", NOWHERE),
        world("PostgreSQL is away", SYNC, File::Syncer).with("CDC__POSTGRES__PORT", "1"),
        world("PostgreSQL's name does not resolve", SYNC, File::Syncer).with("CDC__POSTGRES__HOST", UNKNOWN),
        world("Redis is away from a command", &["token", "show"], File::Watcher)
            .with("CDC__TOKEN_STORAGE__REDIS__ADDR", NOWHERE),
        world("MongoDB is away from a command", &["token", "reset", "--to", "now"], File::Watcher)
            .with("CDC__MONGODB__URI", format!("mongodb://{NOWHERE}")),
        world("PostgreSQL is away from a command", &["gaps", "list"], File::Syncer)
            .with("CDC__POSTGRES__PORT", "1"),
    ]
}
