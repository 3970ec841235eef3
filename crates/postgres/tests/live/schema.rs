//! Tables that are missing, foreign, changed under way, or not ours to change.

use cdc_machine::Fault;
use cdc_ports::Database;
use cdc_postgres::{Fence, PostgresDatabase, bookkeeping_sql};
use cdc_syncer::{HoldReason, Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PARTITION, PLAYERS, Stand, batch, claim, write_all};

#[tokio::test]
async fn a_missing_table_becomes_a_mirror() {
    let collection = "odd \"name\"; --";
    let stand = Stand::new("").await.carrying(collection);
    let database = stand.database().await;
    let table = "public.\"odd \"\"name\"\"; --\"";
    let json_name = "odd \\\"name\\\"; --";
    let fields =
        "\"n\":5,\"when\":\"2024-01-15T10:30:00Z\",\"deep\":{\"x\":[1.0,null]},\"nul\":\"a\\u0000b\"";
    let message = Message::upsert("insert", "a", fields, 1)
        .typed("long", "/full_document/n")
        .typed("date", "/full_document/when")
        .typed("objectId", "/document_key/x")
        .in_collection(json_name);
    let counts =
        write_all(&database, &[message, Message::upsert("insert", "b", "", 1).in_collection(json_name)])
            .await;
    assert_eq!(counts.inserted, 2);
    assert_eq!(
        stand.text(&format!("SELECT document FROM {table} WHERE id = 'a'")).await.unwrap(),
        "{\"n\": 5, \"_id\": \"a\", \"nul\": \"a\u{fffd}b\", \"deep\": {\"x\": [1.0, null]}, \"when\": \"2024-01-15T10:30:00Z\"}"
    );
    assert_eq!(
        stand.text(&format!("SELECT bson_types - 'raw_json' FROM {table} WHERE id = 'a'")).await.unwrap(),
        "{\"date\": [\"/full_document/when\"], \"long\": [\"/full_document/n\"]}"
    );
    let exact = format!(
        "SELECT convert_from(decode(bson_types->>'raw_json', 'base64'), 'UTF8') FROM {table} WHERE id = 'a'"
    );
    assert!(stand.text(&exact).await.unwrap().contains("\\u0000"));
    assert_eq!(stand.text(&format!("SELECT bson_types FROM {table} WHERE id = 'b'")).await, None);
    let counts = write_all(&database, &[Message::delete("a", 2).in_collection(json_name)]).await;
    assert_eq!(counts.deleted, 1);
    let name_length = collection.len();
    assert!(name_length < 63);
}

#[tokio::test]
async fn names_that_postgresql_would_cut_are_refused() {
    let collection = "n".repeat(64);
    let stand = Stand::new("").await.carrying(&collection);
    let database = stand.database().await;
    let message = Message::upsert("insert", "a", "", 1).in_collection(&collection);
    let reply = database.write(&batch(&[message]), ALL, Parking::Off).await;
    assert_eq!(held(&reply.outcome).0, HoldReason::NameTooLong);
}

/// Why the batch's topic is held, and the words for it.
fn held(outcome: &WriteOutcome) -> (HoldReason, &str) {
    let WriteOutcome::Held { holds } = outcome else { panic!("{outcome:?}") };
    assert!(holds.iter().any(|hold| (hold.partition, hold.epoch) == (PARTITION, EPOCH)), "{holds:?}");
    (holds[0].reason, &holds[0].detail)
}

#[tokio::test]
async fn without_manage_schema_the_missing_statements_are_printed() {
    let mut stand = Stand::new(PLAYERS).await;
    stand.settings.manage_schema = false;
    let database = PostgresDatabase::new(stand.settings.clone());
    let failure = database.connect().await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal);
    assert!(failure.message.contains(&bookkeeping_sql()), "{failure}");

    stand.client.batch_execute(&bookkeeping_sql()).await.unwrap();
    database.connect().await.unwrap();
    let taken = database.acquire(&[claim(EPOCH)], 1).await.unwrap();
    let why = taken[0].held.as_ref().unwrap();
    assert_eq!(why.reason, HoldReason::NotFenced);
    assert!(why.detail.contains("ALTER TABLE \"public\".\"players\" ADD COLUMN"), "{}", why.detail);
    let reply = database.write(&batch(&[Message::player("insert", "a", 5, 5)]), ALL, Parking::Off).await;
    assert_eq!(held(&reply.outcome).0, HoldReason::NotFenced);
    assert_eq!(stand.count("players").await, 0);

    // Without the column the table may run without the fence, and that is told.
    stand.settings.fence = Fence::IfPossible;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 5, 5)]).await;
    assert_eq!(database.unfenced_tables(), ["public.players"]);
    let counts = write_all(&database, &[Message::player("update", "a", 4, 4)]).await;
    assert_eq!((counts.updated, counts.fenced), (1, 0));
    let counts = write_all(&database, &[Message::delete("a", 1)]).await;
    assert_eq!(counts.deleted, 1);

    stand = stand.carrying("other");
    let database = stand.database().await;
    let missing = Message::upsert("insert", "a", "", 1).in_collection("other");
    let reply = database.write(&batch(&[missing]), ALL, Parking::Off).await;
    let (reason, words) = held(&reply.outcome);
    assert_eq!(reason, HoldReason::TableMissing);
    assert!(words.contains("CREATE TABLE"), "{words}");
}

