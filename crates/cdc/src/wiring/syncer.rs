use std::path::PathBuf;

use cdc_executor::{Health, SyncerService};
use cdc_kafka::{ConnectionSettings, ConsumerSettings, KafkaConsumer};
use cdc_ports::ProcessId;
use cdc_postgres::{Endpoint, Member, PostgresDatabase, Settings};
use cdc_syncer::{Config, OnBadRecord, OnUniqueViolation, Retries};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use super::watcher::pairs;
use super::{CONNECTION_IDLE, CONNECTION_LIFETIME};
use crate::config::{OnBlocked, OnReject, SyncerConfig};

/// Puts the Syncer together.
#[must_use]
pub fn syncer(
    config: &SyncerConfig,
) -> (SyncerService<KafkaConsumer, PostgresDatabase>, watch::Receiver<Health>) {
    let consumer = KafkaConsumer::new(consumer_settings(config));
    let member = Some(Member { instance: config.instance.clone(), process: ProcessId::own() });
    let database = PostgresDatabase::new(Settings { member, ..postgres_settings(config) });
    let (service, health) = SyncerService::new(limits(config), consumer, database, super::jitter("syncer"));
    (service.telling(config.batches), health)
}

/// The target database, not connected yet.
#[must_use]
pub fn database(config: &SyncerConfig) -> PostgresDatabase {
    PostgresDatabase::new(postgres_settings(config))
}

/// How the Syncer reaches the brokers.
#[must_use]
pub fn syncer_connection(config: &SyncerConfig) -> ConnectionSettings {
    ConnectionSettings {
        brokers: config.kafka.brokers.clone(),
        client_id: format!("cdc-syncer-{}", config.instance),
        properties: pairs(&config.kafka.properties),
    }
}

fn consumer_settings(config: &SyncerConfig) -> ConsumerSettings {
    ConsumerSettings {
        connection: syncer_connection(config),
        topics: config.kafka.topics.clone(),
        group: config.kafka.consumer_group.clone(),
        instance: config.instance.clone(),
        session_timeout: ConsumerSettings::SESSION_TIMEOUT,
        dead_letter_topic: config.dead_letter_topic.as_str().to_owned(),
        replication_factor: -1,
    }
}

fn postgres_settings(config: &SyncerConfig) -> Settings {
    let postgres = &config.postgres;
    let endpoint = if postgres.host.starts_with('/') {
        Endpoint::SocketDirectory(PathBuf::from(&postgres.host))
    } else {
        Endpoint::Host(postgres.host.clone())
    };
    Settings {
        port: postgres.port,
        password: postgres
            .password
            .as_ref()
            .map(|password| password.expose_secret().to_owned())
            .filter(|password| !password.is_empty()),
        connection_timeout: postgres.connection_timeout,
        min_connections: postgres.min_connections,
        max_connections: postgres.max_connections,
        max_connection_lifetime: CONNECTION_LIFETIME,
        idle_timeout: CONNECTION_IDLE,
        consumer_group: config.kafka.consumer_group.clone(),
        copy_threshold: config.batch.copy_threshold as usize,
        manage_schema: postgres.manage_schema,
        namespaces: config.kafka.namespaces.clone(),
        fence: config.fence,
        ..Settings::new(endpoint, postgres.database.as_str(), postgres.user.as_str())
    }
}

fn limits(config: &SyncerConfig) -> Config {
    Config {
        buffer_size: config.batch.buffer_size,
        buffer_bytes: config.batch.buffer_bytes,
        flush_interval: config.batch.flush_interval,
        linger: config.batch.linger,
        pool_size: config.workers.pool_size,
        channel_buffer: config.workers.channel_buffer,
        max_buffered_bytes: config.workers.max_buffered_bytes,
        drain_timeout: config.shutdown_timeout,
        retries: Retries {
            kafka: config.kafka.max_retries,
            postgres_connect: config.postgres.max_retries,
            postgres_write: config.postgres.write_max_retries,
        },
        on_bad_record: match config.on_bad_record {
            OnReject::DeadLetter => OnBadRecord::DeadLetter,
            OnReject::Skip => OnBadRecord::Skip,
            OnReject::Stop => OnBadRecord::Stop,
        },
        on_unique_violation: match config.on_unique_violation {
            OnBlocked::Park => OnUniqueViolation::Park,
            OnBlocked::Reject(OnReject::DeadLetter) => OnUniqueViolation::DeadLetter,
            OnBlocked::Reject(OnReject::Skip) => OnUniqueViolation::Skip,
            OnBlocked::Reject(OnReject::Stop) => OnUniqueViolation::Stop,
        },
        stop_after: config.stop_after,
        offset_reset: config.kafka.offset_reset,
        on_table_error: config.on_table_error,
        max_parked_rows: config.max_parked_rows,
        ..Config::default()
    }
}
