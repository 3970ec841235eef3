//! What an earlier release leaves behind, in MongoDB's token store, in Kafka and in PostgreSQL, is what the present
//! Watcher and Syncer go on with: nothing is lost, nothing is read twice, and what a newer release has made is refused.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cdc_devstack::compare;
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE, TOKEN_KEY, messages_in_topics};
use cdc_devstack::source::{Copied, PLAYERS, Source, Target};
use cdc_devstack::workload::{Applied, Writer};
use cdc_tests::testbed::Testbed;
use cdc_tests::topic::{self, Offsets, TopicMessage};
use cdc_tests::{Failure, history, verdict};
use redis::AsyncCommands as _;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// The bookkeeping of the earlier release with a typed table and a mirror, as it left them.
const VERSION_1: &str = include_str!("../../crates/postgres/tests/live/version_1.sql");
/// What the owner of the typed table had made of it.
const TYPED: &str = "
    ALTER TABLE players ADD COLUMN score bigint NOT NULL DEFAULT 0, ADD COLUMN created_at timestamp,
    ADD CONSTRAINT unique_username UNIQUE (username)";
const COLLECTIONS: [Copied; 2] = [PLAYERS[0], Copied { name: "things", target: Target::Mirror }];
const SETTINGS: [(&str, &str); 1] = [("CDC__KAFKA__PARTITIONS", "2")];
/// Changes before the upgrade, while nothing runs, and after it.
const CHANGES: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(60);

/// The members of a token record in the order in which the first two versions wrote them, but for what was new in the
/// second.
const MEMBERS: [&str; 15] = [
    "version",
    "incarnation",
    "owner",
    "sequence",
    "holder",
    "lease_expires_at_ms",
    "taken_over_at_ms",
    "resume_token",
    "position",
    "cluster_time",
    "lineage",
    "saved_at_ms",
    "source",
    "collections",
    "gaps",
];

/// A record as the earlier releases wrote it in this version, with what this one knows.
fn record_of_version(version: u32, present: &Value) -> String {
    let mut record = serde_json::Map::new();
    for name in MEMBERS {
        let value = match (name, version) {
            ("version", _) => json!(version),
            ("collections", 1) => json!(COLLECTIONS.map(|copied| copied.name)),
            _ => present[name].clone(),
        };
        if (name, version) == ("source", 2) {
            record.insert("position_lost".to_owned(), json!(false));
        }
        record.insert(name.to_owned(), value);
        if (name, version) == ("collections", 1) {
            let topics = Source::new(SOURCE_DATABASE, &COLLECTIONS).topics();
            record.insert("topics".to_owned(), json!(topics));
        }
    }
    signed(Value::Object(record).to_string())
}

/// With the checksum of everything before it, as every version has had it.
fn signed(mut text: String) -> String {
    text.pop();
    let checksum = xxh3_64(text.as_bytes());
    format!("{text},\"checksum\":\"{checksum:016x}\"}}")
}

/// What the earlier release's Syncer had done when it was stopped: the first half of each partition is written.
struct Left {
    offsets: Offsets,
    /// Messages that it had not read.
    unread: usize,
}

/// Puts into the tables what those messages come to, with one document parked that nobody blocks any more.
async fn leave(postgres: &tokio_postgres::Client, published: &[TopicMessage]) -> Result<Left, Failure> {
    postgres.batch_execute(VERSION_1).await?;
    postgres.batch_execute(TYPED).await?;
    let mut offsets = Offsets::new();
    for message in published {
        let next = offsets.entry(message.topic.clone()).or_default().entry(message.partition).or_insert(0);
        *next = (*next).max(message.offset + 1);
    }
    offsets.values_mut().flat_map(BTreeMap::values_mut).for_each(|next| *next /= 2);
    let is_read = |message: &&TopicMessage| message.offset < offsets[&message.topic][&message.partition];
    let key = |message: &TopicMessage| (message.topic.clone(), message.key.clone());
    let newest: BTreeMap<_, _> =
        published.iter().filter(is_read).map(|message| (key(message), message)).collect();
    let touched_later =
        |one: &TopicMessage| published.iter().any(|other| !is_read(&other) && key(other) == key(one));
    let mut parked = 0;
    for message in newest.into_values() {
        let is_typed = message.topic.ends_with(".players");
        let is_deleted = message.value["operation_type"] == "delete";
        if is_typed && !is_deleted && parked == 0 && !touched_later(message) {
            park(postgres, message).await?;
            parked += 1;
        } else {
            write(postgres, message, is_typed, is_deleted).await?;
        }
    }
    assert_eq!(parked, 1, "no document of the typed table was left alone in the second half");
    for (topic, partitions) in &offsets {
        for (partition, next) in partitions {
            let ledger = "INSERT INTO cdc.partitions VALUES ('cdc-syncer', $1, $2, 3, 'an-owner', $3)
                          ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET next_offset = $3";
            postgres.execute(ledger, &[topic, partition, next]).await?;
        }
    }
    let gap = "INSERT INTO cdc.gaps (consumer_group, topic, partition, from_offset, to_offset, cause)
               VALUES ('cdc-syncer', 'cdc.game_db.things', 0, 0, 1, 'truncated')";
    postgres.execute(gap, &[]).await?;
    let unread = published.iter().filter(|message| !is_read(message)).count();
    Ok(Left { offsets, unread })
}

