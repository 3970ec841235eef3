//! Bad records of every class among good ones: the good ones land, the bad ones are found in the dead letters
//! by topic, partition, offset and reason; and too many of them stop the Syncer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bson::{Bson, DateTime, Document, doc};
use cdc_devstack::pipeline::{Deployment, Endpoints, PLAYERS_TABLE, Role, SOURCE_DATABASE, TOPIC};
use cdc_devstack::{Options, Service, Stack};
use cdc_tests::held::until_held;
use cdc_tests::log::Log;
use cdc_tests::messages::Spelled;
use cdc_tests::site::until_metric;
use cdc_tests::{Failure, topic};
use mongodb::Client;
use rdkafka::message::{Message as _, OwnedMessage};
use serde_json::Value;

const GOOD: u64 = 100_000;
const BAD: u64 = 1_000;
const PARTITIONS: u64 = 8;
/// Documents of each bad kind, and of the good kind, that go through MongoDB and the Watcher.
const DOCUMENTS: u32 = 10;
/// Dead letters that may be in flight at once.
const IN_FLIGHT_MAX: usize = 16;
const PATIENCE: Duration = Duration::from_secs(120);

/// A part of each bad value, which must never stand in a log.
const SENTINEL: &str = "s3ntinel";

/// What PostgreSQL alone can refuse, besides the table as it is.
const LIMITS: &str = "
CREATE TABLE guilds (id text PRIMARY KEY);
ALTER TABLE players ADD COLUMN guild_id text REFERENCES guilds (id);
ALTER TABLE players ADD COLUMN motto text;
ALTER TABLE players ADD CONSTRAINT level_limit CHECK (level < 1000);
CREATE INDEX mottos ON players (motto);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no such score: %', NEW.score; END $$;
CREATE TRIGGER cursed BEFORE INSERT ON players FOR EACH ROW WHEN (NEW.score = 666) EXECUTE FUNCTION refuse();
INSERT INTO players (id, username, created_at, cdc_timestamp) VALUES ('taken', 'taken', now(), now());
";

/// A class of bad records: its reason, PostgreSQL's code where that says no, and one of its kind.
type Class = (&'static str, Option<&'static str>, fn(&str, u64) -> Spelled);

const CLASSES: [Class; 12] = [
    ("malformed", None, |id, at| Spelled::nonsense(id, b"s3ntinel is no JSON", at)),
    ("malformed", None, |id, at| Spelled::nonsense(id, b"{\"version\":1}", at)),
    ("newer_version", None, |id, at| Spelled::of_version(2, "players", id, ",\"username\":\"s3ntinel\"", at)),
    ("missing_value", None, |id, at| Spelled::upsert("players", id, ",\"level\":1", at)),
    ("type_conflict", None, |id, at| {
        Spelled::upsert("players", id, &format!(",\"username\":\"{id}\",\"level\":\"s3ntinel\""), at)
    }),
    ("out_of_range", None, |id, at| {
        Spelled::upsert("players", id, &format!(",\"username\":\"{id}\",\"level\":3000000000"), at)
    }),
    ("out_of_range", None, |id, at| Spelled::upsert("players", id, ",\"username\":\"s3ntinel\\u0000\"", at)),
    ("check_violation", Some("23514"), |id, at| {
        Spelled::upsert("players", id, &format!(",\"username\":\"{id}\",\"level\":1000"), at)
    }),
    ("foreign_key_violation", Some("23503"), |id, at| {
        Spelled::upsert("players", id, &format!(",\"username\":\"{id}\",\"guild_id\":\"s3ntinel\""), at)
    }),
    ("unique_violation", Some("23505"), |id, at| {
        Spelled::upsert("players", id, ",\"username\":\"taken\"", at)
    }),
    ("too_large", Some("54000"), |id, at| {
        let motto = scattered(id, 9_000);
        Spelled::upsert("players", id, &format!(",\"username\":\"{id}\",\"motto\":\"{motto}\""), at)
    }),
    ("database", Some("P0001"), |id, at| {
        Spelled::upsert("players", id, &format!(",\"username\":\"{id}\",\"score\":666"), at)
    }),
];

/// Text that does not compress: an index entry holds at most a third of a page, compressed.
fn scattered(seed: &str, length: usize) -> String {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut text = String::from(SENTINEL);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(b'a' + u8::try_from(state >> 59).unwrap() % 26));
    }
    text
}

