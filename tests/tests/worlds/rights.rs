//! Servers that refuse who asks, or what is asked.

use super::servers::{NOBODY, REDIS_GUEST, REDIS_PASSWORD, Servers};
use super::{File, World, world};

const WATCH: &[&str] = &["watch"];
const SYNC: &[&str] = &["sync"];

pub(super) fn worlds(servers: &Servers) -> Vec<World> {
    let guarded = |login: &str| servers.guarded_uri(login, "replicaSet=rs0");
    let mongodb = |name: &'static str, login: &str| {
        world(name, WATCH, File::Watcher).with("CDC__MONGODB__URI", guarded(login))
    };
    let redis = |name: &'static str, password: &str| {
        world(name, WATCH, File::Watcher)
            .with("CDC__TOKEN_STORAGE__REDIS__ADDR", servers.guarded_redis.addr())
            .with("CDC__TOKEN_STORAGE__REDIS__PASSWORD", password)
    };
    let postgres =
        |name: &'static str, user: &str| world(name, SYNC, File::Syncer).with("CDC__POSTGRES__USER", user);
    vec![
        mongodb("MongoDB without a login", ""),
        mongodb("MongoDB with a wrong password", "nobody:guess@"),
        mongodb("MongoDB without the right to read", &format!("{NOBODY}@")),
        redis("Redis without a password", ""),
        redis("Redis with a wrong password", "guess"),
        redis("Redis without the right to the key", REDIS_PASSWORD)
            .with("CDC__TOKEN_STORAGE__REDIS__USERNAME", REDIS_GUEST),
        world("Redis with a password that it does not want", WATCH, File::Watcher)
            .with("CDC__TOKEN_STORAGE__REDIS__PASSWORD", "guess"),
        postgres("PostgreSQL with a role that is not there", "nobody"),
        postgres("PostgreSQL without the right to make the schema cdc", "stranger")
            .with("CDC__POSTGRES__DATABASE", "bare"),
        postgres("PostgreSQL without the right to connect", "guest")
            .with("CDC__POSTGRES__DATABASE", "closed"),
        world("a command without the right to read the schema cdc", &["gaps", "list"], File::Syncer)
            .with("CDC__POSTGRES__USER", "stranger")
            .with("CDC__POSTGRES__DATABASE", "newer"),
    ]
}
