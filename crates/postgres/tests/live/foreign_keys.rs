//! Rows and deletes that wait for rows of other documents: foreign keys and exclusion constraints.

use cdc_machine::{Epoch, Fault};
use cdc_ports::{Database, KafkaRecord, RetryCounts, WriteCounts};
use cdc_postgres::PostgresDatabase;
use cdc_syncer::{Parking, Partition, Reject, RejectedParked, SqlState, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, Stand, batch, parked_after, retried};

/// The tables sort themselves against the direction of their references.
const TABLES: &str = "
CREATE TABLE orders (id text PRIMARY KEY, x int CHECK (x < 100), parent text REFERENCES orders (id));
CREATE TABLE items (id text PRIMARY KEY, order_id text NOT NULL REFERENCES orders (id), serial text UNIQUE);
CREATE TABLE bits (id text PRIMARY KEY, item_id text REFERENCES items (id));
";

const TOPICS: [&str; 3] = ["orders", "items", "bits"];

async fn stand() -> (Stand, PostgresDatabase) {
    let stand = Stand::new(TABLES).await.carrying_all(TOPICS);
    let database = stand.database().await;
    (stand, database)
}

fn order(id: &str, fields: &str, position: u32) -> Message {
    Message::upsert("insert", id, fields, position).in_collection("orders")
}

fn item(id: &str, order: &str, position: u32) -> Message {
    let fields = format!("\"order_id\":\"{order}\"");
    Message::upsert("insert", id, &fields, position).in_collection("items").in_topic(1)
}

fn bit(id: &str, item: &str, position: u32) -> Message {
    let fields = format!("\"item_id\":\"{item}\"");
    Message::upsert("insert", id, &fields, position).in_collection("bits").in_topic(2)
}

fn gone(it: Message, id: &str, position: u32) -> Message {
    let topic = it.partition().0;
    let collection = TOPICS[usize::try_from(topic).unwrap()];
    Message::delete(id, position).in_collection(collection).in_topic(topic)
}

/// Writes a batch as the machine does, parking what is blocked; returns how many rows are parked after it.
async fn put(database: &PostgresDatabase, messages: &[Message]) -> (WriteCounts, u64) {
    let first = database.write(&batch(messages), ALL, Parking::Fence).await;
    let reply = match first.outcome {
        WriteOutcome::Failed { fault: Fault::Blocked, .. } => {
            database.write(&batch(messages), ALL, Parking::Park).await
        }
        WriteOutcome::Written { .. } => first,
        WriteOutcome::Failed { .. } | WriteOutcome::Refused { .. } | WriteOutcome::Held { .. } => {
            panic!("{:?}", first.failure)
        }
    };
    let (counts, parked) = parked_after(reply);
    (counts, parked.iter().map(|it| it.rows).sum())
}

async fn retry(
    database: &PostgresDatabase,
    given_up: &[(Partition, i64)],
) -> (RetryCounts, u64, Vec<RejectedParked<KafkaRecord>>) {
    let partitions: Vec<(Partition, Epoch)> = (0..3).map(|number| (Partition(number), EPOCH)).collect();
    let (counts, parked, rejected) = retried(database.retry_parked(ALL, &partitions, given_up).await);
    (counts, parked.iter().map(|it| it.rows).sum(), rejected)
}

async fn ids(stand: &Stand) -> String {
    let all = "SELECT string_agg(id, ' ' ORDER BY id) FROM \
               (SELECT id FROM orders UNION ALL SELECT id FROM items UNION ALL SELECT id FROM bits) AS a";
    stand.text(all).await.unwrap_or_default()
}

#[tokio::test]
async fn a_child_waits_for_its_parent() {
    let (stand, database) = stand().await;
    assert_eq!(put(&database, &[item("i1", "o1", 1), bit("b1", "i1", 1)]).await.1, 2);
    let why = "SELECT string_agg(sqlstate || ' ' || constraint_name, ', ' ORDER BY id) FROM cdc.parked";
    assert_eq!(stand.text(why).await.unwrap(), "23503 bits_item_id_fkey, 23503 items_order_id_fkey");
    let (counts, parked, _) = retry(&database, &[]).await;
    assert_eq!((counts.tried, counts.blocked, counts.evicted, parked), (2, 2, 0, 2));
    put(&database, &[order("o1", "", 1)]).await;
    // The whole chain in one retry, grandchildren before their parents.
    let (counts, parked, _) = retry(&database, &[]).await;
    assert_eq!((counts.resolved, parked), (2, 0));
    assert_eq!(ids(&stand).await, "b1 i1 o1");
}