/// What is expected in the dead letters, by partition and offset.
#[derive(Debug)]
struct Expected {
    reason: &'static str,
    sqlstate: Option<&'static str>,
    key: String,
    body: Vec<u8>,
    position: Option<String>,
}

/// Feature: cdc-pipeline, Property 10: Consumer Error Resilience
/// Validates: Requirements 4.4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_records_are_found_and_hold_nobody_up_and_too_many_hold_their_topic() {
    let _turn = crate::TURN.lock().await;
    let stack = Box::pin(Stack::start(Options::default())).await.unwrap();
    let stage = Stage::new(&stack).await;
    let begun = Instant::now();
    stage.every_class_is_found_among_good_ones(&stack).await;
    println!("{GOOD} good and {BAD} bad records and documents: {:.1} s", begun.elapsed().as_secs_f64());
    stage.a_body_that_does_not_fit_is_left_out(&stack).await;
    stage.too_many_hold_their_topic(&stack).await;
    stage.the_other_policies(&stack).await;
}

struct Stage {
    endpoints: Endpoints,
    postgres: tokio_postgres::Client,
    log: Log,
}

impl Stage {
    async fn new(stack: &Stack) -> Self {
        let endpoints = Endpoints::of(stack);
        let postgres = endpoints.postgres().await.unwrap();
        postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
        postgres.batch_execute(LIMITS).await.unwrap();
        let log = Log::new(&endpoints.kafka_brokers).unwrap();
        Self { endpoints, postgres, log }
    }

    fn syncer(&self, stack: &Stack, name: &str, settings: &[(&str, &str)]) -> Deployment {
        let mut all = vec![("CDC__ON_UNIQUE_VIOLATION", "dead_letter")];
        all.extend(settings);
        Deployment::new(Role::Syncer, name, stack.folder(), &self.endpoints, &all).unwrap()
    }

    /// A Syncer of its own group on one topic.
    fn syncer_of(&self, stack: &Stack, collection: &str, settings: &[(&str, &str)]) -> Deployment {
        let topic = format!("cdc.{SOURCE_DATABASE}.{collection}");
        let mut all = vec![("CDC__KAFKA__TOPIC", topic.as_str()), ("CDC__KAFKA__CONSUMER_GROUP", collection)];
        all.extend(settings);
        self.syncer(stack, collection, &all)
    }