#[tokio::test]
async fn a_table_has_one_source() {
    let mut stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    stand.settings.consumer_group = "another".to_owned();
    let other = stand.database().await;
    let reply = other.write(&batch(&[Message::player("insert", "b", 1, 1)]), ALL, Parking::Off).await;
    let (reason, words) = held(&reply.outcome);
    assert_eq!(reason, HoldReason::Claimed);
    assert!(words.contains("claimed by consumer group cdc-syncer"), "{words}");
    assert_eq!(stand.count("players").await, 1);
}

#[tokio::test]
async fn tables_that_cannot_be_written_are_refused_by_name() {
    let cases = [
        ("CREATE TABLE players (id text, x int)", "PRIMARY KEY (id)"),
        ("CREATE TABLE players (x int PRIMARY KEY)", "no column id"),
        ("CREATE VIEW players AS SELECT 'a' AS id", "it is not a table"),
        ("CREATE TABLE players (id text PRIMARY KEY, updated_at text)", "updated_at"),
        ("CREATE TABLE players (id point, EXCLUDE USING gist (id WITH ~=))", "column id"),
        ("CREATE TABLE players (id text PRIMARY KEY, cdc_position text)", "cdc_position"),
    ];
    for (schema, hint) in cases {
        let stand = Stand::new(schema).await;
        let database = stand.database().await;
        let reply = database.write(&batch(&[Message::player("insert", "a", 1, 1)]), ALL, Parking::Off).await;
        let (reason, words) = held(&reply.outcome);
        assert_eq!(reason, HoldReason::Unwritable, "{schema}");
        assert!(words.contains(hint), "{schema}: {words}");
    }
}

/// The pipeline leaves the column out of each INSERT, but a partition may have a trigger that fills it, and where rows
/// that are there are updated first, those need nothing.
#[tokio::test]
async fn a_column_that_others_may_fill_holds_no_topic() {
    let filled = "CREATE TABLE players (id text PRIMARY KEY, n int, place point NOT NULL) PARTITION BY HASH (id); \
                  CREATE TABLE players_0 PARTITION OF players FOR VALUES WITH (MODULUS 1, REMAINDER 0); \
                  CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS \
                  $$ BEGIN NEW.place := '(1,2)'; RETURN NEW; END $$; \
                  CREATE TRIGGER fill BEFORE INSERT ON players_0 FOR EACH ROW EXECUTE FUNCTION fill()";
    let stand = Stand::new(filled).await;
    let one = |position| Message::upsert("insert", "a", "\"n\":1", position);
    assert_eq!(write_all(&stand.database().await, &[one(1)]).await.inserted, 1);

    let numbered = "CREATE TABLE players (id text PRIMARY KEY, n int, no bigint GENERATED ALWAYS AS IDENTITY, \
                    place point NOT NULL); INSERT INTO players (id, place) VALUES ('a', '(1,2)')";
    let stand = Stand::new(numbered).await;
    let database = stand.database().await;
    assert_eq!(write_all(&database, &[one(1)]).await.updated, 1);
    let new = Message::upsert("insert", "b", "\"n\":1", 2);
    let outcome = database.write(&batch(&[new]), ALL, Parking::Off).await.outcome;
    assert!(matches!(outcome, WriteOutcome::Failed { fault: Fault::Poison, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_dropped_column_is_noticed() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    stand.client.batch_execute("ALTER TABLE players DROP COLUMN score").await.unwrap();
    let reply = database.write(&batch(&[Message::player("update", "a", 2, 2)]), ALL, Parking::Off).await;
    assert!(
        matches!(reply.outcome, WriteOutcome::Failed { fault: Fault::RetryNow, .. }),
        "{:?}",
        reply.outcome
    );
    write_all(&database, &[Message::player("update", "a", 2, 2)]).await;
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "2");
}

#[tokio::test]
async fn two_at_once_may_make_the_schema() {
    let stand = Stand::new("").await;
    let (one, two) =
        (PostgresDatabase::new(stand.settings.clone()), PostgresDatabase::new(stand.settings.clone()));
    let (first, second) = tokio::join!(one.connect(), two.connect());
    first.unwrap();
    second.unwrap();
    stand.client.batch_execute("UPDATE cdc.version SET version = 1000").await.unwrap();
    let failure = one.connect().await.unwrap_err();
    assert!(failure.message.contains("version 1000"), "{failure}");
}

/// What an earlier release left behind, with its rows.
const VERSION_1: &str = include_str!("version_1.sql");

#[tokio::test]
async fn the_bookkeeping_of_an_earlier_release_is_upgraded() {
    let stand = Stand::new(VERSION_1).await;
    let database = stand.connected().await;
    assert_ne!(stand.text("SELECT version FROM cdc.version").await.unwrap(), "1");
    let taken = database.acquire(&[claim(EPOCH)], 1).await.unwrap();
    assert_eq!(taken[0].next_offset, Some(7), "the ledger goes on where it stood");
    let player = Message::upsert("insert", "a", r#""username":"a","level":2"#, 1);
    write_all(&database, &[player]).await;
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "2");
}

#[tokio::test]
async fn without_manage_schema_the_missing_steps_are_printed() {
    let mut stand = Stand::new(VERSION_1).await;
    stand.settings.manage_schema = false;
    let database = PostgresDatabase::new(stand.settings.clone());
    let failure = database.connect().await.unwrap_err();
    let (_, sql) = failure.message.split_once(":\n").unwrap();
    assert!(failure.message.contains("version 1"), "{failure}");
    stand.client.batch_execute(sql).await.unwrap();
    database.connect().await.unwrap();
}
