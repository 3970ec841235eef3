//! Ten thousand hand-made messages at random, in the topics of two typed tables and two mirrors: whatever they say,
//! each topic's table has what its own collection says, and nothing else is touched.
//!
//! It takes no turn: a few records, and no load.

use std::collections::BTreeMap;

use cdc_tests::messages::Spelled;
use cdc_tests::site::{PATIENCE, Site, metric};
use cdc_tests::topic;

const SEED: u64 = 0x0b1d_0e55;
const MESSAGES: u64 = 10_000;
const PARTITIONS: u64 = 2;
const COLLECTIONS: [&str; 4] = ["accounts", "players", "clicks", "views"];

/// The last two, and the two mirrors, are made by nobody but the Syncer.
const TABLES: &str = "
CREATE TABLE accounts (id text PRIMARY KEY, owner text, n bigint, cdc_position bytea);
CREATE TABLE players (id text PRIMARY KEY, owner text, n bigint, cdc_position bytea);
CREATE TABLE vault (id text PRIMARY KEY, owner text, n bigint);
CREATE TABLE shadow (id text PRIMARY KEY, document jsonb, bson_types jsonb, cdc_operation text, cdc_timestamp timestamptz, cdc_position bytea);
INSERT INTO vault SELECT 'd' || n, 'vault', n FROM generate_series(0, 99) AS n;
INSERT INTO shadow SELECT 'd' || n, '{\"owner\": \"shadow\"}' FROM generate_series(0, 99) AS n;
";

/// Every column of every table but the bookkeeping's, and the contents of the two that no topic carries.
const WORLD: &str = "
SELECT md5(concat(
(SELECT string_agg(concat_ws(' ', table_schema, table_name, column_name, data_type, column_default), ',' ORDER BY table_schema, table_name, ordinal_position)
 FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'cdc')),
(SELECT string_agg(concat_ws(' ', relkind, relnamespace, relname), ',' ORDER BY oid) FROM pg_class WHERE relkind IN ('r', 'v', 'S', 'm') AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname <> 'cdc' AND nspname !~ '^(pg_|information_schema)')),
(SELECT string_agg(vault::text, ',' ORDER BY id) FROM vault), (SELECT string_agg(shadow::text, ',' ORDER BY id) FROM shadow)))";

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Written,
    Ignored,
    Bad(&'static str),
}

/// A message, by its parts.
struct Parts<'p> {
    version: u32,
    operation: &'p str,
    namespace: (&'p str, &'p str),
    id: &'p str,
    document: String,
}

impl Parts<'_> {
    fn value(&self, position: &str) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let Self { version, operation, namespace: (database, collection), id, document } = self;
        format!(
            "{{\"version\":{version},\"id\":\"{position:0>32}\",\"operation_type\":{},\"namespace\":{{\"database\":{},\
             \"collection\":{}}},\"document_key\":{{\"_id\":{}}}{document},\"cluster_time\":{{\"t\":1705318200,\"i\":1}},\
             \"position\":\"{position}\"}}",
            quoted(operation),
            quoted(database),
            quoted(collection),
            quoted(id),
        )
    }
}

