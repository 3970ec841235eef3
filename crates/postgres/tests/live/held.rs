//! Tables that are locked, dropped, swapped or changed under a Syncer that writes them.

use cdc_machine::{Epoch, Fault};
use cdc_ports::Database;
use cdc_syncer::{HoldReason, Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PARTITION, PLAYERS, Stand, batch, claim, held, write_all};

/// The SQL that the words print.
fn way_out(detail: &str) -> &str {
    detail.split_once("Syncer: ").unwrap().1
}

#[tokio::test]
async fn a_column_is_used_as_soon_as_it_is_there() {
    let stand = Stand::new("CREATE TABLE players (id text PRIMARY KEY, a int)").await;
    let database = stand.database().await;
    let player = |id: &str, fields: &str, position| Message::upsert("insert", id, fields, position);
    write_all(&database, &[player("1", "\"a\":1", 1)]).await;
    stand.client.batch_execute("ALTER TABLE players ADD COLUMN coupon text").await.unwrap();
    write_all(&database, &[player("1", "\"a\":1,\"coupon\":\"Y\"", 2)]).await;
    assert_eq!(stand.text("SELECT coupon FROM players").await.unwrap(), "Y");
    stand.client.batch_execute("ALTER TABLE players ALTER COLUMN a TYPE text").await.unwrap();
    write_all(&database, &[player("1", "\"a\":\"not a number\"", 3)]).await;
    assert_eq!(stand.text("SELECT a FROM players").await.unwrap(), "not a number");
}

/// One of them reads the table anew; the other must not take the old picture of it for what that look has found.
#[tokio::test]
async fn a_column_that_two_batches_meet_at_once_is_used_by_both() {
    let stand = Stand::new("CREATE TABLE players (id text PRIMARY KEY, a int)").await;
    let database = stand.database().await;
    let player = |id: &str, fields: &str, position| Message::upsert("insert", id, fields, position);
    write_all(&database, &[player("1", "\"a\":1", 1), player("2", "\"a\":1", 2)]).await;
    stand.client.batch_execute("ALTER TABLE players ADD COLUMN coupon text").await.unwrap();
    // As a write that feeds a column: whoever reads the table anew waits for its end.
    let feeding = crate::stand::client(&stand.settings, &stand.settings.user).await;
    feeding.batch_execute("BEGIN; SELECT FROM cdc.tables FOR UPDATE").await.unwrap();
    let ends = async {
        stand.until_blocked().await;
        // Longer than the other waits between two questions whether the look has ended.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        feeding.batch_execute("COMMIT").await.unwrap();
    };
    let one = [player("1", "\"a\":1,\"coupon\":\"Y\"", 3)];
    let other = [player("2", "\"a\":1,\"coupon\":\"Y\"", 4)];
    tokio::join!(write_all(&database, &one), write_all(&database, &other), ends);
    assert_eq!(stand.count("players WHERE coupon = 'Y'").await, 2);
}

/// What PostgreSQL refuses for a column that was not there at the last look is written once more, and not given up.
#[tokio::test]
async fn a_row_is_not_given_up_for_a_column_that_is_new() {
    let stand = Stand::new("CREATE TABLE players (id text PRIMARY KEY, a int)").await;
    let database = stand.database().await;
    let player = |fields: &str, position| Message::upsert("insert", "1", fields, position);
    // The field is looked for in vain, and will not be again for a second.
    write_all(&database, &[player("\"a\":1,\"x\":5", 1)]).await;
    let added = "DELETE FROM players; ALTER TABLE players ADD COLUMN x int NOT NULL";
    stand.client.batch_execute(added).await.unwrap();
    let reply = database.write(&batch(&[player("\"a\":2,\"x\":6", 2)]), ALL, Parking::Off).await;
    // Where a second had passed, the column was found at once.
    if let WriteOutcome::Failed { fault, .. } = reply.outcome {
        assert_eq!(fault, Fault::RetryNow);
        write_all(&database, &[player("\"a\":2,\"x\":6", 2)]).await;
    }
    assert_eq!(stand.text("SELECT x FROM players").await.unwrap(), "6");

    // One that the table refuses as it is falls, new fields or not.
    let refusing = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN RAISE not_null_violation; END $$; \
                    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON players FOR EACH ROW EXECUTE FUNCTION refuse(); \
                    ALTER TABLE players ADD COLUMN y int";
    stand.client.batch_execute(refusing).await.unwrap();
    let again = batch(&[player("\"a\":3,\"x\":6,\"y\":1", 3)]);
    let mut faults = Vec::new();
    for _ in 0..2 {
        let outcome = database.write(&again, ALL, Parking::Off).await.outcome;
        let WriteOutcome::Failed { fault, .. } = outcome else { panic!("{outcome:?}") };
        faults.push(fault);
    }
    assert_eq!(faults.last(), Some(&Fault::Poison));
}

