use std::path::PathBuf;

use cdc_executor::{Health, SyncerService};
use cdc_kafka::{ConnectionSettings, ConsumerSettings, KafkaConsumer};
use cdc_ports::ProcessId;
use cdc_postgres::{Endpoint, Member, PostgresDatabase, Settings};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use super::jitter::jitter;
use crate::config::SyncerConfig;

/// Puts the Syncer together.
#[must_use]
pub fn syncer(
    config: &SyncerConfig,
) -> (SyncerService<KafkaConsumer, PostgresDatabase>, watch::Receiver<Health>) {
    let consumer = KafkaConsumer::new(consumer_settings(config));
    let member = Some(Member { instance: config.instance.clone(), process: ProcessId::own() });
    let database = PostgresDatabase::new(Settings { member, ..postgres_settings(config) });
    let (service, health) = SyncerService::new(config.machine.clone(), consumer, database, jitter("syncer"));
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
        properties: config.kafka.properties.as_slice().to_vec(),
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
        consumer_group: config.kafka.consumer_group.clone(),
        copy_threshold: postgres.copy_threshold,
        manage_schema: postgres.manage_schema,
        namespaces: config.kafka.namespaces.clone(),
        fence: postgres.fence,
        endpoint,
        database: postgres.database.clone(),
        user: postgres.user.clone(),
        ..postgres.naming_settings()
    }
}
