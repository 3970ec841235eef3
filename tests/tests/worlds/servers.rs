//! The servers that the worlds are made of, all at once, and what is prepared on them.

use std::fs::{OpenOptions, Permissions, set_permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bson::{Document, doc};
use cdc_devstack::pipeline::{Deployment, Endpoints, PLAYERS_TABLE, Role, SOURCE_DATABASE};
use cdc_devstack::{Mongod, MongodOptions, Options, Redis, RedisOptions, ReplicaSet, RunFolder, Stack};
use cdc_tests::Failure;
use cdc_tests::log::Log;
use cdc_tests::messages::Spelled;
use mongodb::Client;

/// A topic that holds messages though no token record tells of it.
pub(super) const FILLED_TOPIC: &str = "cdc.game_db.orphans";
/// A Redis key that holds a list.
pub(super) const LIST_KEY: &str = "somebody:else";
/// Who may log in to the guarded MongoDB and do nothing there, and whose password that is.
pub(super) const NOBODY: &str = "nobody:secret";
/// The password of the guarded Redis.
pub(super) const REDIS_PASSWORD: &str = "secret";
/// Who may log in to the guarded Redis and read other keys than the token's.
pub(super) const REDIS_GUEST: &str = "guest";
/// More lines than that are cut to the first few.
const LINES_MAX: usize = 12;
const LINES_SHOWN: usize = 4;
/// How long the guarded replica set may take to elect its only member.
const ELECTED_WITHIN: Duration = Duration::from_secs(20);

pub(super) struct Servers {
    pub(super) stack: Stack,
    /// Without a replica set.
    pub(super) alone: Mongod,
    /// Of a replica set that nobody has initiated.
    pub(super) uninitiated: Mongod,
    /// Asks for a login.
    pub(super) guarded: Mongod,
    /// Asks for a password.
    pub(super) guarded_redis: Redis,
    /// The guarded server's key file.
    keys: RunFolder,
}

impl Servers {
    pub(super) async fn start() -> Result<Self, Failure> {
        let keys = RunFolder::create(None)?;
        let key_file = keys.path().join("key");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&key_file)?
            .write_all(b"anything above six letters")?;
        set_permissions(&key_file, Permissions::from_mode(0o600))?;
        let mongod = |set: ReplicaSet, args: Vec<String>| MongodOptions {
            set,
            args,
            oplog_mb: 16,
            cache_gb: 0.25,
            ..MongodOptions::default()
        };
        let guard = vec!["--keyFile".to_owned(), key_file.display().to_string()];
        let (stack, alone, uninitiated, guarded, guarded_redis) = tokio::try_join!(
            Box::pin(Stack::start(Options::default())),
            Box::pin(Mongod::start(mongod(ReplicaSet::Absent, Vec::new()))),
            Box::pin(Mongod::start(mongod(ReplicaSet::Named, Vec::new()))),
            Box::pin(Mongod::start(mongod(ReplicaSet::Initiated, guard))),
            Box::pin(Redis::start(RedisOptions::default())),
        )?;
        let servers = Self { stack, alone, uninitiated, guarded, guarded_redis, keys };
        servers.write_files()?;
        servers.prepare_source().await?;
        servers.prepare_rights().await?;
        servers.prepare_target().await?;
        servers.prepare_store().await?;
        let log = Log::new(&servers.stack.kafka.bootstrap_servers())?;
        log.create(FILLED_TOPIC, 1, &[]).await?;
        log.put(FILLED_TOPIC, 0, &Spelled::upsert("orphans", "o1", "", 1))?;
        log.flush()?;
        Ok(servers)
    }

    pub(super) fn folder(&self) -> &Path {
        self.stack.folder()
    }

    /// The configuration files that the worlds begin with.
    fn write_files(&self) -> Result<(), Failure> {
        let endpoints = Endpoints::of(&self.stack);
        let mut pipeline = String::new();
        for role in [Role::Watcher, Role::Syncer] {
            let service = Deployment::new(role, role.name(), self.folder(), &endpoints, &[])?;
            pipeline.push_str(&format!("{}:\n", role.name()));
            for line in std::fs::read_to_string(service.config())?.lines() {
                pipeline.push_str(&format!("  {line}\n"));
            }
        }
        Ok(std::fs::write(self.folder().join("pipeline.yaml"), pipeline)?)
    }

    async fn prepare_source(&self) -> Result<(), Failure> {
        let database = Client::with_uri_str(self.stack.mongod.uri()).await?.database(SOURCE_DATABASE);
        database.collection::<Document>("players").insert_one(doc! { "_id": "p1" }).await?;
        let view = doc! { "create": "grown_ups", "viewOn": "players", "pipeline": Vec::<Document>::new() };
        database.run_command(view).await?;
        Ok(())
    }

    async fn prepare_rights(&self) -> Result<(), Failure> {
        let admin =
            Client::with_uri_str(self.guarded_uri("", "directConnection=true")).await?.database("admin");
        let user =
            |name: &str, roles: Vec<&str>| doc! { "createUser": name, "pwd": "secret", "roles": roles };
        // Whoever is on the same host may create the first user, once there is a primary.
        let elected = std::time::Instant::now();
        while let Err(error) = admin.run_command(user("root", vec!["root"])).await {
            if elected.elapsed() > ELECTED_WITHIN {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let admin =
            Client::with_uri_str(self.guarded_uri("root:secret@", "replicaSet=rs0")).await?.database("admin");
        admin.run_command(user("nobody", Vec::new())).await?;
        Ok(())
    }

    async fn prepare_target(&self) -> Result<(), Failure> {
        let endpoints = Endpoints::of(&self.stack);
        let sql = endpoints.postgres().await?;
        sql.batch_execute(PLAYERS_TABLE).await?;
        // A database is not made in a transaction, and so not in a batch.
        for statement in [
            "CREATE ROLE stranger LOGIN",
            "CREATE ROLE guest LOGIN",
            "CREATE DATABASE closed",
            "CREATE DATABASE newer",
            "CREATE DATABASE bare",
            "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
        ] {
            sql.batch_execute(statement).await?;
        }
        let mut newer = endpoints.postgres_config();
        let (client, connection) = newer.dbname("newer").connect(tokio_postgres::NoTls).await?;
        tokio::spawn(async move { drop(connection.await) });
        client
            .batch_execute("CREATE SCHEMA cdc; CREATE TABLE cdc.version (version int); INSERT INTO cdc.version VALUES (999)")
            .await?;
        Ok(())
    }

    async fn prepare_store(&self) -> Result<(), Failure> {
        let mut store =
            redis::Client::open(self.stack.redis.url())?.get_multiplexed_async_connection().await?;
        let _length: i64 = redis::cmd("RPUSH").arg(LIST_KEY).arg("mine").query_async(&mut store).await?;
        let mut guarded =
            redis::Client::open(self.guarded_redis.url())?.get_multiplexed_async_connection().await?;
        let rules = [REDIS_GUEST, "on", ">secret", "~other:*", "+@all"];
        let guest = redis::cmd("ACL").arg("SETUSER").arg(&rules[..]).to_owned();
        let _made: () = guest.query_async(&mut guarded).await?;
        let guard = redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(REDIS_PASSWORD).to_owned();
        let _guarded: () = guard.query_async(&mut guarded).await?;
        let _done: () = redis::cmd("SET").arg("not:a:record").arg("hello").query_async(&mut store).await?;
        Ok(())
    }

    /// The guarded server's connection string; `login` ends with `@` where there is one.
    pub(super) fn guarded_uri(&self, login: &str, options: &str) -> String {
        format!("mongodb://{login}{}/?{options}", self.guarded.addrs().join(","))
    }

    /// The text without what differs from run to run.
    pub(super) fn without_places(&self, text: &str) -> String {
        let mut places = vec![
            (self.guarded.addrs().join(","), "{guarded-mongodb}"),
            (self.alone.addrs().join(","), "{lone-mongodb}"),
            (self.uninitiated.addrs().join(","), "{uninitiated-mongodb}"),
            (self.stack.mongod.addrs().join(","), "{mongodb}"),
            (self.stack.kafka.bootstrap_servers(), "{kafka}"),
            (self.guarded_redis.addr(), "{guarded-redis}"),
            (self.stack.redis.addr(), "{redis}"),
            (self.folder().display().to_string(), "{folder}"),
            (format!("port {}", self.stack.postgres.port()), "port {postgres}"),
            (format!(":{}", self.stack.postgres.port()), ":{postgres}"),
        ];
        places.push((self.keys.path().display().to_string(), "{keys}"));
        let text =
            places.iter().fold(text.to_owned(), |text, (place, name)| text.replace(place.as_str(), name));
        without_times(&in_short(&text))
    }
}

/// Without what the driver says, which differs from run to run, and without all but the first of many lines.
fn in_short(text: &str) -> String {
    let advice = "find and listCollections): ";
    let text = match text.split_once(advice) {
        Some((ours, _driver_s)) => format!("{ours}{advice}{{what the driver says}}"),
        None => text.to_owned(),
    };
    if text.lines().count() <= LINES_MAX {
        return text;
    }
    let mut lines: Vec<&str> = text.lines().take(LINES_SHOWN).collect();
    lines.push("…");
    lines.join("\n")
}

/// `2026-11-27T00:12:34.5Z` becomes `{time}`.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        word.len() >= "2026-11-27T00:12:34Z".len()
            && word.starts_with("20")
            && word.as_bytes().get(10) == Some(&b'T')
            && word.ends_with('Z')
    };
    let cut = |word: &str| word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric()).to_owned();
    let mut times: Vec<String> = text.split_whitespace().map(cut).filter(|word| is_time(word)).collect();
    times.sort_by_key(|time| std::cmp::Reverse(time.len()));
    times.iter().fold(text.to_owned(), |text, time| text.replace(time.as_str(), "{time}"))
}