#[tokio::test]
async fn a_row_that_waits_for_a_foreign_key_keeps_its_older_version() {
    let (stand, database) = stand().await;
    put(&database, &[order("o1", "", 1), item("i1", "o1", 1)]).await;
    put(&database, &[item("i1", "o2", 2)]).await;
    let (counts, parked, _) = retry(&database, &[]).await;
    assert_eq!((counts.evicted, counts.blocked, parked), (0, 1, 1));
    assert_eq!(stand.text("SELECT order_id FROM items").await.unwrap(), "o1");
    // Nor does it lose it where it waits for a value besides.
    let fields = "\"order_id\":\"o1\",\"serial\":\"s\"";
    let taken = Message::upsert("insert", "i2", fields, 3).in_collection("items").in_topic(1);
    let wants_both = "\"order_id\":\"o3\",\"serial\":\"s\"";
    let wants_both = Message::upsert("update", "i1", wants_both, 4).in_collection("items").in_topic(1);
    put(&database, &[taken]).await;
    put(&database, &[wants_both]).await;
    // The unique value stands in its way first.
    assert_eq!(stand.text("SELECT sqlstate FROM cdc.parked").await.unwrap(), "23505");
    put(&database, &[gone(item("i2", "", 0), "i2", 5)]).await;
    let (counts, parked, _) = retry(&database, &[]).await;
    assert_eq!((counts.evicted, counts.blocked, parked), (0, 1, 1));
    assert_eq!(stand.text("SELECT id || ' ' || order_id FROM items").await.unwrap(), "i1 o1");
    put(&database, &[order("o3", "", 6)]).await;
    assert_eq!(retry(&database, &[]).await.1, 0);
    assert_eq!(stand.text("SELECT order_id || ' ' || serial FROM items").await.unwrap(), "o3 s");
}

#[tokio::test]
async fn a_delete_waits_for_the_rows_that_refer_to_it() {
    let (stand, database) = stand().await;
    put(&database, &[order("o1", "", 1), item("i1", "o1", 1)]).await;
    assert_eq!(put(&database, &[gone(order("", "", 0), "o1", 5)]).await.1, 1);
    assert_eq!(stand.count("cdc.tombstones").await, 0, "it has not happened yet");
    let (counts, parked, _) = retry(&database, &[]).await;
    assert_eq!((counts.evicted, counts.blocked, parked), (0, 1, 1));
    assert_eq!(ids(&stand).await, "i1 o1");
    // It fences as if it had.
    let (counts, parked) = put(&database, &[order("o1", "\"x\":4", 4)]).await;
    assert_eq!((counts.fenced, parked), (1, 1));
    put(&database, &[gone(item("", "", 0), "i1", 6)]).await;
    let (counts, parked, _) = retry(&database, &[]).await;
    assert_eq!((counts.resolved, parked), (1, 0));
    assert_eq!((ids(&stand).await.as_str(), stand.count("cdc.tombstones").await), ("", 2));
    let (counts, _) = put(&database, &[order("o1", "", 4)]).await;
    assert_eq!((counts.fenced, counts.inserted), (1, 0), "it stays buried");
}

#[tokio::test]
async fn a_newer_insert_takes_the_place_of_a_parked_delete() {
    let (stand, database) = stand().await;
    put(&database, &[order("o1", "", 1), item("i1", "o1", 1)]).await;
    put(&database, &[gone(order("", "", 0), "o1", 2)]).await;
    let (counts, parked) = put(&database, &[order("o1", "\"x\":3", 3)]).await;
    assert_eq!((counts.superseded, counts.updated, parked), (1, 1, 0));
    assert_eq!(retry(&database, &[]).await.0.tried, 0);
    assert_eq!(ids(&stand).await, "i1 o1");
    // And a newer delete that of a parked row; where it is blocked, it is parked in its place.
    put(&database, &[order("o1", "\"parent\":\"nobody\"", 4)]).await;
    let (counts, parked) = put(&database, &[gone(order("", "", 0), "o1", 5)]).await;
    assert_eq!((counts.superseded, counts.parked, parked), (1, 1, 1));
}

#[tokio::test]
async fn one_batch_needs_no_order_among_its_rows() {
    let (stand, database) = stand().await;
    let messages =
        [bit("b1", "i1", 1), item("i1", "o2", 1), order("o2", "\"parent\":\"o1\"", 1), order("o1", "", 1)];
    let (counts, parked) = put(&database, &messages).await;
    assert_eq!((counts.inserted, counts.parked, parked), (4, 0, 0));
    assert_eq!(ids(&stand).await, "b1 i1 o1 o2");
    let deletes = [
        gone(order("", "", 0), "o1", 2),
        gone(order("", "", 0), "o2", 2),
        gone(item("", "", 0), "i1", 2),
        gone(bit("", "", 0), "b1", 2),
    ];
    let (counts, parked) = put(&database, &deletes).await;
    assert_eq!((counts.deleted, counts.parked, parked), (4, 0, 0));
}

