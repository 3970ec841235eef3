//! A topic carries one collection, and what a message says of its own changes nothing about that.

use cdc_ports::Database;
use cdc_syncer::{Parking, Reject, RetryOutcome, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PARTITION, Stand, batch, write};

const TABLES: &str = "
CREATE TABLE players (id text PRIMARY KEY, name text, cdc_position bytea);
CREATE TABLE accounts (id text PRIMARY KEY, name text);
INSERT INTO accounts VALUES ('a', 'untouched');
";

fn named(collection: &str, position: u32) -> Message {
    Message::upsert("insert", "a", "\"name\":\"b\"", position).in_collection(collection)
}

#[tokio::test]
async fn a_message_of_another_collection_is_bad_and_touches_nothing() {
    let stand = Stand::new(TABLES).await;
    let database = stand.database().await;
    let odd = "n".repeat(64);
    let foreign = [
        named("accounts", 1),
        named("accounts", 2).in_database("other_db"),
        named("players", 3).in_database("other_db"),
        named("Players", 4),
        named("players.", 5),
        named("", 6),
        named(&odd, 7),
        named("x\\\"; DROP TABLE accounts; --", 8),
        named("missing", 9),
        Message::delete("a", 10).in_collection("accounts"),
        Message::null_lookup("a", 11).in_collection("accounts"),
    ];
    let (counts, rejected) = write(&database, &foreign).await;
    assert_eq!(counts.inserted + counts.updated + counts.deleted + counts.null_lookups, 0);
    assert_eq!(rejected.len(), foreign.len());
    for (index, it) in rejected.iter().enumerate() {
        assert_eq!((it.index, it.reason), (index, Reject::WrongNamespace));
        let detail = &it.detail;
        assert!(detail.starts_with("topic cdc.game_db.players carries game_db.players"), "{detail}");
        assert!(detail.len() < 400, "{detail}");
    }
    let (counts, rejected) = write(&database, &[named("players", 12), named("accounts", 13)]).await;
    assert_eq!((counts.inserted, rejected.len()), (1, 1), "its neighbour is written");
    assert_eq!(stand.text("SELECT name FROM accounts").await.unwrap(), "untouched");
    assert_eq!(stand.count("information_schema.columns WHERE table_name = 'accounts'").await, 2);
    assert_eq!(stand.count("pg_tables WHERE schemaname = 'public'").await, 2);
    assert_eq!(stand.count("cdc.tables").await, 1, "no other table is claimed");
}

#[tokio::test]
async fn control_messages_of_any_collection_are_counted() {
    let stand = Stand::new(TABLES).await;
    let database = stand.database().await;
    let kinds = ["snapshot_begin", "snapshot_end", "drop", "rename", "gap"];
    let controls: Vec<Message> =
        kinds.iter().map(|kind| Message::control(kind, 1).in_collection("accounts")).collect();
    let (counts, rejected) = write(&database, &controls).await;
    assert_eq!((counts.ignored, rejected.len()), (5, 0));
    assert_eq!(stand.count("cdc.tables WHERE collection_name = 'accounts'").await, 0);
}

#[tokio::test]
async fn each_topic_of_a_batch_has_its_own_table() {
    let stand = Stand::new(TABLES).await.carrying_all(["players", "matches"]);
    let database = stand.database().await;
    // Alike in all but their topic and their collection.
    let messages = [
        named("matches", 1).in_topic(1),
        named("players", 1),
        named("players", 2).in_topic(1),
        named("matches", 2),
    ];
    let (counts, rejected) = write(&database, &messages).await;
    assert_eq!(counts.inserted, 2);
    let wrong: Vec<_> = rejected.iter().map(|it| (it.index, it.reason)).collect();
    assert_eq!(wrong, [(2, Reject::WrongNamespace), (3, Reject::WrongNamespace)]);
    assert_eq!((stand.count("players").await, stand.count("matches").await), (1, 1));
    let claims =
        "SELECT string_agg(table_name || ' ' || collection_name, ', ' ORDER BY table_name) FROM cdc.tables";
    assert_eq!(stand.text(claims).await.unwrap(), "public.matches matches, public.players players");
}

#[tokio::test]
async fn a_parked_row_is_no_way_into_another_table() {
    let table = "CREATE TABLE players (id text PRIMARY KEY, name text UNIQUE, cdc_position bytea);
        CREATE TABLE accounts (id text PRIMARY KEY, name text);";
    let mut stand = Stand::new(table).await;
    let database = stand.database().await;
    let other = Message::upsert("insert", "b", "\"name\":\"b\"", 2);
    write(&database, &[named("players", 1)]).await;
    let reply = database.write(&batch(&[other]), ALL, Parking::Park).await;
    assert!(matches!(reply.outcome, WriteOutcome::Written { .. }));
    assert_eq!(stand.count("cdc.parked").await, 1);
    // Somebody binds the topic to another collection meanwhile.
    stand = stand.carrying("accounts");
    let database = stand.database().await;
    let reply = database.retry_parked(ALL, &[(PARTITION, EPOCH)], &[]).await;
    let RetryOutcome::Done { rejected, .. } = reply.outcome else { panic!("{:?}", reply.failure) };
    assert_eq!(rejected[0].reason, Reject::WrongNamespace);
    assert_eq!(stand.count("accounts").await, 0);
}
