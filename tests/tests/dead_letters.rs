//! `cdc dead-letters`: what fell is listed, shown, sent back once its table is mended, and given up, by the words of the
//! commands and by what stands in the table afterwards.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use bson::{Document, doc};
use cdc_devstack::pipeline::{Deployment, Endpoints, Role, SOURCE_DATABASE};
use cdc_tests::log::Log;
use cdc_tests::site::PATIENCE;
use cdc_tests::testbed::Testbed;
use cdc_tests::waiting::until_number;
use mongodb::{Client, Collection};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const TABLE: &str = "
CREATE TABLE orders (id text PRIMARY KEY, n int CONSTRAINT small CHECK (n < 1000), note text);
";
const TOPIC: &str = "cdc.game_db.orders";
const DEAD: &str = "cdc.game_db.orders.dead-letters";
/// A part of each document that nobody sees who does not ask for it.
const PRIVATE: &str = "s3ntinel";

struct Stage {
    syncer: Deployment,
    orders: Collection<Document>,
    postgres: tokio_postgres::Client,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_sent_back_and_given_up() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, postgres, .. } = Testbed::start().await.unwrap();
    postgres.batch_execute(TABLE).await.unwrap();
    let deploy = |role, name: &str, settings: &[(&str, &str)]| {
        Deployment::new(role, name, stack.folder(), &endpoints, settings).unwrap()
    };
    let watched = [("CDC__MONGODB__COLLECTION", "orders"), ("CDC__KAFKA__TOPIC", TOPIC)];
    let watcher = deploy(Role::Watcher, "watcher", &watched);
    let syncer = deploy(Role::Syncer, "syncer", &[("CDC__KAFKA__TOPIC", TOPIC)]);
    let (watching, syncing) = (watcher.start().await.unwrap(), syncer.spawn().unwrap());
    let mongo = Client::with_uri_str(&endpoints.mongodb_uri).await.unwrap();
    let orders = mongo.database(SOURCE_DATABASE).collection::<Document>("orders");
    let stage = Stage { syncer, orders, postgres };

    stage.half_of_them_fall().await;
    let letters = stage.open_letters(5).await;
    stage.they_are_listed_and_shown(&letters).await;
    stage.some_are_overtaken_and_one_is_given_up(&letters).await;
    stage.one_falls_again(&letters).await;
    stage.the_rest_land(&letters).await;
    stage.what_cannot_go_back_is_named(&endpoints).await;
    drop((watching, syncing));
}

impl Stage {
    async fn cdc(&self, arguments: &[&str]) -> Told {
        let mut all = vec!["dead-letters"];
        all.extend(arguments);
        Told::of(&self.syncer.run(&all).await.unwrap())
    }