fn position(message: &TopicMessage) -> &str {
    message.position_header.as_deref().unwrap_or_default()
}

async fn write(
    postgres: &tokio_postgres::Client,
    message: &TopicMessage,
    is_typed: bool,
    is_deleted: bool,
) -> Result<(), Failure> {
    let id = message.value["document_key"]["_id"].as_str().unwrap_or_default();
    let table = if is_typed { "public.players" } else { "public.things" };
    if is_deleted {
        let bury = "INSERT INTO cdc.tombstones VALUES ($1, $2, decode($3, 'hex'))";
        postgres.execute(bury, &[&table, &id, &position(message)]).await?;
        return Ok(());
    }
    let document = &message.value["full_document"];
    // A lookup that found the document gone told nothing.
    if document.is_null() {
        return Ok(());
    }
    let document = document.to_string();
    if is_typed {
        let statement = "INSERT INTO players (id, username, level, score, created_at, cdc_position)
            SELECT $1, d->>'username', coalesce((d->>'level')::int, 1), coalesce((d->>'score')::bigint, 0),
            (d->>'created_at')::timestamp, decode($3, 'hex') FROM (SELECT $2::text::jsonb AS d) AS s";
        postgres.execute(statement, &[&id, &document, &position(message)]).await?;
    } else {
        let full = |pointer: &Value| pointer.as_str().is_some_and(|text| text.starts_with("/full_document"));
        let mut types = message.value["bson_types"].clone();
        if let Some(types) = types.as_object_mut() {
            for pointers in types.values_mut().filter_map(Value::as_array_mut) {
                pointers.retain(full);
            }
            types.retain(|_, pointers| pointers.as_array().is_some_and(|pointers| !pointers.is_empty()));
        }
        let statement = "INSERT INTO things (id, document, bson_types, cdc_position)
            VALUES ($1, $2::text::jsonb, $3::text::jsonb, decode($4, 'hex'))";
        postgres.execute(statement, &[&id, &document, &types.to_string(), &position(message)]).await?;
    }
    Ok(())
}

async fn park(postgres: &tokio_postgres::Client, message: &TopicMessage) -> Result<(), Failure> {
    let statement = "INSERT INTO cdc.parked (table_name, id, position, consumer_group, topic, partition,
        record_offset, route, key, value, headers, timestamp_ms, constraint_name, attempts)
        VALUES ('public.players', $1, decode($2, 'hex'), 'cdc-syncer', $3, $4, $5, $6::text::numeric, $7, $8, '', 0,
        'unique_username', 2)";
    let id = message.value["document_key"]["_id"].as_str().unwrap_or_default();
    let route = xxh3_64(message.key.as_bytes()).to_string();
    let (key, value) = (message.key.as_bytes(), message.value.to_string());
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &id,
        &position(message),
        &message.topic,
        &message.partition,
        &message.offset,
        &route,
        &key,
        &value.as_bytes(),
    ];
    postgres.execute(statement, values).await?;
    Ok(())
}

async fn change(writer: &mut Writer) -> Applied {
    let mut applied = Applied::default();
    while applied.total() < CHANGES {
        applied.add(writer.step().await.unwrap());
    }
    applied
}

