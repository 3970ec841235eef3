//! No invalid value gets past the start.

mod common;

use common::{cdc, example};
use proptest::prelude::*;
use proptest::sample::select;

/// A key and a value that is illegal for it.
fn invalid() -> impl Strategy<Value = (&'static str, &'static str, String)> {
    let word = || "[a-z]{1,12}".prop_map(|word| format!("x{word}"));
    let number = (
        prop_oneof![
            word(),
            Just("0".to_owned()),
            (-9999i64..0).prop_map(|n| n.to_string()),
            "[0-9]{12,20}",
            "[1-9]\\.[0-9]"
        ],
        numbers(),
    );
    let duration = (prop_oneof![word(), "[1-9][0-9]{0,3}", "-[1-9]s", "[1-9]{2}years"], durations());
    let size = (prop_oneof![word(), "[1-9][0-9]{0,2}", "-[1-9]MiB", "[1-9]{2}PiB"], sizes());
    let retries = (prop_oneof![word(), "-[1-9]", "[1-9]{8}", "[1-9]\\.5"], retries());
    let choice = (word(), choices());
    prop_oneof![number, duration, size, retries, choice].prop_map(|(value, (file, key))| (file, key, value))
}

type Key = (&'static str, &'static str);

fn numbers() -> impl Strategy<Value = Key> {
    select(vec![
        ("watcher.yaml", "kafka.batch_size"),
        ("watcher.yaml", "kafka.partitions"),
        ("watcher.yaml", "kafka.replication_factor"),
        ("watcher.yaml", "performance.token_save_interval"),
        ("watcher.yaml", "performance.max_replay_events"),
        ("syncer.yaml", "postgres.port"),
        ("syncer.yaml", "postgres.max_connections"),
        ("syncer.yaml", "batch.buffer_size"),
        ("syncer.yaml", "batch.copy_threshold"),
        ("syncer.yaml", "workers.pool_size"),
        ("syncer.yaml", "workers.channel_buffer"),
        ("syncer.yaml", "parked.max_rows"),
        ("syncer.yaml", "dead_letter.stop_after.window"),
        ("syncer.yaml", "dead_letter.stop_after.at_least"),
    ])
}

fn durations() -> impl Strategy<Value = Key> {
    select(vec![
        ("watcher.yaml", "mongodb.connection_timeout"),
        ("watcher.yaml", "kafka.batch_timeout"),
        ("watcher.yaml", "kafka.delivery_timeout"),
        ("watcher.yaml", "performance.token_save_max_delay"),
        ("watcher.yaml", "shutdown.timeout"),
        ("syncer.yaml", "postgres.connection_timeout"),
        ("syncer.yaml", "batch.flush_interval"),
        ("syncer.yaml", "batch.linger"),
        ("syncer.yaml", "shutdown.timeout"),
    ])
}

fn sizes() -> impl Strategy<Value = Key> {
    select(vec![
        ("watcher.yaml", "performance.max_in_flight_bytes"),
        ("syncer.yaml", "batch.buffer_bytes"),
        ("syncer.yaml", "workers.max_buffered_bytes"),
    ])
}

fn retries() -> impl Strategy<Value = Key> {
    select(vec![
        ("watcher.yaml", "mongodb.max_retries"),
        ("watcher.yaml", "kafka.max_retries"),
        ("watcher.yaml", "token_storage.max_retries"),
        ("syncer.yaml", "kafka.max_retries"),
        ("syncer.yaml", "postgres.max_retries"),
        ("syncer.yaml", "postgres.write_max_retries"),
    ])
}

fn choices() -> impl Strategy<Value = Key> {
    select(vec![
        ("watcher.yaml", "format"),
        ("watcher.yaml", "mongodb.full_document"),
        ("watcher.yaml", "kafka.compression"),
        ("watcher.yaml", "token_storage.type"),
        ("watcher.yaml", "logging.level"),
        ("watcher.yaml", "logging.format"),
        ("watcher.yaml", "on_history_lost"),
        ("watcher.yaml", "on_too_large"),
        ("watcher.yaml", "http.listen"),
        ("syncer.yaml", "postgres.manage_schema"),
        ("syncer.yaml", "on_bad_record"),
        ("syncer.yaml", "kafka.namespaces"),
        ("syncer.yaml", "kafka.offset_reset"),
        ("syncer.yaml", "on_unique_violation"),
        ("syncer.yaml", "on_table_error"),
        ("syncer.yaml", "fence"),
        ("syncer.yaml", "logging.level"),
    ])
}

/// The same key as YAML.
fn yaml(key: &str, value: &str) -> String {
    key.rsplit('.').fold(format!("'{value}'"), |inner, part| format!("{{ {part}: {inner} }}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Feature: cdc-pipeline, Property 23: Configuration Validation Rejection
    /// Validates: Requirements 11.5
    #[test]
    fn an_invalid_value_is_refused_at_the_start_by_its_name((file, key, value) in invalid(), layer in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.yaml");
        let (base, wrong) = (example(file), path.display().to_string());
        let variable = format!("CDC__{}", key.replace('.', "__").to_uppercase());
        let flag = format!("{key}={value}");
        let outcome = match layer {
            0 => {
                std::fs::write(&path, yaml(key, &value)).unwrap();
                cdc(&["validate", "--offline", "-c", &base, "-c", &wrong], &[])
            }
            1 => cdc(&["validate", "--offline", "-c", &base], &[(&variable, &value)]),
            _ => cdc(&["validate", "--offline", "-c", &base, "--set", &flag], &[]),
        };
        prop_assert_eq!(outcome.code, 78, "{} = {:?}: {}", key, value, outcome.stdout);
        let place = [wrong.as_str(), variable.as_str(), key][layer];
        prop_assert!(outcome.stderr.contains(&format!("{key}: ")), "{}", outcome.stderr);
        prop_assert!(outcome.stderr.contains(place), "{}", outcome.stderr);
        prop_assert!(outcome.stderr.contains("legal: "), "{}", outcome.stderr);
        prop_assert_eq!(outcome.stdout, "");
    }
}
