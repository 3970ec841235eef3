//! Rows whose unique value another row holds: parked, tried again, and evicted where they wait for each other.

use cdc_machine::{Epoch, Fault};
use cdc_ports::{Database, LedgerEntry, RetryCounts, RetryReply, Share, WriteCounts};
use cdc_postgres::PostgresDatabase;
use cdc_syncer::{ParkedRows, Parking, Reject, RetryOutcome, WorkerId, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PARTITION, PLAYERS, Stand, batch, claim, parked_after, retried, write_all};

fn named(id: &str, name: &str, position: u32) -> Message {
    let fields = format!("\"username\":\"{name}\",\"created_at\":\"2024-01-15T10:30:00Z\"");
    Message::upsert("update", id, &fields, position).typed("date", "/full_document/created_at")
}

/// Writes a batch, and returns how many rows of the partition are parked after it.
pub(crate) async fn put(
    database: &PostgresDatabase,
    parking: Parking,
    messages: &[Message],
) -> (WriteCounts, u64) {
    let (counts, parked) = parked_after(database.write(&batch(messages), ALL, parking).await);
    (counts, of_the_only_partition(&parked))
}

pub(crate) async fn retry(database: &PostgresDatabase, share: Share) -> (RetryCounts, u64) {
    done(database.retry_parked(share, &[(PARTITION, EPOCH)], &[]).await)
}

fn done(reply: RetryReply) -> (RetryCounts, u64) {
    let (counts, parked, rejected) = retried(reply);
    assert!(rejected.is_empty(), "{rejected:?}");
    (counts, of_the_only_partition(&parked))
}

fn of_the_only_partition(parked: &[ParkedRows]) -> u64 {
    let [ParkedRows { partition: PARTITION, rows }] = parked else { panic!("{parked:?}") };
    *rows
}

/// All rows, in the order of their ids.
async fn names(stand: &Stand) -> String {
    stand
        .text("SELECT string_agg(id || '=' || username, ' ' ORDER BY id) FROM players")
        .await
        .unwrap_or_default()
}

#[tokio::test]
async fn a_blocked_row_is_parked_and_its_neighbours_are_written() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1)]).await;
    let messages = [named("b", "x", 2), named("c", "z", 3)];
    let reply = database.write(&batch(&messages), ALL, Parking::Fence).await;
    assert!(matches!(reply.outcome, WriteOutcome::Failed { fault: Fault::Blocked, .. }));
    assert_eq!(stand.count("cdc.parked").await, 0);

    let (counts, parked) = put(&database, Parking::Park, &messages).await;
    assert_eq!((counts.parked, counts.inserted, parked), (1, 1, 1));
    assert_eq!(names(&stand).await, "a=x c=z");
    let entry = "SELECT table_name || ' ' || id || ' ' || topic || ' ' || partition || ' ' || record_offset \
                 || ' ' || route || ' ' || constraint_name || ' ' || attempts FROM cdc.parked";
    assert_eq!(
        stand.text(entry).await.unwrap(),
        "public.players b cdc.game_db.players 0 0 18446744073709551615 unique_username 0"
    );

    // As long as the value is taken nothing comes of a retry.
    let (counts, parked) = retry(&database, ALL).await;
    assert_eq!((counts.tried, counts.resolved, counts.evicted, counts.blocked, parked), (1, 0, 0, 1, 1));
    assert_eq!(counts.why.as_deref(), Some("table public.players, constraint unique_username"));
    assert_eq!(stand.text("SELECT attempts FROM cdc.parked").await.unwrap(), "1");
    // Then it does.
    put(&database, Parking::Fence, &[named("a", "y", 4)]).await;
    let (counts, parked) = retry(&database, ALL).await;
    assert_eq!((counts.tried, counts.resolved, counts.blocked, parked), (1, 1, 0, 0));
    assert_eq!(names(&stand).await, "a=y b=x c=z");
    assert_eq!(stand.count("cdc.parked").await, 0);
}

#[tokio::test]
async fn a_swap_is_opened_by_taking_the_older_versions_out() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1), named("b", "y", 2)]).await;
    // Each in a batch of its own, as from two partitions.
    assert_eq!(put(&database, Parking::Park, &[named("a", "y", 3)]).await.1, 1);
    assert_eq!(put(&database, Parking::Park, &[named("b", "x", 4)]).await.1, 2);
    assert_eq!(names(&stand).await, "a=x b=y");
    let (counts, parked) = retry(&database, ALL).await;
    assert_eq!((counts.resolved, counts.evicted, parked), (2, 2, 0));
    assert_eq!(names(&stand).await, "a=y b=x");
    assert_eq!(stand.count("cdc.tombstones").await, 0);
}