    async fn number(&self, sql: &str) -> i64 {
        self.postgres.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn until(&self, sql: &str, expected: i64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A table that the Syncer makes may not be there yet.
            let found = self.postgres.query_one(sql, &[]).await.map(|row| row.get::<_, i64>(0));
            if found.as_ref().is_ok_and(|found| *found == expected) {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: {found:?}, and not {expected}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn every_class_is_found_among_good_ones(&self, stack: &Stack) {
        let watcher =
            Deployment::new(Role::Watcher, "watcher", stack.folder(), &self.endpoints, &[]).unwrap();
        // It makes the topic, and with an empty topic it has no reason to miss its token.
        let mut watching = watcher.start().await.unwrap();
        let mut syncing = self.syncer(stack, "syncer", &[]).start().await.unwrap();

        let mut expected = self.produce();
        let ends = topic::ends(&self.endpoints.kafka_brokers, TOPIC).unwrap();
        let documents = self.insert_documents().await.unwrap();
        let wrong = format!(
            "SELECT count(*) FROM generate_series(0, {GOOD} - 1) AS n LEFT JOIN players AS p ON p.id = 'good-' || n \
             WHERE p.username IS DISTINCT FROM 'name good-' || n OR p.level <> n % 100"
        );
        self.until(&wrong, 0).await;
        let good_documents = "SELECT count(*) FROM players WHERE id LIKE 'document-good-%'";
        self.until(good_documents, i64::from(DOCUMENTS)).await;
        expected.extend(self.expected_of(&documents, &ends));
        assert_eq!(expected.len() as u64, BAD + documents.len() as u64);

        let dead = self.dead_letters(TOPIC, expected.len()).await;
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for message in &dead {
            let place = check_dead_letter(message, TOPIC);
            let wanted =
                expected.remove(&place).unwrap_or_else(|| panic!("{place:?} is not bad, or came twice"));
            check_against(message, &wanted);
            *counts.entry(wanted.reason).or_default() += 1;
        }
        assert!(expected.is_empty(), "not in the dead letters: {expected:?}");
        // A record counts once the broker's answer is back, which is a moment after it can be read.
        let all = counts.values().sum::<u64>() as f64;
        until_metric(&syncing, "cdc_dead_letters_total", &[], all, PATIENCE).await.unwrap();
        let metrics = syncing.metrics().await.unwrap();
        for (reason, count) in &counts {
            let counted = metrics.value("cdc_dead_letters_total", &[("reason", reason)]);
            assert_eq!(counted, Some(*count as f64), "{reason}");
        }
        let bad_rows = "SELECT count(*) FROM players WHERE id LIKE 'bad-%' OR id LIKE 'document-bad-%'";
        assert_eq!(self.number(bad_rows).await, 0);
        println!("dead letters by reason: {counts:?}");

        assert_eq!(syncing.terminate(PATIENCE).await.unwrap().code(), Some(0));
        watching.terminate(PATIENCE).await.unwrap();
        let log = std::fs::read_to_string(syncing.log()).unwrap();
        assert!(!log.contains(SENTINEL), "a log outlives the right to what it quotes");
    }

    /// Puts the bad ones among the good ones, evenly. The producer keeps the order within a partition, so that
    /// offsets can be counted.
    fn produce(&self) -> BTreeMap<(i32, i64), Expected> {
        let mut next = [0i64; PARTITIONS as usize];
        let mut expected = BTreeMap::new();
        let mut position = 0;
        let mut put = |message: Spelled| {
            let partition = usize::try_from(position % PARTITIONS).unwrap();
            self.log.put(TOPIC, i32::try_from(partition).unwrap(), &message).unwrap();
            position += 1;
            let offset = next[partition];
            next[partition] += 1;
            ((i32::try_from(partition).unwrap(), offset), message)
        };
        for n in 0..GOOD {
            put(Spelled::player(&format!("good-{n}"), n % 100, n));
            if n % (GOOD / BAD) == GOOD / BAD / 2 {
                let bad = n / (GOOD / BAD);
                let (reason, sqlstate, spell) = CLASSES[usize::try_from(bad).unwrap() % CLASSES.len()];
                let (place, message) = put(spell(&format!("bad-{bad}"), n));
                let Spelled { key, value, position } = message;
                let wanted = Expected { reason, sqlstate, key, body: value, position: Some(position) };
                expected.insert(place, wanted);
            }
        }
        self.log.flush().unwrap();
        let ends: Vec<i64> = self.log.bounds(TOPIC).unwrap().into_iter().map(|(_, end)| end).collect();
        assert_eq!(ends, next, "offsets are what was counted");
        expected
    }

    /// Documents that no row can hold, and some that one can. Returns the reason for each bad one by its `_id`.
    async fn insert_documents(
        &self,
    ) -> Result<BTreeMap<String, (&'static str, Option<&'static str>)>, Failure> {
        let client = Client::with_uri_str(&self.endpoints.mongodb_uri).await?;
        let players = client.database(SOURCE_DATABASE).collection::<Document>("players");
        let player = |id: &str| doc! { "_id": id, "username": id, "level": 1, "created_at": DateTime::now() };
        let kinds: [(&str, Option<&str>, &str, Bson); 6] = [
            ("missing_value", None, "username", Bson::Null),
            ("type_conflict", None, "level", Bson::from(SENTINEL)),
            ("out_of_range", None, "level", Bson::Int64(3_000_000_000)),
            ("out_of_range", None, "username", Bson::from(format!("{SENTINEL}\0"))),
            ("check_violation", Some("23514"), "level", Bson::Int32(1000)),
            ("foreign_key_violation", Some("23503"), "guild_id", Bson::from(SENTINEL)),
        ];
        let (mut bad, mut all) = (BTreeMap::new(), Vec::new());
        for n in 0..DOCUMENTS {
            for (kind, (reason, sqlstate, field, value)) in kinds.iter().enumerate() {
                let id = format!("document-bad-{kind}-{n}");
                let mut document = player(&id);
                document.insert(*field, value.clone());
                bad.insert(id, (*reason, *sqlstate));
                all.push(document);
            }
            all.push(player(&format!("document-good-{n}")));
        }
        players.insert_many(all).await?;
        Ok(bad)
    }

    /// Where the Watcher put the bad documents.
    fn expected_of(
        &self,
        documents: &BTreeMap<String, (&'static str, Option<&'static str>)>,
        starts: &BTreeMap<i32, i64>,
    ) -> BTreeMap<(i32, i64), Expected> {
        let read = topic::read_raw(&self.endpoints.kafka_brokers, TOPIC, starts).unwrap();
        read.iter()
            .filter_map(|message| {
                let value: Value = serde_json::from_slice(message.payload()?).ok()?;
                let (reason, sqlstate) = *documents.get(value["document_key"]["_id"].as_str()?)?;
                let expected = Expected {
                    reason,
                    sqlstate,
                    key: String::from_utf8_lossy(message.key()?).into_owned(),
                    body: message.payload()?.to_vec(),
                    position: value["position"].as_str().map(str::to_owned),
                };
                Some(((message.partition(), message.offset()), expected))
            })
            .collect()
    }

    /// The dead letters of a topic, once there are so many.
    async fn dead_letters(&self, topic: &str, count: usize) -> Vec<OwnedMessage> {
        let dead = format!("{topic}.dead-letters");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let read = topic::read_raw(&self.endpoints.kafka_brokers, &dead, &BTreeMap::new()).unwrap();
            if read.len() >= count {
                return read;
            }
            assert!(Instant::now() < deadline, "{} dead letters of {count}", read.len());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until so many records of a topic are in its dead letters. One that fell before a stop may have fallen
    /// again: there may be more messages than places, and they may come first.
    async fn until_places(&self, topic: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let dead = self.dead_letters(topic, count).await;
            let places: BTreeSet<_> = dead.iter().map(|message| check_dead_letter(message, topic)).collect();
            if places.len() >= count {
                assert_eq!(places.len(), count, "a good record is in the dead letters");
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} places of {count} among {} dead letters",
                places.len(),
                dead.len()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn a_body_that_does_not_fit_is_left_out(&self, stack: &Stack) {
        let topic = format!("cdc.{SOURCE_DATABASE}.wide");
        self.log.create(&topic, 1, &[("max.message.bytes", "3000000")]).await.unwrap();
        self.log.create(&format!("{topic}.dead-letters"), 1, &[]).await.unwrap();
        let body = vec![b'x'; 1_500_000];
        self.log.put(&topic, 0, &Spelled::nonsense("wide", &body, 1)).unwrap();
        self.log.put(&topic, 0, &Spelled::upsert("wide", "good", "", 2)).unwrap();
        self.log.flush().unwrap();
        let mut syncing = self.syncer_of(stack, "wide", &[]).start().await.unwrap();
        let dead = self.dead_letters(&topic, 1).await;
        self.until("SELECT count(*) FROM wide", 1).await;
        assert_eq!(check_dead_letter(&dead[0], &topic), (0, 0));
        assert_eq!((dead[0].key(), dead[0].payload()), (Some(&b"\"wide\""[..]), Some(&[][..])));
        let omitted = topic::headers_of(&dead[0]).remove("cdc-body-omitted").unwrap();
        assert_eq!(omitted, format!("size=1500000, xxh3={:016x}", xxhash_rust::xxh3::xxh3_64(&body)));
        syncing.terminate(PATIENCE).await.unwrap();
    }

    /// Three of five are bad: the topic is held, or by policy the Syncer stops, and most of them are still only in the
    /// topic. It says why, and the way out is one key.
    async fn too_many_hold_their_topic(&self, stack: &Stack) {
        const RECORDS: u64 = 2_000;
        let topic = format!("cdc.{SOURCE_DATABASE}.half");
        self.log.create(&topic, 1, &[]).await.unwrap();
        for n in 0..RECORDS {
            let id = format!("half-{n}");
            let message = match n % 5 {
                0 | 3 => Spelled::upsert("half", &id, "", n),
                1 => Spelled::of_version(9, "half", &id, "", n),
                _ => Spelled::nonsense(&id, b"nonsense", n),
            };
            self.log.put(&topic, 0, &message).unwrap();
        }
        self.log.flush().unwrap();
        let stopping = [("CDC__ON_TABLE_ERROR", "stop")];
        let mut syncing = self.syncer_of(stack, "half", &stopping).spawn().unwrap();
        assert_eq!(syncing.exited(PATIENCE).await.unwrap().code(), Some(65));
        let mut syncing = self.syncer_of(stack, "half", &[]).start().await.unwrap();
        let held = until_held(&syncing, &[(&topic, "too_many_bad_records")]).await.unwrap();
        let detail = &held[&topic];
        assert!(detail.contains("malformed") && detail.contains("newer_version"), "{detail}");
        assert_eq!(syncing.get("/health").await.unwrap().status, 503);
        assert_eq!(syncing.get("/livez").await.unwrap().status, 200);
        let dead = format!("{topic}.dead-letters");
        let fallen = topic::read_raw(&self.endpoints.kafka_brokers, &dead, &BTreeMap::new()).unwrap().len();
        println!("dead letters when the breaker tripped twice: {fallen} of {} bad records", RECORDS * 3 / 5);
        assert!(fallen <= 2 * (100 + IN_FLIGHT_MAX), "{fallen}");
        syncing.terminate(PATIENCE).await.unwrap();

        let settings = [("CDC__DEAD_LETTER__STOP_AFTER__SHARE", "1")];
        let mut syncing = self.syncer_of(stack, "half", &settings).start().await.unwrap();
        self.until("SELECT count(*) FROM half", i64::try_from(RECORDS * 2 / 5).unwrap()).await;
        self.until_places(&topic, usize::try_from(RECORDS * 3 / 5).unwrap()).await;
        syncing.terminate(PATIENCE).await.unwrap();
    }

    async fn the_other_policies(&self, stack: &Stack) {
        for (collection, policy) in [("skipping", "skip"), ("stopping", "stop")] {
            let topic = format!("cdc.{SOURCE_DATABASE}.{collection}");
            self.log.create(&topic, 1, &[]).await.unwrap();
            for n in 0..50 {
                let id = format!("{collection}-{n}");
                let message = if n % 10 == 9 {
                    Spelled::nonsense(&id, b"nonsense", n)
                } else {
                    Spelled::upsert(collection, &id, "", n)
                };
                self.log.put(&topic, 0, &message).unwrap();
            }
            self.log.flush().unwrap();
            let mut syncing =
                self.syncer_of(stack, collection, &[("CDC__ON_BAD_RECORD", policy)]).spawn().unwrap();
            let recorded = format!("SELECT next_offset FROM cdc.partitions WHERE topic = '{topic}'");
            if policy == "skip" {
                self.until(&format!("SELECT count(*) FROM {collection}"), 45).await;
                self.until(&recorded, 50).await;
                assert_eq!(skipped(&syncing).await, 5.0);
                syncing.terminate(PATIENCE).await.unwrap();
            } else {
                assert_eq!(syncing.exited(PATIENCE).await.unwrap().code(), Some(65));
                let next: Option<i64> = self.postgres.query_one(&recorded, &[]).await.unwrap().get(0);
                assert!(
                    next.is_none_or(|next| next <= 9),
                    "nothing behind the first bad one is recorded: {next:?}"
                );
            }
            let dead = format!("{topic}.dead-letters");
            assert_eq!(topic::count(&self.endpoints.kafka_brokers, &dead).unwrap(), 0, "{policy}");
        }
    }
}

async fn skipped(syncing: &Service) -> f64 {
    let metrics = syncing.metrics().await.unwrap();
    metrics.value("cdc_dead_letters_total", &[("reason", "malformed")]).unwrap_or_default()
}

/// What every dead letter has. Returns where it was read.
fn check_dead_letter(message: &OwnedMessage, topic: &str) -> (i32, i64) {
    let headers = topic::headers_of(message);
    let header = |name: &str| headers.get(name).unwrap_or_else(|| panic!("{name} is missing: {headers:?}"));
    assert_eq!(header("cdc-source-topic"), topic);
    assert!(!header("cdc-error-message").contains(SENTINEL));
    assert!(header("cdc-error-attempts").parse::<u32>().unwrap() >= 1);
    let (first, last) = (header("cdc-error-first"), header("cdc-error-last"));
    for time in [first, last] {
        // RFC 3339, and therefore BSON's own reader knows it.
        DateTime::parse_rfc3339_str(time).unwrap_or_else(|error| panic!("{time}: {error}"));
    }
    assert!(first <= last);
    let number = |name: &str| header(name).parse::<i64>().unwrap();
    (i32::try_from(number("cdc-source-partition")).unwrap(), number("cdc-source-offset"))
}

fn check_against(message: &OwnedMessage, wanted: &Expected) {
    let headers = topic::headers_of(message);
    assert_eq!(headers["cdc-error-reason"], wanted.reason);
    assert_eq!(headers.get("cdc-error-sqlstate").map(String::as_str), wanted.sqlstate, "{}", wanted.reason);
    assert_eq!(headers.get("cdc-position"), wanted.position.as_ref());
    assert_eq!(message.key(), Some(wanted.key.as_bytes()));
    assert_eq!(message.payload(), Some(wanted.body.as_slice()));
}
