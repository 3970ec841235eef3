//! Who owns a partition, and how far it is written.

use cdc_devstack::{Postgres, PostgresOptions};
use cdc_machine::Epoch;
use cdc_ports::{Database, LedgerCommit, LedgerEntry};
use cdc_syncer::{OffsetGap, OffsetLoss, Parking, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PARTITION, PLAYERS, Stand, batch, claim, write_all};

fn offset(next_offset: i64) -> LedgerCommit {
    LedgerCommit { partition: PARTITION, epoch: EPOCH, next_offset }
}

fn entry(next_offset: Option<i64>) -> LedgerEntry {
    LedgerEntry { next_offset, ..LedgerEntry::default() }
}

#[tokio::test]
async fn offsets_are_found_again() {
    let stand = Stand::new(PLAYERS).await;
    let first = stand.connected().await;
    assert_eq!(first.acquire(&[claim(EPOCH)], 1).await.unwrap(), [entry(None)]);
    assert_eq!(first.record(&[offset(7)]).await.unwrap(), []);
    let second = stand.connected().await;
    assert_eq!(second.acquire(&[claim(EPOCH)], 1).await.unwrap(), [entry(Some(7))]);
    // An operator's rewind is written again from below.
    assert_eq!(second.record(&[offset(3)]).await.unwrap(), []);
    assert_eq!(second.acquire(&[claim(Epoch(2))], 1).await.unwrap(), [entry(Some(3))]);
}

#[tokio::test]
async fn a_former_owner_writes_and_records_nothing() {
    let stand = Stand::new(PLAYERS).await;
    let zombie = stand.database().await;
    write_all(&zombie, &[Message::player("insert", "a", 1, 1)]).await;
    let owner = stand.database().await;

    let reply = zombie
        .write(&batch(&[Message::player("update", "a", 9, 9), Message::delete("b", 9)]), ALL, Parking::Off)
        .await;
    assert_eq!(reply.outcome, WriteOutcome::Refused { partitions: vec![PARTITION] });
    assert_eq!(zombie.record(&[offset(99)]).await.unwrap(), [PARTITION]);
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "1");
    assert_eq!(stand.count("cdc.tombstones").await, 0);
    assert_eq!(stand.text("SELECT next_offset FROM cdc.partitions").await, None);

    write_all(&owner, &[Message::player("update", "a", 2, 2)]).await;
    // And the connection that was refused is as good as before.
    zombie.acquire(&[claim(Epoch(1))], 1).await.unwrap();
    write_all(&zombie, &[Message::player("update", "a", 3, 3)]).await;
}

#[tokio::test]
async fn an_assignment_that_is_over_is_refused_without_asking() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    database.acquire(&[claim(Epoch(2))], 1).await.unwrap();
    let reply = database.write(&batch(&[Message::player("insert", "a", 1, 1)]), ALL, Parking::Off).await;
    assert_eq!(reply.outcome, WriteOutcome::Refused { partitions: vec![PARTITION] });
    assert_eq!(database.record(&[offset(1)]).await.unwrap(), [PARTITION]);
}

/// A takeover waits for the former owner's write in flight, so that it reads what that wrote.
#[tokio::test]
async fn a_takeover_waits_for_a_write_in_flight() {
    let stand = Stand::new(PLAYERS).await;
    let former = stand.database().await;
    write_all(&former, &[Message::player("insert", "a", 1, 1)]).await;
    let heir = stand.connected().await;

    // Somebody's lock stops the write between its hold and its commit.
    stand.client.batch_execute("BEGIN; SELECT FROM players FOR UPDATE").await.unwrap();
    let in_flight = tokio::spawn(async move {
        former.write(&batch(&[Message::player("update", "a", 2, 2)]), ALL, Parking::Off).await
    });
    stand.until_blocked().await;
    let mut takeover = tokio::spawn(async move { heir.acquire(&[claim(EPOCH)], 1).await });
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut takeover).await;
    assert!(early.is_err(), "the takeover did not wait");

    stand.client.batch_execute("COMMIT").await.unwrap();
    let reply = in_flight.await.unwrap();
    assert_eq!(reply.outcome, WriteOutcome::Written { rejected: vec![], parked: vec![] });
    assert_eq!(takeover.await.unwrap().unwrap(), [entry(None)]);
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "2");
}

/// A database that was restored from a copy of the same assignment: the owner is the same, the offset is not.
#[tokio::test]
async fn a_ledger_that_stands_lower_than_it_was_left_is_no_longer_ours() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    assert_eq!(database.record(&[offset(7)]).await.unwrap(), []);
    assert_eq!(database.check(&[(PARTITION, EPOCH)]).await.unwrap().refused, []);

    for earlier in ["3", "NULL"] {
        stand
            .client
            .batch_execute(&format!("UPDATE cdc.partitions SET next_offset = {earlier}"))
            .await
            .unwrap();
        let reply = database.write(&batch(&[Message::player("insert", "a", 1, 1)]), ALL, Parking::Off).await;
        assert_eq!(reply.outcome, WriteOutcome::Refused { partitions: vec![PARTITION] });
        assert_eq!(stand.count("players").await, 0);
        assert_eq!(database.check(&[(PARTITION, EPOCH)]).await.unwrap().refused, [PARTITION]);
    }
    assert_eq!(database.acquire(&[claim(Epoch(2))], 1).await.unwrap(), [entry(None)]);
    assert_eq!(database.check(&[(PARTITION, Epoch(2))]).await.unwrap().refused, []);
    assert_eq!(
        database.check(&[(PARTITION, EPOCH)]).await.unwrap().refused,
        [PARTITION],
        "the assignment is over"
    );
}

