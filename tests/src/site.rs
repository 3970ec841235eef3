//! Kafka and PostgreSQL alone, for what needs no Watcher: messages are put straight into the log.

use std::time::{Duration, Instant};

use cdc_devstack::pipeline::{Deployment, Endpoints, Role};
use cdc_devstack::{Kafka, KafkaOptions, Postgres, PostgresOptions, RunFolder, Service};

use crate::Failure;
use crate::log::Log;

/// The longest that anything here may take; a test that waits for it fails.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Lines of each log that a failure shows, and characters of each.
const LAST_LINES: usize = 40;
const LINE_CHARS: usize = 500;

/// The two servers, and ways to look at them.
pub struct Site {
    /// The log.
    pub kafka: Kafka,
    /// Straight into the log.
    pub log: Log,
    /// A connection of the test's own.
    pub sql: tokio_postgres::Client,
    endpoints: Endpoints,
    /// The other server. Behind what speaks to it, and before the folder: fields are dropped in order.
    pub postgres: Postgres,
    folder: RunFolder,
}

impl Site {
    /// Starts both.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn start() -> Result<Self, Failure> {
        let folder = RunFolder::create(None)?;
        let (kafka, postgres) = tokio::try_join!(
            Box::pin(Kafka::start(KafkaOptions::default())),
            Box::pin(Postgres::start(PostgresOptions::default()))
        )?;
        let endpoints = Endpoints {
            mongodb_uri: "mongodb://127.0.0.1:1".to_owned(),
            kafka_brokers: kafka.bootstrap_servers(),
            postgres_host: postgres.host().to_owned(),
            postgres_port: postgres.port(),
            postgres_database: postgres.database().to_owned(),
            postgres_user: postgres.user().to_owned(),
            postgres_password: String::new(),
            redis_addr: "127.0.0.1:1".to_owned(),
        };
        let sql = endpoints.postgres().await?;
        let log = Log::new(&endpoints.kafka_brokers)?;
        Ok(Self { kafka, log, sql, endpoints, postgres, folder })
    }

    /// Where the brokers are.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.endpoints.kafka_brokers
    }

    /// Another connection of the test's own.
    ///
    /// # Errors
    /// If PostgreSQL refuses.
    pub async fn session(&self) -> Result<tokio_postgres::Client, Failure> {
        Ok(self.endpoints.postgres().await?)
    }

    /// A Syncer of this name on this topic.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn syncer(&self, name: &str, topic: &str, settings: &[(&str, &str)]) -> Result<Deployment, Failure> {
        let mut all = vec![("CDC__KAFKA__TOPIC", topic)];
        all.extend(settings);
        Ok(Deployment::new(Role::Syncer, name, self.folder.path(), &self.endpoints, &all)?)
    }

    /// What the services said last, without what they say of each batch.
    #[must_use]
    pub fn last_words(&self) -> String {
        let files = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        let logs = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "log"));
        let mut words = String::new();
        for file in logs {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().filter(|line| !line.contains("batch_write")).collect();
            for line in lines.iter().rev().take(LAST_LINES).rev() {
                words.push('\n');
                words.extend(line.chars().take(LINE_CHARS));
            }
        }
        words
    }

    /// One number; `None` where the question fails, such as for a table that is not there yet.
    pub async fn number(&self, sql: &str) -> Option<i64> {
        self.sql.query_one(sql, &[]).await.ok()?.get(0)
    }

    /// Waits until the question has this answer. Returns how long that took.
    ///
    /// # Errors
    /// With the last answer, after [`PATIENCE`].
    pub async fn until(&self, sql: &str, expected: i64) -> Result<Duration, Failure> {
        let begun = Instant::now();
        loop {
            let found = self.number(sql).await;
            if found == Some(expected) {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > PATIENCE {
                let words = self.last_words();
                return Err(format!("{sql}: {found:?}, and not {expected}{words}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A sample of a service's metrics; 0 where there is none.
pub async fn metric(service: &Service, name: &str, labels: &[(&str, &str)]) -> f64 {
    service.metrics().await.map_or(0.0, |samples| samples.sum(name, labels))
}

/// Waits until a sample is at least this. Returns how long that took.
///
/// # Errors
/// With the last value, after `within`.
pub async fn until_metric(
    service: &Service,
    name: &str,
    labels: &[(&str, &str)],
    least: f64,
    within: Duration,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    loop {
        let found = metric(service, name, labels).await;
        if found >= least {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > within {
            return Err(format!("{name} {labels:?} is {found}, and not {least}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