#[tokio::test]
async fn a_table_that_refers_to_itself() {
    let (stand, database) = stand().await;
    put(&database, &[order("c", "\"parent\":\"b\"", 1)]).await;
    assert_eq!(put(&database, &[order("b", "\"parent\":\"a\"", 1)]).await.1, 2);
    put(&database, &[order("a", "", 1)]).await;
    assert_eq!(retry(&database, &[]).await.1, 0);
    assert_eq!(ids(&stand).await, "a b c");
}

#[tokio::test]
async fn a_foreign_key_that_waits_for_the_commit_parks_as_well() {
    let deferred = "ALTER TABLE items DROP CONSTRAINT items_order_id_fkey; ALTER TABLE items \
                    ADD CONSTRAINT deferred FOREIGN KEY (order_id) REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED";
    let stand = Stand::new(&format!("{TABLES} {deferred}")).await.carrying_all(TOPICS);
    let database = stand.database().await;
    // The whole batch falls at its commit, and none of it is lost.
    let (counts, parked) =
        put(&database, &[item("i1", "o1", 1), order("o2", "", 1), item("i2", "o2", 1)]).await;
    assert_eq!((counts.inserted, counts.parked, parked), (2, 1, 1));
    put(&database, &[order("o1", "", 2)]).await;
    assert_eq!(retry(&database, &[]).await.1, 0);
    assert_eq!(put(&database, &[gone(order("", "", 0), "o1", 3)]).await.1, 1);
    put(&database, &[gone(item("", "", 0), "i1", 4)]).await;
    assert_eq!(retry(&database, &[]).await.1, 0);
    assert_eq!(ids(&stand).await, "i2 o2");
}

#[tokio::test]
async fn a_parked_row_that_fails_for_another_reason_holds_nobody_up() {
    let (stand, database) = stand().await;
    let bad = order("bad", "\"parent\":\"p\",\"x\":7", 1);
    assert_eq!(put(&database, &[item("i1", "p", 1), bad, item("i2", "p", 1)]).await.1, 3);
    stand.client.batch_execute("ALTER TABLE orders ADD CHECK (x <> 7)").await.unwrap();
    put(&database, &[order("p", "", 2)]).await;
    let (counts, parked, rejected) = retry(&database, &[]).await;
    assert_eq!((counts.tried, counts.resolved, counts.blocked, parked), (3, 2, 1, 1));
    assert_eq!(ids(&stand).await, "i1 i2 p");
    let [RejectedParked { row, reason: Reject::CheckViolation, sqlstate, attempts: 1, .. }] = &rejected[..]
    else {
        panic!("{rejected:?}")
    };
    assert_eq!(*sqlstate, SqlState::new("23514"));
    assert_eq!((row.partition, row.offset, row.handle.key()), (Partition(0), 1, &b"\"bad\""[..]));
    // It stays until it is given up: nothing is lost if nobody gets to that.
    assert_eq!(stand.text("SELECT attempts FROM cdc.parked").await.unwrap(), "1");
    let (counts, parked, rejected) = retry(&database, &[(row.partition, row.offset)]).await;
    assert_eq!((counts.tried, parked, rejected.len()), (0, 0, 0));
}

#[tokio::test]
async fn an_exclusion_constraint_parks_and_opens_swaps() {
    let table = "CREATE TABLE orders (id text PRIMARY KEY, room text, EXCLUDE USING btree (room WITH =))";
    let stand = Stand::new(table).await.carrying_all(TOPICS);
    let database = stand.database().await;
    let room = |id: &str, room: &str, position| order(id, &format!("\"room\":\"{room}\""), position);
    put(&database, &[room("a", "1", 1), room("b", "2", 1)]).await;
    put(&database, &[room("a", "2", 2)]).await;
    assert_eq!(put(&database, &[room("b", "1", 2)]).await.1, 2);
    let (counts, parked, _) = retry(&database, &[]).await;
    assert_eq!((counts.resolved, counts.evicted, parked), (2, 2, 0));
    let rooms = "SELECT string_agg(id || room, ' ' ORDER BY id) FROM orders";
    assert_eq!(stand.text(rooms).await.unwrap(), "a2 b1");
}