    /// The open letters by the `_id` of their documents, once there are so many.
    async fn open_letters(&self, count: usize) -> BTreeMap<String, Value> {
        let begun = Instant::now();
        loop {
            let told = self.cdc(&["list", "--json"]).await;
            assert_eq!(told.code, 0, "{told:?}");
            let listed = told.json();
            if listed.len() == count {
                let mut by_id = BTreeMap::new();
                for letter in listed {
                    let shown = self.cdc(&["show", text(&letter, "letter"), "--body", "--json"]).await;
                    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
                    by_id.insert(text(&shown, "key").trim_matches('"').to_owned(), letter);
                }
                assert_eq!(by_id.len(), count);
                return by_id;
            }
            assert!(begun.elapsed() < PATIENCE, "{} open letters, and not {count}: {listed:?}", listed.len());
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn until(&self, sql: &str, expected: i64) {
        until_number(&self.postgres, sql, expected).await;
    }

    async fn half_of_them_fall(&self) {
        let order = |id: i32| {
            let n = if id % 2 == 0 { id } else { 1000 + id };
            doc! { "_id": id.to_string(), "n": n, "note": PRIVATE }
        };
        self.orders.insert_many((0..10).map(order)).await.unwrap();
        self.until("SELECT count(*) FROM orders", 5).await;
    }

    async fn they_are_listed_and_shown(&self, letters: &BTreeMap<String, Value>) {
        let ids: Vec<&str> = letters.keys().map(String::as_str).collect();
        assert_eq!(ids, ["1", "3", "5", "7", "9"]);
        let one = &letters["7"];
        for (name, expected) in
            [("topic", DEAD), ("reason", "check_violation"), ("sqlstate", "23514"), ("source_topic", TOPIC)]
        {
            assert_eq!(text(one, name), expected);
        }
        assert_eq!((&one["falls"], &one["state"]), (&Value::from(1), &Value::from("open")));
        assert!(text(one, "message").contains("small"), "{one}");

        let table = self.cdc(&["list"]).await;
        assert!(table.stdout.starts_with("LETTER  ") && table.stdout.lines().count() == 6, "{table:?}");
        assert!(table.stdout.contains(text(one, "key_hash")) && !table.stdout.contains(PRIVATE));
        let hash = ["list", "--json", "--key-hash", text(one, "key_hash")];
        assert_eq!(self.cdc(&hash).await.json(), std::slice::from_ref(one));
        let (partition, offset) = (one["source_partition"].to_string(), one["source_offset"].to_string());
        let place = ["list", "--json", "--topic", TOPIC, "--partition", &partition, "--offset", &offset];
        assert_eq!(self.cdc(&place).await.json(), std::slice::from_ref(one));
        for (filter, count) in [
            (["--reason", "check_violation"], 5),
            (["--reason", "malformed"], 0),
            (["--since", "1h"], 5),
            (["--until", "1h"], 0),
            (["--limit", "2"], 2),
        ] {
            let told = self.cdc(&[&["list", "--json"], &filter[..]].concat()).await;
            assert_eq!((told.code, told.json().len()), (0, count), "{filter:?}: {told:?}");
            assert_eq!(told.stderr.contains("no open dead letters"), count == 0, "{told:?}");
        }
        for wrong in [&["--topic", "nope"][..], &["--offset", "x"], &["--reason", "bad"], &["--since", "x"]] {
            assert_eq!(self.cdc(&[&["list"], wrong].concat()).await.code, 2, "{wrong:?}");
        }

        let letter = text(one, "letter");
        let shown = self.cdc(&["show", letter]).await;
        assert_eq!(shown.code, 0);
        assert!(shown.stdout.contains("cdc-error-sqlstate: 23514"), "{shown:?}");
        assert!(!shown.stdout.contains(PRIVATE), "a document is private");
        let whole = self.cdc(&["show", letter, "--body"]).await;
        assert!(whole.stdout.contains(PRIVATE) && whole.stdout.contains("\"7\""), "{whole:?}");
        assert_eq!(self.cdc(&["show", &format!("{DEAD}/0/4711")]).await.code, 65);
    }

    /// Order 1 is corrected, order 3 deleted: what fell of them is older than what PostgreSQL knows. Nobody wants 5.
    async fn some_are_overtaken_and_one_is_given_up(&self, letters: &BTreeMap<String, Value>) {
        self.orders.update_one(doc! { "_id": "1" }, doc! { "$set": { "n": 1 } }).await.unwrap();
        self.orders.delete_one(doc! { "_id": "3" }).await.unwrap();
        self.until("SELECT count(*) FROM orders WHERE id = '1' AND n = 1", 1).await;
        self.until("SELECT count(*) FROM cdc.tombstones WHERE id = '3'", 1).await;

        let without = self.cdc(&["discard", "--because", "a test"]).await;
        assert_eq!(without.code, 2, "{without:?}");
        let five = text(&letters["5"], "letter");
        let given_up = self.cdc(&["discard", five, "--because", "a joke"]).await;
        assert_eq!(
            (given_up.code, given_up.stdout.as_str()),
            (0, "1 dead letters discarded\n"),
            "{given_up:?}"
        );

        let would = self.cdc(&["replay", "--dry-run", "--json"]).await;
        assert_eq!(would.code, 0, "{would:?}");
        let outcomes: BTreeMap<String, String> = would.outcomes(letters);
        let expected = [("1", "overtaken"), ("3", "overtaken"), ("7", "would_send"), ("9", "would_send")];
        let expected = expected.map(|(id, outcome)| (id.to_owned(), outcome.to_owned()));
        assert_eq!(outcomes, expected.into(), "{would:?}");
    }

    /// The table is not mended yet.
    async fn one_falls_again(&self, letters: &BTreeMap<String, Value>) {
        let seven = text(&letters["7"], "letter");
        let sent = self.cdc(&["replay", seven]).await;
        assert_eq!(sent.code, 0, "{sent:?}");
        assert!(sent.stdout.starts_with("sent "), "{sent:?}");
        let again = self.cdc(&["replay", seven]).await;
        assert_eq!(again.code, 0);
        assert!(again.stdout.contains("done") && again.stdout.contains("replayed"), "{again:?}");
        let begun = Instant::now();
        let fallen = loop {
            let listed =
                self.cdc(&["list", "--json", "--key-hash", text(&letters["7"], "key_hash")]).await.json();
            if let [fallen] = &listed[..] {
                break fallen.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{listed:?}");
            sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(fallen["falls"], 2);
        assert_eq!(fallen["first_fell_at"], letters["7"]["first_fell_at"]);
        assert!(text(&fallen, "fell_at") > text(&letters["7"], "fell_at"));
        assert_eq!(fallen["source_partition"], letters["7"]["source_partition"]);
        assert_eq!(fallen["position"], letters["7"]["position"]);
    }

    async fn the_rest_land(&self, letters: &BTreeMap<String, Value>) {
        self.postgres.batch_execute("ALTER TABLE orders DROP CONSTRAINT small").await.unwrap();
        let replayed = self.cdc(&["replay"]).await;
        assert_eq!(replayed.code, 0, "{replayed:?}");
        assert!(replayed.stderr.contains("2 sent, 2 overtaken, 0 refused"), "{replayed:?}");
        self.until("SELECT count(*) FROM orders WHERE id IN ('7', '9') AND n > 1000", 2).await;
        self.until("SELECT count(*) FROM orders WHERE id = '1' AND n = 1", 1).await;
        self.until("SELECT count(*) FROM orders WHERE id IN ('3', '5')", 0).await;
        let nothing = self.cdc(&["replay"]).await;
        assert_eq!((nothing.code, nothing.stdout.as_str()), (0, ""), "{nothing:?}");
        assert!(nothing.stderr.contains("no open dead letters"), "{nothing:?}");

        let all = self.cdc(&["list", "--all", "--json"]).await.json();
        let mut states: Vec<&str> = all.iter().map(|letter| text(letter, "state")).collect();
        states.sort_unstable();
        assert_eq!(states, ["discarded", "overtaken", "overtaken", "replayed", "replayed", "replayed"]);
        let five = all.iter().find(|letter| letter["letter"] == letters["5"]["letter"]).unwrap();
        assert_eq!(text(five, "because"), "a joke");
    }

    /// A marker has no body, a message may be somebody else's, and partitions may have been added.
    async fn what_cannot_go_back_is_named(&self, endpoints: &Endpoints) {
        let bad = (0..10).map(|id| doc! { "_id": format!("moved-{id}"), "n": "many" });
        self.orders.insert_many(bad).await.unwrap();
        self.open_letters(10).await;
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &endpoints.kafka_brokers).create().unwrap();
        let header = |key, value| Header { key, value: Some(value) };
        let marker = OwnedHeaders::new()
            .insert(header("cdc-position", "00"))
            .insert(header("cdc-error-reason", "too_large"))
            .insert(header("cdc-source-topic", TOPIC))
            .insert(header("cdc-body-omitted", "size=20000000, xxh3=0123456789abcdef"));
        producer.send(BaseRecord::to(DEAD).key("\"large\"").payload("").headers(marker)).unwrap();
        producer.send(BaseRecord::to(DEAD).key("stranger").payload("hello")).unwrap();
        producer.flush(PATIENCE).unwrap();
        let log = Log::new(&endpoints.kafka_brokers).unwrap();
        log.grow(TOPIC, 11).await.unwrap();
        let begun = Instant::now();
        let told = loop {
            let told = self.cdc(&["replay", "--dry-run"]).await;
            // A broker may answer with the partitions of a moment ago.
            if told.stdout.contains("partitions were added") || begun.elapsed() > PATIENCE {
                break told;
            }
            sleep(Duration::from_millis(200)).await;
        };
        assert_eq!(told.code, 65, "{told:?}");
        assert!(told.stdout.contains("among the 11 that"), "{told:?}");
        assert!(told.stdout.contains("its body was left out (size=20000000"), "{told:?}");
        assert!(told.stderr.contains("1 messages were passed over"), "{told:?}");
        assert!(told.stderr.contains("cannot be replayed"), "{told:?}");
        let all = self.cdc(&["discard", "--yes", "--because", "the end"]).await;
        assert_eq!((all.code, all.stdout.as_str()), (0, "11 dead letters discarded\n"), "{all:?}");
    }
}

/// What a command said.
#[derive(Debug)]
struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Told {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What became of these letters, by their documents' `_id`s.
    fn outcomes(&self, letters: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        let id =
            |letter: &Value| letters.iter().find(|(_, known)| known["letter"] == *letter).unwrap().0.clone();
        self.json().iter().map(|line| (id(&line["letter"]), text(line, "outcome").to_owned())).collect()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}
