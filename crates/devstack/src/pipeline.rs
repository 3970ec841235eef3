//! The pipeline under test: both services as processes of their own, with the seed's configuration files on
//! the servers of a [`Stack`] or on others.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use std::{env, fs};

use crate::ports::free_port;
pub use crate::role::Role;
pub use crate::source::PLAYERS_TABLE;
use crate::source::Source;
use crate::{Error, Service, ServiceCommand, Stack};

/// The key of the token record in Redis.
pub const TOKEN_KEY: &str = "cdc:watcher:resume_token";

/// The database of the demo and the tests, in MongoDB.
pub const SOURCE_DATABASE: &str = "game_db";

/// The topic of the collection `players`.
pub const TOPIC: &str = "cdc.game_db.players";

/// How long a service may take until it is healthy, on a machine that also runs all of its servers.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// Where the servers are.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// A replica set's connection string.
    pub mongodb_uri: String,
    /// `host:port`, comma-separated.
    pub kafka_brokers: String,
    /// Host name or address.
    pub postgres_host: String,
    /// Its port.
    pub postgres_port: u16,
    /// The database with the table `players`.
    pub postgres_database: String,
    /// The role.
    pub postgres_user: String,
    /// The role's password; may be empty.
    pub postgres_password: String,
    /// `host:port`.
    pub redis_addr: String,
}

impl Endpoints {
    /// The servers of a stack.
    #[must_use]
    pub fn of(stack: &Stack) -> Self {
        Self {
            mongodb_uri: stack.mongod.uri(),
            kafka_brokers: stack.kafka.bootstrap_servers(),
            postgres_host: stack.postgres.host().to_owned(),
            postgres_port: stack.postgres.port(),
            postgres_database: stack.postgres.database().to_owned(),
            postgres_user: stack.postgres.user().to_owned(),
            postgres_password: String::new(),
            redis_addr: stack.redis.addr(),
        }
    }

    /// Servers that somebody already has, by their URLs.
    ///
    /// # Errors
    /// If the URL of PostgreSQL or Redis cannot be read.
    pub fn from_urls(mongodb: &str, kafka: &str, postgres: &str, redis: &str) -> Result<Self, Error> {
        let unreadable = |what: &str| Error::new("demo", format!("{what} cannot be read"));
        let config: tokio_postgres::Config = postgres
            .parse()
            .map_err(|source: tokio_postgres::Error| unreadable("DEMO_POSTGRES_URL").with_source(source))?;
        let Some(tokio_postgres::config::Host::Tcp(host)) = config.get_hosts().first() else {
            return Err(unreadable("DEMO_POSTGRES_URL: a host name is missing, so it"));
        };
        let redis = redis
            .strip_prefix("redis://")
            .ok_or_else(|| unreadable("DEMO_REDIS_URL: it does not begin with redis://, so it"))?;
        Ok(Self {
            mongodb_uri: mongodb.to_owned(),
            kafka_brokers: kafka.to_owned(),
            postgres_host: host.clone(),
            postgres_port: config.get_ports().first().copied().unwrap_or(5432),
            postgres_database: config.get_dbname().unwrap_or("postgres").to_owned(),
            postgres_user: config.get_user().unwrap_or("postgres").to_owned(),
            postgres_password: String::from_utf8_lossy(config.get_password().unwrap_or_default())
                .into_owned(),
            redis_addr: redis.trim_end_matches('/').to_owned(),
        })
    }

    /// What `tokio_postgres::connect` takes.
    #[must_use]
    pub fn postgres_config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.postgres_host)
            .port(self.postgres_port)
            .dbname(&self.postgres_database)
            .user(&self.postgres_user);
        if !self.postgres_password.is_empty() {
            config.password(&self.postgres_password);
        }
        config
    }

    /// A connection to PostgreSQL, driven by a task of its own.
    ///
    /// # Errors
    /// If PostgreSQL refuses.
    pub async fn postgres(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (client, connection) = self.postgres_config().connect(tokio_postgres::NoTls).await?;
        // The connection ends with the client; an error in between reaches whoever uses the client.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

/// A service's configuration file, listener and extra settings.
#[derive(Clone, Debug)]
pub struct Deployment {
    role: Role,
    instance: String,
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    http: SocketAddr,
    env: Vec<(String, String)>,
}

impl Deployment {
    /// Writes the role's configuration file into `folder`. `settings` are environment variables such as
    /// `("CDC__BATCH__LINGER", "1ms")`.
    ///
    /// # Errors
    /// If the file cannot be written or the binary is not there.
    pub fn new(
        role: Role,
        instance: &str,
        folder: &Path,
        endpoints: &Endpoints,
        settings: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let config = folder.join(format!("{instance}.yaml"));
        let text = match role {
            Role::Watcher => watcher_yaml(endpoints),
            Role::Syncer => syncer_yaml(endpoints),
        };
        fs::write(&config, text).map_err(|source| {
            Error::io(instance, format!("{} cannot be written", config.display()), source)
        })?;
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut env = vec![
            ("CDC__INSTANCE".to_owned(), instance.to_owned()),
            ("CDC__HTTP__LISTEN".to_owned(), http.to_string()),
        ];
        env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Ok(Self {
            role,
            instance: instance.to_owned(),
            program: cdc_binary()?,
            folder: folder.to_path_buf(),
            config,
            http,
            env,
        })
    }

    /// The same for a service that copies other collections than the files' `players`.
    ///
    /// # Errors
    /// As there.
    pub fn over(
        source: &Source,
        role: Role,
        instance: &str,
        folder: &Path,
        endpoints: &Endpoints,
        settings: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let own = source.settings(role);
        let mut all: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend(settings);
        Self::new(role, instance, folder, endpoints, &all)
    }

    /// Another instance of the same service, with the same file and settings: it competes with this one.
    ///
    /// # Errors
    /// If no port is to be had.
    pub fn rival(&self, instance: &str) -> Result<Self, Error> {
        let mut rival = self.clone();
        rival.http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        instance.clone_into(&mut rival.instance);
        rival.env.retain(|(name, _)| name != "CDC__INSTANCE" && name != "CDC__HTTP__LISTEN");
        rival.env.push(("CDC__INSTANCE".to_owned(), instance.to_owned()));
        rival.env.push(("CDC__HTTP__LISTEN".to_owned(), rival.http.to_string()));
        Ok(rival)
    }

    /// Runs another command of the binary on the same file and settings, such as `["token", "show"]`, to its end.
    ///
    /// # Errors
    /// If it cannot be run.
    pub async fn run(&self, command: &[&str]) -> Result<Output, Error> {
        tokio::process::Command::new(&self.program)
            .args(command)
            .arg("-c")
            .arg(&self.config)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| Error::io(&self.instance, format!("cdc {command:?} could not be run"), source))
    }

    /// Starts the service, without waiting for anything.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn spawn(&self) -> Result<Service, Error> {
        Service::spawn(ServiceCommand {
            name: self.instance.clone(),
            program: self.program.clone(),
            args: vec![self.role.command().to_owned(), "-c".to_owned(), self.config.display().to_string()],
            env: self.env.clone(),
            folder: self.folder.clone(),
            log: self.folder.join(format!("{}.log", self.instance)),
            http: Some(self.http),
        })
    }

    /// Starts the service and waits until it is ready: the collection may come with its first document, and the topic
    /// with the Watcher.
    ///
    /// # Errors
    /// If it ends first, or is not ready within [`HEALTHY_WITHIN`].
    pub async fn start(&self) -> Result<Service, Error> {
        let mut service = self.spawn()?;
        service.ready(HEALTHY_WITHIN).await?;
        Ok(service)
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where it serves `/health` and `/metrics`.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// The file with its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.instance))
    }
}