#[tokio::test]
async fn each_worker_tries_its_own_rows() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let share = |worker| Share { worker: WorkerId(worker), of: 2 };
    write_all(&database, &[named("a", "x", 1), named("b", "y", 2)]).await;
    // The stand's routes are 2^64 - 1 and 2^64 - 2: worker 1 and worker 0.
    let parked = put(&database, Parking::Park, &[named("a", "y", 3), named("b", "x", 4)]).await;
    assert_eq!((parked.0.parked, parked.1), (2, 2));

    let heir = stand.connected().await;
    let learnt = heir.acquire(&[claim(EPOCH)], 2).await.unwrap();
    let rows = vec![(WorkerId(0), 1), (WorkerId(1), 1)];
    let [LedgerEntry { next_offset: None, parked, .. }] = &learnt[..] else { panic!("{learnt:?}") };
    let mut parked = parked.clone();
    parked.sort_unstable();
    assert_eq!(parked, rows);
    // The former owner touches nothing more.
    let refused = database.retry_parked(share(0), &[(PARTITION, EPOCH)], &[]).await;
    assert_eq!(refused.outcome, RetryOutcome::Refused { partitions: vec![PARTITION] });
    let gone = heir.retry_parked(share(0), &[(PARTITION, Epoch(9))], &[]).await;
    assert_eq!(gone.outcome, RetryOutcome::Refused { partitions: vec![PARTITION] });

    let (counts, parked) = retry(&heir, share(1)).await;
    assert_eq!((counts.tried, counts.resolved, counts.evicted, parked), (1, 0, 1, 1));
    assert_eq!(names(&stand).await, "b=y");
    let (counts, parked) = retry(&heir, share(0)).await;
    assert_eq!((counts.tried, counts.resolved, counts.evicted, parked), (1, 1, 0, 0));
    let (counts, parked) = retry(&heir, share(1)).await;
    assert_eq!((counts.tried, counts.resolved, counts.evicted, parked), (1, 1, 0, 0));
    assert_eq!(names(&stand).await, "a=y b=x");
}

#[tokio::test]
async fn a_parked_row_fences_like_one_in_its_table() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1), named("b", "y", 2)]).await;
    put(&database, Parking::Park, &[named("b", "x", 5)]).await;
    // The older version goes, and no replay brings it back.
    assert_eq!(retry(&database, ALL).await.0.evicted, 1);
    for older in [named("b", "y", 2), named("b", "w", 4), named("b", "x", 5), Message::delete("b", 4)] {
        let (counts, parked) = put(&database, Parking::Fence, &[older, named("c", "z", 3)]).await;
        assert_eq!((counts.fenced - u64::from(counts.inserted == 0), parked), (1, 1));
        assert_eq!(names(&stand).await, "a=x c=z");
    }
    assert_eq!(stand.count("cdc.tombstones").await, 0);
    // Blocked, too, the newer version takes its place.
    let (counts, parked) = put(&database, Parking::Park, &[named("b", "z", 6)]).await;
    assert_eq!((counts.superseded, counts.parked, parked), (1, 1, 1));
    // And so does one that is written.
    let (counts, parked) = put(&database, Parking::Fence, &[named("b", "free", 7)]).await;
    assert_eq!((counts.superseded, counts.inserted, parked), (1, 1, 0));
    assert_eq!(names(&stand).await, "a=x b=free c=z");
    // A newer delete ends it for good.
    put(&database, Parking::Park, &[named("b", "x", 8)]).await;
    let (counts, parked) = put(&database, Parking::Fence, &[Message::delete("b", 9)]).await;
    assert_eq!((counts.superseded, counts.deleted, parked), (1, 1, 0));
    let counts = write_all(&database, &[named("b", "x", 8)]).await;
    assert_eq!(counts.fenced, 1);
}

#[tokio::test]
async fn a_chain_of_hand_overs_in_one_batch_needs_no_parking() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1), named("b", "y", 2), named("c", "z", 3)]).await;
    let messages = [named("a", "y", 4), named("b", "z", 5), named("c", "free", 6)];
    let reply = database.write(&batch(&messages), ALL, Parking::Off).await;
    assert!(matches!(reply.outcome, WriteOutcome::Failed { fault: Fault::Blocked, .. }));
    let (counts, parked) = put(&database, Parking::Park, &messages).await;
    assert_eq!((counts.updated, counts.parked, parked), (3, 0, 0));
    assert_eq!(names(&stand).await, "a=y b=z c=free");
}

/// The cost of a few blocked rows among many: statements of one transaction.
#[tokio::test]
async fn few_blocked_rows_among_a_thousand_are_found_with_few_statements() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1), named("b", "y", 2), named("c", "z", 3)]).await;
    let mut messages: Vec<Message> =
        (10..1010).map(|n| named(&format!("n{n}"), &format!("name {n}"), n)).collect();
    for (at, name) in [(100, "x"), (101, "y"), (900, "z")] {
        messages[at] = named(&format!("p{at}"), name, 2000);
    }
    let (counts, parked) = put(&database, Parking::Park, &messages).await;
    assert_eq!((counts.inserted, counts.parked, parked), (997, 3, 3));
    assert!(counts.prepared_statements < 60, "{}", counts.prepared_statements);
    let (counts, parked) = retry(&database, ALL).await;
    assert_eq!((counts.tried, counts.blocked, parked), (3, 3, 3));
}

