use std::sync::Arc;

use cdc_executor::{Ended, Health, Shutdown, Start, WatcherService};
use cdc_kafka::{ConnectionSettings, KafkaProducer, ProducerSettings};
use cdc_machine::{Backoff, Cause, Dependency, Fault, Lineage, Retry, Signal};
use cdc_mongo::{Deployment, MongoSettings, MongoSource};
use cdc_ports::{Failure, ReportSink, Sighting};
use cdc_watcher::{Config, OnTooLarge};
use tokio::sync::watch;

use super::tokens::token_store;
use crate::config::WatcherConfig;

/// Puts the Watcher together. `source_name` is what [`describe_source`] found.
///
/// # Errors
/// When a setting cannot be used.
pub fn watcher(
    config: &WatcherConfig,
    source: MongoSource,
    source_name: String,
) -> Result<(WatcherService<KafkaProducer>, watch::Receiver<Health>), Failure> {
    let sink = Arc::new(ReportSink::default());
    let producer = KafkaProducer::new(producer_settings(config), Arc::clone(&sink));
    let store = token_store(config, source_name)?;
    let (database, jitter) = (config.mongodb.database.clone(), super::jitter::jitter("watcher"));
    Ok(WatcherService::new(limits(config), database, source, producer, sink, store, jitter))
}

/// The source port, not connected yet.
///
/// # Errors
/// When a setting cannot be used.
pub fn source(config: &WatcherConfig) -> Result<MongoSource, Failure> {
    let mongodb = &config.mongodb;
    let collections =
        mongodb.collections.iter().cloned().zip(config.topics().into_iter().map(Arc::from)).collect();
    MongoSource::new(MongoSettings {
        uri: mongodb.uri.clone(),
        database: mongodb.database.clone(),
        collections,
        connection_timeout: mongodb.connection_timeout,
        full_document: mongodb.full_document,
        batch_events: MongoSettings::DEFAULT_BATCH_EVENTS,
        max_await: MongoSettings::DEFAULT_MAX_AWAIT,
    })
}

/// Asks the source who it is: the name that the token record is made for; and what it has under the watched
/// names. What cannot be watched is refused before anything else begins. Retried as every connection is.
///
/// # Errors
/// The cause of giving up: all retries used, a refusal, or a signal.
pub async fn describe_source(
    source: &mut MongoSource,
    database: &str,
    retry: Retry,
    start: &Start,
    shutdown: &Shutdown,
) -> Result<String, Ended> {
    let mut signals = shutdown.signals();
    let mut backoff = Backoff::new();
    loop {
        let failure = tokio::select! {
            described = fit(source) => match described {
                Ok(Ok(replica_set)) => return Ok(format!("{replica_set}/{database}")),
                Ok(Err(unfit)) => {
                    let cause = Cause::Unsupported(Dependency::MongoDb);
                    return Err(Ended { cause, last_failure: Some(unfit) });
                }
                Err(failure) => failure,
            },
            signal = signals.next() => return Err(stopped(signal).into()),
        };
        start.failed(&failure, backoff.retries(), retry.max_retries);
        let end = |cause| Ended { cause, last_failure: Some(failure.to_string()) };
        let wait = match failure.fault {
            Fault::Auth => return Err(end(Cause::Refused(Dependency::MongoDb))),
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Unfit => backoff
                .next(retry)
                .ok_or_else(|| end(Cause::after_retries(failure.fault, Dependency::MongoDb)))?,
            Fault::Bug => return Err(end(Cause::ADAPTER_BUG)),
            Fault::Blocked
            | Fault::Poison
            | Fault::TooLarge
            | Fault::HistoryLost
            | Fault::Fenced
            | Fault::Fatal => return Err(end(Cause::Failed(Dependency::MongoDb))),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            signal = signals.next() => return Err(stopped(signal).into()),
        }
    }
}

/// The greatest lineage that the configured topics' ends show.
///
/// # Errors
/// Whatever the brokers say, classified.
pub async fn lineage_at_ends(config: &WatcherConfig) -> Result<Option<Lineage>, Failure> {
    let settings = producer_settings(config);
    cdc_kafka::lineage_at_ends(settings.connection, settings.topics).await
}

/// The replica set's name; or why it cannot be watched as the configuration has it, with every name that cannot.
async fn fit(source: &mut MongoSource) -> Result<Result<String, String>, Failure> {
    let replica_set = match source.describe().await? {
        Deployment::ReplicaSet { name, .. } => name,
        Deployment::Unfit(text) => return Ok(Err(text)),
    };
    let complaints: Vec<String> = source.survey().await?.iter().filter_map(Sighting::complaint).collect();
    Ok(if complaints.is_empty() { Ok(replica_set) } else { Err(complaints.join("; ")) })
}

const fn stopped(signal: Signal) -> Cause {
    match signal {
        Signal::Drain => Cause::Drained,
        Signal::Abort => Cause::Aborted,
    }
}

fn producer_settings(config: &WatcherConfig) -> ProducerSettings {
    let kafka = &config.kafka;
    ProducerSettings {
        connection: ConnectionSettings {
            brokers: kafka.brokers.clone(),
            client_id: format!("cdc-watcher-{}", config.instance),
            properties: pairs(&kafka.properties),
        },
        topics: config.topics().into_iter().map(Arc::from).collect(),
        partitions: kafka.partitions,
        replication_factor: i32::from(kafka.replication_factor),
        compression: kafka.compression,
        batch_size: kafka.batch_size,
        batch_timeout: kafka.batch_timeout,
        delivery_timeout: kafka.delivery_timeout,
        max_in_flight_events: u32::try_from(config.machine.max_replay_events).unwrap_or(u32::MAX),
        max_in_flight_bytes: config.machine.max_in_flight_bytes,
        limits_timeout: ProducerSettings::LIMITS_TIMEOUT,
        dead_letter_topic: match config.machine.on_too_large {
            OnTooLarge::DeadLetter => Some(config.dead_letter_topic.as_str().to_owned()),
            OnTooLarge::Skip | OnTooLarge::Stop => None,
        },
    }
}

pub(crate) fn pairs(properties: &crate::config::Properties) -> Vec<(String, String)> {
    properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn limits(config: &WatcherConfig) -> Config {
    Config { lease_ttl: cdc_tokens::LEASE_TTL, ..config.machine.clone() }
}