/// One message for the topic of `own`.
fn message(random: &mut fastrand::Rng, own: &str, number: u64) -> (Spelled, Fate) {
    let position = format!("00{number:016x}");
    let id = format!("d{}", random.u32(0..100));
    let long = "n".repeat(64);
    let mut others = vec![
        "vault",
        "shadow",
        "missing",
        "",
        "__proto__",
        "constructor",
        "pg_class",
        "cdc",
        "cdc.parked",
        "partitions",
        "a\"; DROP TABLE vault; --",
        "a'b",
        "\u{0}",
        "ä\u{200f}",
        "Accounts",
        " players",
        "players ",
        "system.views",
        &long,
    ];
    others.extend(COLLECTIONS.iter().filter(|collection| **collection != own));
    let other = others[random.usize(0..others.len())];
    let databases =
        ["game_db", "cdc", "public", "Game_db", "", "game_db.players", "__proto__", long.as_str()];
    let foreign =
        if random.bool() { ("game_db", other) } else { (databases[random.usize(1..databases.len())], own) };
    let own = ("game_db", own);
    let document = format!(
        ",\"full_document\":{{\"_id\":\"{id}\",\"owner\":\"{}\",\"n\":{number},\"__proto__\":1,\"cdc_position\":\"00\"}}",
        own.1
    );
    let parts = |version, operation, namespace, document: &str| Parts {
        version,
        operation,
        namespace,
        id: &id,
        document: document.to_owned(),
    };
    let key = format!("\"{id}\"");
    let wrong = Fate::Bad("wrong_namespace");
    let malformed = Fate::Bad("malformed");
    let (key, value, fate) = match random.u32(0..14) {
        0 => (key, parts(1, "insert", own, &document).value(&position), Fate::Written),
        1 => (key, parts(1, "update", own, &document).value(&position), Fate::Written),
        2 => (key, parts(1, "delete", own, "").value(&position), Fate::Written),
        // Its row is its key's: nothing else of it names one.
        3 => ("\"x\"".to_owned(), parts(1, "replace", own, &document).value(&position), Fate::Written),
        4 => (key, parts(1, "insert", foreign, &document).value(&position), wrong),
        5 => (key, parts(1, "update", foreign, &document).value(&position), wrong),
        6 => (key, parts(1, "delete", foreign, "").value(&position), wrong),
        7 => (key, parts(1, "update", foreign, ",\"full_document\":null").value(&position), wrong),
        8 => {
            let kinds = ["drop", "rename", "snapshot_begin", "snapshot_end"];
            let kind = kinds[random.usize(0..kinds.len())];
            ("cdc.control".to_owned(), parts(1, kind, foreign, "").value(&position), Fate::Ignored)
        }
        9 => (key, parts(7, "insert", foreign, &document).value(&position), Fate::Bad("newer_version")),
        10 => (key, parts(1, "create_table", own, &document).value(&position), malformed),
        11 => ("accounts".to_owned(), parts(1, "insert", own, &document).value(&position), malformed),
        12 => {
            let whole = parts(1, "insert", own, &document).value(&position);
            let cut = random.usize(0..whole.len() - 1);
            (key, whole[..cut].to_owned(), malformed)
        }
        _ => {
            let values = [
                "",
                "null",
                "[]",
                "{}",
                "{\"namespace\":\"game_db.vault\"}",
                "\u{feff}{}",
                "{\"version\":1}",
            ];
            (key, values[random.usize(0..values.len())].to_owned(), malformed)
        }
    };
    (Spelled { key, value: value.into_bytes(), position }, fate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hand_made_messages_touch_no_table_but_their_topic_s() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let site = Site::start().await.unwrap();
    site.sql.batch_execute(TABLES).await.unwrap();
    let topics = COLLECTIONS.map(|collection| format!("cdc.game_db.{collection}"));
    for (topic, collection) in topics.iter().zip(COLLECTIONS) {
        site.log.create(topic, i32::try_from(PARTITIONS).unwrap(), &[]).await.unwrap();
        let fields = format!(",\"owner\":\"{collection}\",\"n\":0");
        site.log.put(topic, 0, &Spelled::upsert(collection, "first", &fields, 0)).unwrap();
    }
    let never = [("CDC__DEAD_LETTER__STOP_AFTER__SHARE", "1")];
    let mut syncer = site.syncer("bound", &topics.join(","), &never).unwrap().start().await.unwrap();
    let read = |messages: u64| (READ, i64::try_from(messages).unwrap());
    const READ: &str = "SELECT sum(next_offset)::bigint FROM cdc.partitions";
    let first = read(COLLECTIONS.len() as u64);
    site.until(first.0, first.1).await.unwrap();
    let before: String = site.sql.query_one(WORLD, &[]).await.unwrap().get(0);

    let mut expected: BTreeMap<Fate, u64> = BTreeMap::new();
    for number in 1..=MESSAGES {
        let which = random.usize(0..COLLECTIONS.len());
        let (message, fate) = message(&mut random, COLLECTIONS[which], number);
        *expected.entry(fate).or_default() += 1;
        let partition = i32::try_from(random.u64(0..PARTITIONS)).unwrap();
        site.log.put(&topics[which], partition, &message).unwrap();
    }
    site.log.flush().unwrap();
    let all = read(MESSAGES + COLLECTIONS.len() as u64);
    site.until(all.0, all.1).await.unwrap();

    let after: String = site.sql.query_one(WORLD, &[]).await.unwrap().get(0);
    assert_eq!(after, before, "something besides the four tables has changed");
    for collection in COLLECTIONS {
        let owner = if ["clicks", "views"].contains(&collection) { "document->>'owner'" } else { "owner" };
        let foreign =
            format!("SELECT count(*) FROM {collection} WHERE {owner} IS DISTINCT FROM '{collection}'");
        assert_eq!(site.number(&foreign).await, Some(0), "{collection}");
        assert!(site.number(&format!("SELECT count(*) FROM {collection}")).await > Some(10), "{collection}");
    }
    assert_eq!(site.number("SELECT count(*) FROM cdc.tables").await, Some(4));
    let mut bad = 0;
    for (fate, count) in &expected {
        let Fate::Bad(reason) = fate else { continue };
        let counted = metric(&syncer, "cdc_dead_letters_total", &[("reason", reason)]).await;
        assert_eq!(counted, *count as f64, "{reason}, of {expected:?}");
        bad += i64::try_from(*count).unwrap();
    }
    let mut fallen = 0;
    for topic in &topics {
        fallen += topic::count(site.brokers(), &format!("{topic}.dead-letters")).unwrap();
    }
    assert_eq!(fallen, bad, "each is a dead letter, once");
    assert_eq!(syncer.exit_status().unwrap(), None, "{}", site.last_words());
    assert_eq!(syncer.terminate(PATIENCE).await.unwrap().code(), Some(0));
}