/// Nothing is written unfenced, and nobody waits behind the wait for the lock for long.
#[tokio::test]
async fn a_table_is_not_written_before_its_fence_is_there() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.connected().await;
    stand.client.batch_execute("BEGIN; LOCK TABLE players IN ACCESS SHARE MODE").await.unwrap();
    assert_eq!(held(&database, EPOCH).await.unwrap().reason, HoldReason::Locked);
    let reply = database.write(&batch(&[Message::player("insert", "a", 1, 1)]), ALL, Parking::Off).await;
    assert!(matches!(&reply.outcome, WriteOutcome::Held { .. }), "{:?}", reply.outcome);
    stand.client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(stand.count("players").await, 0);
    assert_eq!(held(&database, EPOCH).await, None);
    write_all(&database, &[Message::player("insert", "a", 1, 2)]).await;
    assert_eq!(stand.count("players WHERE cdc_position IS NOT NULL").await, 1);
}

#[tokio::test]
async fn another_table_of_the_name_holds_the_topic_until_the_claim_is_renewed() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    stand.client.batch_execute("UPDATE cdc.partitions SET next_offset = 7").await.unwrap();

    stand.client.batch_execute("ALTER TABLE players RENAME TO players_old").await.unwrap();
    let gone = held(&database, Epoch(2)).await.unwrap();
    assert_eq!(gone.reason, HoldReason::TableDropped);
    assert_eq!(stand.text("SELECT to_regclass('players')").await, None, "no mirror in its place");
    stand.client.batch_execute("CREATE TABLE players (LIKE players_old INCLUDING ALL)").await.unwrap();
    let other = held(&database, Epoch(3)).await.unwrap();
    assert_eq!(other.reason, HoldReason::TableReplaced);

    stand.client.batch_execute(way_out(&other.detail)).await.unwrap();
    let taken = database.acquire(&[claim(Epoch(4))], 1).await.unwrap();
    assert_eq!((taken[0].next_offset, &taken[0].held), (Some(0), &None));
}

#[tokio::test]
async fn an_idle_topic_s_table_is_looked_at_too() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    stand.client.batch_execute("DROP TABLE players").await.unwrap();
    loop {
        // A table is looked at once a second at most.
        let held = database.check(&[(PARTITION, EPOCH)]).await.unwrap().held;
        if let [hold] = &held[..] {
            assert_eq!(
                (hold.partition, hold.epoch, hold.reason),
                (PARTITION, EPOCH, HoldReason::TableDropped)
            );
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A crash empties both tables at once; here they are emptied by hand.
#[tokio::test]
async fn an_unlogged_table_that_a_crash_has_emptied_holds_the_topic() {
    let stand = Stand::new("CREATE UNLOGGED TABLE players (id text PRIMARY KEY, level int)").await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    assert_eq!(database.tables_at_risk().unlogged, ["public.players"]);
    assert_eq!(held(&database, Epoch(2)).await, None);
    stand.client.batch_execute("TRUNCATE players, cdc.unlogged_tables").await.unwrap();
    let emptied = held(&database, Epoch(3)).await.unwrap();
    assert_eq!(emptied.reason, HoldReason::TableEmptied);
    stand.client.batch_execute(way_out(&emptied.detail)).await.unwrap();
    assert_eq!(held(&database, Epoch(4)).await, None);
}