#[tokio::test]
async fn a_constraint_that_waits_for_the_commit_parks_as_well() {
    let deferred = "ALTER TABLE players DROP CONSTRAINT unique_username; \
                    ALTER TABLE players ADD CONSTRAINT unique_username UNIQUE (username) \
                    DEFERRABLE INITIALLY DEFERRED;";
    let stand = Stand::new(&format!("{PLAYERS} {deferred}")).await;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1), named("b", "y", 2)]).await;
    // Within one batch it lets a swap pass.
    write_all(&database, &[named("a", "y", 3), named("b", "x", 4)]).await;
    let reply = database.write(&batch(&[named("c", "x", 5)]), ALL, Parking::Off).await;
    assert!(matches!(reply.outcome, WriteOutcome::Failed { fault: Fault::Blocked, .. }), "{reply:?}");
    assert_eq!(put(&database, Parking::Park, &[named("c", "x", 5)]).await.1, 1);
    assert_eq!(retry(&database, ALL).await.0.blocked, 1);
    put(&database, Parking::Fence, &[Message::delete("b", 6)]).await;
    assert_eq!(retry(&database, ALL).await, (RetryCounts { tried: 1, resolved: 1, ..Default::default() }, 0));
    assert_eq!(names(&stand).await, "a=y c=x");
}

/// Taking a row out must not take rows of other tables along.
#[tokio::test]
async fn rows_that_others_refer_to_stay_in_their_table() {
    for rule in
        ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE RESTRICT", "DEFERRABLE INITIALLY DEFERRED"]
    {
        let items = format!("CREATE TABLE items (player varchar(24) REFERENCES players (id) {rule});");
        let stand = Stand::new(&format!("{PLAYERS} {items}")).await;
        let database = stand.database().await;
        write_all(&database, &[named("a", "x", 1), named("b", "y", 2)]).await;
        stand.client.batch_execute("INSERT INTO items VALUES ('a'), ('b')").await.unwrap();
        put(&database, Parking::Park, &[named("a", "y", 3)]).await;
        put(&database, Parking::Park, &[named("b", "x", 4)]).await;
        let (counts, parked) = retry(&database, ALL).await;
        assert_eq!((counts.evicted, counts.blocked, parked), (0, 2, 2), "{rule}");
        assert_eq!(names(&stand).await, "a=x b=y", "{rule}");
        assert_eq!(stand.count("items WHERE player IS NOT NULL").await, 2, "{rule}");
        // It goes on once the value is free.
        put(&database, Parking::Fence, &[named("a", "free", 5)]).await;
        assert_eq!(retry(&database, ALL).await.1, 0, "{rule}");
        assert_eq!(names(&stand).await, "a=free b=x", "{rule}");
    }
}

#[tokio::test]
async fn a_parked_row_that_no_longer_fits_its_table_is_rejected() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1)]).await;
    put(&database, Parking::Park, &[named("b", "x", 2)]).await;
    stand
        .client
        .batch_execute("DELETE FROM players; ALTER TABLE players ADD COLUMN team text NOT NULL")
        .await
        .unwrap();
    let fresh = stand.database().await;
    let reply = fresh.retry_parked(ALL, &[(PARTITION, EPOCH)], &[]).await;
    let RetryOutcome::Done { rejected, .. } = reply.outcome else { panic!("{:?}", reply.failure) };
    assert_eq!((rejected.len(), rejected[0].reason), (1, Reject::MissingValue));
    assert!(rejected[0].detail.contains("team"), "{rejected:?}");
    // Where the table is mended before it is given up, it is written.
    stand.client.batch_execute("ALTER TABLE players DROP COLUMN team").await.unwrap();
    assert_eq!(retry(&stand.database().await, ALL).await.1, 0);
    assert_eq!(names(&stand).await, "b=x");
}

/// A table without the fence's column: the parked position still fences.
#[tokio::test]
async fn a_table_without_the_fence_parks_as_well() {
    let mut stand = Stand::new(PLAYERS).await;
    stand.connected().await;
    stand.settings.manage_schema = false;
    stand.settings.fence = cdc_postgres::Fence::IfPossible;
    let database = stand.database().await;
    write_all(&database, &[named("a", "x", 1), named("b", "y", 2)]).await;
    assert_eq!(database.unfenced_tables(), ["public.players"]);
    put(&database, Parking::Park, &[named("a", "y", 3)]).await;
    put(&database, Parking::Park, &[named("b", "x", 4)]).await;
    let (counts, _) = put(&database, Parking::Fence, &[named("a", "x", 1)]).await;
    assert_eq!(counts.fenced, 1);
    let (counts, parked) = retry(&database, ALL).await;
    assert_eq!((counts.resolved, counts.evicted, parked), (2, 2, 0));
    assert_eq!(names(&stand).await, "a=y b=x");
}