/// A copy takes the server's place from before a batch whose offset was not recorded: a standby that was behind, or a
/// point in time. Its row of the ledger is the one that we know, and the batch's rows are missing.
#[tokio::test]
async fn nothing_is_recorded_on_another_server_than_it_was_written_on() {
    let mut server = Postgres::start(PostgresOptions::default()).await.unwrap();
    let mut stand = Stand::on(&server, PLAYERS).await;
    let database = stand.database().await;
    assert_eq!(database.record(&[offset(7)]).await.unwrap(), []);
    server.back_up().await.unwrap();
    let row = "SELECT concat_ws(' ', epoch, owner, next_offset, end_seen) FROM cdc.partitions";
    let known = stand.text(row).await;
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;

    server.fall_back().await.unwrap();
    stand.reconnect().await;
    database.connect().await.unwrap();
    assert_eq!((stand.count("players").await, stand.text(row).await), (0, known.clone()));
    assert_eq!(database.record(&[offset(8)]).await.unwrap(), [PARTITION]);
    assert_eq!(database.check(&[(PARTITION, EPOCH)]).await.unwrap().refused, [PARTITION]);
    database.saw_ends(&[offset(7)]).await.unwrap();
    let gap =
        OffsetGap { partition: PARTITION, epoch: EPOCH, from: 7, to: 20, loss: Some(OffsetLoss::Expired) };
    assert_eq!(database.move_offsets(&[gap]).await.unwrap(), [PARTITION]);
    let reply = database.write(&batch(&[Message::player("insert", "b", 2, 2)]), ALL, Parking::Off).await;
    assert_eq!(reply.outcome, WriteOutcome::Refused { partitions: vec![PARTITION] });
    assert_eq!((stand.count("players").await, stand.text(row).await), (0, known));

    // Taken anew, it goes on from where this server's ledger stands.
    assert_eq!(database.acquire(&[claim(EPOCH)], 1).await.unwrap(), [entry(Some(7))]);
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
    assert_eq!(database.record(&[offset(8)]).await.unwrap(), []);
    assert_eq!(database.check(&[(PARTITION, EPOCH)]).await.unwrap().refused, []);
}

/// After an operator's rewind offsets are recorded that are lower than before. They are our own.
#[tokio::test]
async fn an_offset_that_we_lowered_ourselves_is_no_reason_for_doubt() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    assert_eq!(database.record(&[offset(7)]).await.unwrap(), []);
    assert_eq!(database.record(&[offset(3)]).await.unwrap(), []);
    assert_eq!(database.check(&[(PARTITION, EPOCH)]).await.unwrap().refused, []);
    write_all(&database, &[Message::player("insert", "a", 1, 1)]).await;
}

#[tokio::test]
async fn an_offset_moves_together_with_its_gap_or_not_at_all() {
    let stand = Stand::new(PLAYERS).await;
    let zombie = stand.database().await;
    assert_eq!(zombie.record(&[offset(7)]).await.unwrap(), []);
    let owner = stand.database().await;
    let gap =
        OffsetGap { partition: PARTITION, epoch: EPOCH, from: 7, to: 20, loss: Some(OffsetLoss::Expired) };
    assert_eq!(zombie.move_offsets(&[gap]).await.unwrap(), [PARTITION]);
    assert_eq!(stand.count("cdc.gaps").await, 0);
    assert_eq!(stand.text("SELECT next_offset FROM cdc.partitions").await.unwrap(), "7");

    assert_eq!(owner.move_offsets(&[gap]).await.unwrap(), []);
    let row = "SELECT concat_ws(' ', consumer_group, topic, partition, from_offset, to_offset, cause) FROM cdc.gaps";
    assert_eq!(stand.text(row).await.unwrap(), "cdc-syncer cdc.game_db.players 0 7 20 expired");
    assert_eq!(stand.text("SELECT next_offset FROM cdc.partitions").await.unwrap(), "20");
    assert_eq!(owner.check(&[(PARTITION, EPOCH)]).await.unwrap().refused, []);
    write_all(&owner, &[Message::player("insert", "a", 1, 1)]).await;
    // Down it goes too: a topic that was made anew begins at 0.
    let gap = OffsetGap { from: 20, to: 0, loss: Some(OffsetLoss::Truncated), ..gap };
    assert_eq!(owner.move_offsets(&[gap]).await.unwrap(), []);
    assert_eq!(owner.check(&[(PARTITION, EPOCH)]).await.unwrap().refused, []);
    assert_eq!(stand.count("cdc.gaps").await, 2);
    // Where nothing was lost, the offset moves alone.
    assert_eq!(owner.move_offsets(&[OffsetGap { to: 3, loss: None, ..gap }]).await.unwrap(), []);
    assert_eq!(stand.text("SELECT next_offset FROM cdc.partitions").await.unwrap(), "3");
    assert_eq!(stand.count("cdc.gaps").await, 2);
    // An end is recorded by the owner, and only where the partition stands.
    let seen = "SELECT coalesce(end_seen::text, 'none') FROM cdc.partitions";
    for (who, end, expected) in [(&zombie, 3, "none"), (&owner, 4, "none"), (&owner, 3, "3")] {
        who.saw_ends(&[offset(end)]).await.unwrap();
        assert_eq!(stand.text(seen).await.unwrap(), expected);
    }
}