/// The seed's watcher.yaml with these servers, without the two keys whose defaults are others here (`kafka.batch_size`,
/// `kafka.batch_timeout`).
fn watcher_yaml(endpoints: &Endpoints) -> String {
    format!(
        "mongodb:\n  uri: \"{}\"\n  database: \"{SOURCE_DATABASE}\"\n  collection: \"players\"\n  \
         connection_timeout: \"10s\"\n\
         kafka:\n  brokers: [{}]\n  topic: \"{TOPIC}\"\n  compression: \"snappy\"\n  max_retries: 5\n\
         token_storage:\n  type: \"redis\"\n  redis:\n    addr: \"{}\"\n    password: \"\"\n    db: 0\n    \
         key: \"{TOKEN_KEY}\"\n\
         logging:\n  level: \"info\"\n  format: \"json\"\n\
         performance:\n  token_save_interval: 10\n",
        endpoints.mongodb_uri,
        quoted(&endpoints.kafka_brokers),
        endpoints.redis_addr,
    )
}

/// The seed's syncer.yaml with these servers.
fn syncer_yaml(endpoints: &Endpoints) -> String {
    format!(
        "kafka:\n  brokers: [{}]\n  topic: \"{TOPIC}\"\n  consumer_group: \"cdc-syncer\"\n  max_retries: 5\n\
         postgres:\n  host: \"{}\"\n  port: {}\n  database: \"{}\"\n  user: \"{}\"\n  password: \"{}\"\n  \
         min_connections: 10\n  max_connections: 50\n  connection_timeout: \"10s\"\n\
         batch:\n  buffer_size: 1000\n  flush_interval: \"500ms\"\n  copy_threshold: 100\n\
         workers:\n  pool_size: 10\n  channel_buffer: 1000\n\
         logging:\n  level: \"info\"\n  format: \"json\"\n",
        quoted(&endpoints.kafka_brokers),
        endpoints.postgres_host,
        endpoints.postgres_port,
        endpoints.postgres_database,
        endpoints.postgres_user,
        endpoints.postgres_password,
    )
}

fn quoted(brokers: &str) -> String {
    brokers.split(',').map(|broker| format!("\"{broker}\"")).collect::<Vec<_>>().join(", ")
}

/// The binary under test: `CDC_BIN`, or the one that was built beside this program.
///
/// # Errors
/// If there is none.
pub fn cdc_binary() -> Result<PathBuf, Error> {
    if let Some(path) = env::var_os("CDC_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = env::current_exe()
        .map_err(|source| Error::io("cdc", "this program's own path is unknown", source))?;
    own.ancestors().skip(1).take(2).map(|folder| folder.join("cdc")).find(|path| path.is_file()).ok_or_else(
        || {
            Error::new(
                "cdc",
                "the binary under test is not built; run `cargo build -p cdc`, or name it in CDC_BIN",
            )
        },
    )
}

/// How many messages the topics hold: the sum of their partitions' ends less their beginnings.
///
/// # Errors
/// If the broker does not say.
pub fn messages_in_topics(brokers: &str, topics: &[String]) -> Result<i64, Error> {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};

    const WITHIN: Duration = Duration::from_secs(10);
    let failed = |source: rdkafka::error::KafkaError| {
        Error::new("kafka", format!("the messages of {} cannot be counted", topics.join(", ")))
            .with_source(source)
    };
    let consumer: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(failed)?;
    let mut total = 0;
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), WITHIN).map_err(failed)?;
        for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), WITHIN).map_err(failed)?;
            total += high - low;
        }
    }
    Ok(total)
}
