//! Where nobody says, what the design document says holds: every key of its two files, and the numbers of its text.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use cdc::config::{Kind, Preset, described};
use cdc_machine::{Backoff, Retry};
use cdc_postgres::{Endpoint, Settings};

/// What the document's files and its error handling give, key by key.
const WATCHER: [(&str, &str); 10] = [
    ("mongodb.connection_timeout", "10s"),
    ("mongodb.max_retries", "5"),
    ("kafka.compression", "snappy"),
    ("kafka.max_retries", "5"),
    ("token_storage.type", "redis"),
    ("token_storage.redis.addr", "localhost:6379"),
    ("token_storage.redis.db", "0"),
    ("token_storage.max_retries", "3"),
    ("performance.token_save_interval", "10"),
    ("logging.format", "json"),
];

const SYNCER: [(&str, &str); 15] = [
    ("kafka.consumer_group", "cdc-syncer"),
    ("kafka.max_retries", "5"),
    ("postgres.port", "5432"),
    ("postgres.min_connections", "10"),
    ("postgres.max_connections", "50"),
    ("postgres.connection_timeout", "10s"),
    ("postgres.max_retries", "5"),
    ("postgres.write_max_retries", "3"),
    ("batch.buffer_size", "1000"),
    ("batch.flush_interval", "500ms"),
    ("batch.copy_threshold", "100"),
    ("workers.pool_size", "10"),
    ("workers.channel_buffer", "1000"),
    ("logging.level", "info"),
    ("logging.format", "json"),
];

/// Keys that have another default here, each with it: `specs/departures.md` says why. What the files say holds.
const OTHERS: [(&str, &str); 2] = [("kafka.batch_size", "10000"), ("kafka.batch_timeout", "0s")];

/// Keys of the document's files whose value there belongs to the example: a server, a name, a secret.
const ITS_OWN: [&str; 13] = [
    "mongodb.uri",
    "mongodb.database",
    "mongodb.collection",
    "kafka.brokers",
    "kafka.topic",
    "postgres.host",
    "postgres.database",
    "postgres.user",
    "postgres.password",
    "token_storage.redis.password",
    // Named after what is watched: `specs/departures.md`.
    "token_storage.redis.key",
    "token_storage.file.path",
    "logging.level",
];

fn check(kind: Kind, document: &[(&str, &str)]) {
    let options = described(kind);
    for (key, value) in document {
        let option = options.iter().find(|option| option.path == *key);
        let preset = option.map(|option| &option.preset);
        assert_eq!(preset, Some(&Preset::Is((*value).to_owned())), "{kind:?}: {key}");
    }
}

#[test]
fn the_document_s_defaults_are_ours() {
    check(Kind::Watcher, &WATCHER);
    check(Kind::Watcher, &[("logging.level", "info")]);
    check(Kind::Watcher, &OTHERS);
    check(Kind::Syncer, &SYNCER);
}

/// The shipped examples are the document's files, letter by letter: no key of theirs is left out above.
#[test]
fn every_key_of_the_document_s_files_is_compared() {
    let compared = WATCHER.iter().chain(&SYNCER).chain(&OTHERS).map(|(key, _)| *key);
    let known: BTreeSet<&str> = compared.chain(ITS_OWN).collect();
    for text in
        [include_str!("../../../examples/watcher.yaml"), include_str!("../../../examples/syncer.yaml")]
    {
        let mut path: Vec<&str> = Vec::new();
        let mut leaves = 0;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let key = line.trim_start();
            if key.starts_with(['#', '-']) {
                continue;
            }
            let (name, value) = key.split_once(':').unwrap();
            path.truncate((line.len() - key.len()) / 2);
            path.push(name);
            let key = path.join(".");
            let is_section = value.trim().is_empty() && key != "kafka.brokers";
            assert!(is_section || known.contains(key.as_str()), "{key}");
            leaves += usize::from(!is_section);
        }
        assert!(leaves > 10, "the file is read: {leaves}");
    }
}

/// What the document's text gives, and no key is for.
#[test]
fn the_numbers_of_the_text_are_ours() {
    let settings = Settings::new(Endpoint::Host("localhost".to_owned()), "analytics_db", "syncer");
    assert_eq!(settings.max_connection_lifetime, Duration::from_secs(30 * 60));
    assert_eq!(settings.idle_timeout, Duration::from_secs(5 * 60));
    let mut backoff = Backoff::new();
    let waits: Vec<u64> =
        std::iter::from_fn(|| backoff.next(Retry::times(5))).map(|wait| wait.as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16]);
}