/// Waits until the topics have at least so many messages.
async fn until_published(brokers: &str, source: &Source, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    while messages_in_topics(brokers, &source.topics()).unwrap().unsigned_abs() < wanted {
        assert!(Instant::now() < deadline, "{wanted} messages have not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The start of a service that is to refuse what it finds, and what it says.
async fn refused(deployment: &Deployment) -> String {
    let mut service = deployment.spawn().unwrap();
    let status = service.exited(PATIENCE).await.unwrap();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    std::fs::read_to_string(service.log()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_release_left_is_gone_on_with() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    let mut redis =
        redis::Client::open(stack.redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let since = history::now(&mongo).await.unwrap();
    let deploy = |role, name: &str, settings: &[(&str, &str)]| {
        Deployment::over(&source, role, name, stack.folder(), &endpoints, settings).unwrap()
    };
    let read = || topic::read_topics(&endpoints.kafka_brokers, &source.topics(), &Offsets::new()).unwrap();

    // The messages have been the same since the first release.
    let watcher = deploy(Role::Watcher, "watcher", &SETTINGS);
    let mut watching = watcher.start().await.unwrap();
    let mut writer = Writer::new(&mongo, &source, 13, 0..150, 20);
    let mut changes = change(&mut writer).await;
    let published = async |wanted: u64| until_published(&endpoints.kafka_brokers, &source, wanted).await;
    published(changes.total()).await;
    watching.terminate(PATIENCE).await.unwrap();
    let (first, left) = (changes.total(), leave(&postgres, &read()).await.unwrap());
    assert!(left.unread > 0 && left.offsets.len() == 2, "{:?}", left.offsets);

    for version in [1, 2] {
        let found: String = redis.get(TOKEN_KEY).await.unwrap();
        let present: Value = serde_json::from_str(&found).unwrap();
        let () = redis.set(TOKEN_KEY, record_of_version(version, &present)).await.unwrap();
        changes.add(change(&mut writer).await);
        watching = watcher.start().await.unwrap();
        changes.add(change(&mut writer).await);
        published(changes.total()).await;
        let status = watching.terminate(PATIENCE).await.unwrap();
        assert_eq!(status.code(), Some(0));
        let upgraded: Value =
            serde_json::from_str(&redis.get::<_, String>(TOKEN_KEY).await.unwrap()).unwrap();
        assert!(upgraded["version"].as_u64() >= Some(2), "{upgraded}");
        assert_eq!(upgraded["lineage"], present["lineage"]);
        assert_eq!(upgraded["gaps"], json!([]));
        // It goes on behind what was acknowledged: nothing is missing, and nothing is told twice.
        let (happened, published) = (history::changes(&mongo, &source, since).await.unwrap(), read());
        assert_eq!((happened.len() as u64, published.len()), (changes.total(), happened.len()));
        assert!(
            verdict::absent(&happened, &published).is_empty() && verdict::reordered(&published).is_empty()
        );
    }

    let syncer = deploy(Role::Syncer, "syncer", &[]);
    let mut syncing = syncer.start().await.unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, PATIENCE).await.unwrap();
    assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");
    let number = async |sql: &str| postgres.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let version = number("SELECT version::bigint FROM cdc.version").await;
    assert!(version > 1, "{version}");
    assert_eq!(number("SELECT count(*) FROM cdc.parked").await, 0);
    assert_eq!(number("SELECT count(*) FROM cdc.gaps").await, 1);
    let consumed = syncing.metrics().await.unwrap().sum("syncer_messages_consumed_total", &[]);
    let unread = left.unread as u64 + changes.total() - first;
    assert_eq!(consumed, unread as f64, "it reads what was not read yet, each once");
    assert_eq!(syncing.terminate(PATIENCE).await.unwrap().code(), Some(0));

    // What a newer one has made is refused by number.
    postgres.batch_execute("UPDATE cdc.version SET version = 1000").await.unwrap();
    let said = refused(&syncer).await;
    assert!(said.contains("version 1000") && said.contains(&format!("versions up to {version}")), "{said}");
    let newer = signed(json!({"version": 99, "incarnation": 1}).to_string());
    let () = redis.set(TOKEN_KEY, &newer).await.unwrap();
    let said = refused(&watcher).await;
    assert!(said.contains("version 99"), "{said}");
    assert_eq!(redis.get::<_, String>(TOKEN_KEY).await.unwrap(), newer, "and left as it is");
}
