//! Servers that answer, and are not what the configuration names.

use super::servers::{FILLED_TOPIC, LIST_KEY, Servers};
use super::{File, World, world};

const WATCH: &[&str] = &["watch"];
const SYNC: &[&str] = &["sync"];

pub(super) fn worlds(servers: &Servers) -> Vec<World> {
    let mongodb = servers.stack.mongod.addrs().join(",");
    let taken = servers.stack.redis.addr();
    let folder = servers.folder();
    let file = |path: &str| folder.join(path).display().to_string();
    let in_a_file = |name: &'static str, path: String| {
        world(name, WATCH, File::Watcher)
            .with("CDC__TOKEN_STORAGE__TYPE", "file")
            .with("CDC__TOKEN_STORAGE__FILE__PATH", path)
    };
    vec![
        world("another replica set", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", format!("mongodb://{mongodb}/?replicaSet=rsX")),
        world("another replica set, tried twice", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", format!("mongodb://{mongodb}/?replicaSet=rsX"))
            .with("CDC__MONGODB__MAX_RETRIES", "1"),
        world("no replica set", WATCH, File::Watcher).with("CDC__MONGODB__URI", servers.alone.uri()),
        world("a replica set's name at a server that has none", WATCH, File::Watcher).with(
            "CDC__MONGODB__URI",
            format!("mongodb://{}/?replicaSet=rs0", servers.alone.addrs().join(",")),
        ),
        world("a replica set that is not initiated", WATCH, File::Watcher)
            .with("CDC__MONGODB__URI", servers.uninitiated.uri()),
        world("no replica set, for a command", &["token", "reset", "--to", "now"], File::Watcher)
            .with("CDC__MONGODB__URI", servers.alone.uri()),
        world("a view", WATCH, File::Watcher)
            .with("CDC__MONGODB__COLLECTION", "grown_ups")
            .with("CDC__KAFKA__TOPIC", "cdc.game_db.grown_ups"),
        world("post-images that nobody records", WATCH, File::Watcher)
            .with("CDC__MONGODB__FULL_DOCUMENT", "post_image"),
        world("more replicas than brokers", WATCH, File::Watcher)
            .with("CDC__KAFKA__REPLICATION_FACTOR", "3")
            .with("CDC__KAFKA__TOPIC", "cdc.game_db.replicated")
            .with("CDC__TOKEN_STORAGE__REDIS__KEY", "replicated"),
        world("a PostgreSQL database that is not there", SYNC, File::Syncer)
            .with("CDC__POSTGRES__DATABASE", "analytics"),
        world("a PostgreSQL of a newer release's bookkeeping", SYNC, File::Syncer)
            .with("CDC__POSTGRES__DATABASE", "newer"),
        world("no bookkeeping, and none may be made", SYNC, File::Syncer)
            .with("CDC__POSTGRES__MANAGE_SCHEMA", "false")
            .with("CDC__POSTGRES__DATABASE", "template1"),
        world("a Redis database that is out of range", WATCH, File::Watcher)
            .with("CDC__TOKEN_STORAGE__REDIS__DB", "99"),
        world("a Redis key that holds something else", WATCH, File::Watcher)
            .with("CDC__TOKEN_STORAGE__REDIS__KEY", LIST_KEY),
        world("a Redis key that holds no record", WATCH, File::Watcher)
            .with("CDC__TOKEN_STORAGE__REDIS__KEY", "not:a:record"),
        world("a port that is taken", WATCH, File::Watcher).with("CDC__HTTP__LISTEN", taken),
        in_a_file("a token file in a folder that is not there", file("no/such/folder/token.dat")),
        in_a_file("a token file that is a folder", folder.display().to_string()),
        world("an empty token store beside a topic with messages", WATCH, File::Watcher)
            .with("CDC__MONGODB__COLLECTION", "orphans")
            .with("CDC__KAFKA__TOPIC", FILLED_TOPIC)
            .with("CDC__TOKEN_STORAGE__REDIS__KEY", "orphans"),
        world("a position that is none", &["token", "reset", "--to", "yesterday"], File::Watcher),
        world(
            "a position before the oplog",
            &["token", "reset", "--to", "2020-01-01T00:00:00Z"],
            File::Watcher,
        )
        .with("CDC__TOKEN_STORAGE__REDIS__KEY", "reset"),
    ]
}
