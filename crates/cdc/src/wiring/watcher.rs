use std::sync::Arc;

use cdc_executor::{Health, WatcherService};
use cdc_kafka::{ConnectionSettings, KafkaProducer, ProducerSettings};
use cdc_machine::Lineage;
use cdc_mongo::{EventTracing, MongoSettings, MongoSource};
use cdc_ports::{Failure, ReportSink};
use cdc_watcher::OnTooLarge;
use tokio::sync::watch;

use super::tokens::token_store;
use crate::config::WatcherConfig;

/// Puts the Watcher together.
///
/// # Errors
/// When a setting cannot be used.
pub fn watcher(
    config: &WatcherConfig,
) -> Result<(WatcherService<KafkaProducer>, watch::Receiver<Health>), Failure> {
    let sink = Arc::new(ReportSink::default());
    let producer = KafkaProducer::new(producer_settings(config), Arc::clone(&sink));
    let source = source(config)?;
    // The source says who it is once it is asked.
    let store = token_store(config, String::new())?;
    let (database, jitter) = (config.mongodb.database.clone(), super::jitter::jitter("watcher"));
    Ok(WatcherService::new(config.machine.clone(), database, source, producer, sink, store, jitter))
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
        tracing: EventTracing {
            sampling: config.sampling.sampling(),
            is_recorded: config.tracing.is_some(),
            context_field: config.sampling.context_field.as_deref().map(Box::from),
        },
    })
}

/// The greatest lineage that the configured topics' ends show.
///
/// # Errors
/// Whatever the brokers say, classified.
pub async fn lineage_at_ends(config: &WatcherConfig) -> Result<Option<Lineage>, Failure> {
    let settings = producer_settings(config);
    cdc_kafka::lineage_at_ends(settings.connection, settings.topics).await
}

/// How the Watcher reaches the brokers.
#[must_use]
pub fn watcher_connection(config: &WatcherConfig) -> ConnectionSettings {
    ConnectionSettings {
        brokers: config.kafka.brokers.clone(),
        client_id: format!("cdc-watcher-{}", config.instance),
        properties: config.kafka.properties.as_slice().to_vec(),
    }
}

fn producer_settings(config: &WatcherConfig) -> ProducerSettings {
    let kafka = &config.kafka;
    ProducerSettings {
        connection: watcher_connection(config),
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
