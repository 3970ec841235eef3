//! Positions decide, not the order of arrival.

use cdc_ports::Database;

use crate::messages::Message;
use crate::stand::{PLAYERS, Stand, write, write_all};

#[tokio::test]
async fn an_older_write_changes_nothing() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 5, 5)]).await;
    for position in [3, 4, 5] {
        let counts = write_all(&database, &[Message::player("update", "a", 3, position)]).await;
        assert_eq!((counts.fenced, counts.updated), (1, 0));
    }
    let counts = write_all(&database, &[Message::delete("a", 4)]).await;
    assert_eq!((counts.fenced, counts.deleted, counts.absent), (1, 0, 0));
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "5");
}

/// The messages' lineage changes with every 256th position.
#[tokio::test]
async fn a_higher_lineage_is_counted_apart() {
    const NEW: u32 = 256;
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 5, NEW + 5), Message::delete("b", NEW + 5)]).await;
    let same = [Message::player("update", "a", 4, NEW + 4), Message::player("insert", "b", 4, NEW + 4)];
    let counts = write_all(&database, &same).await;
    assert_eq!((counts.fenced, counts.fenced_by_lineage), (2, 0), "a replay");

    let former = [Message::player("update", "a", 9, 9), Message::player("insert", "b", 9, 9)];
    let counts = write_all(&database, &former).await;
    assert_eq!((counts.fenced, counts.fenced_by_lineage), (2, 2), "by a row and by a tombstone");
    let counts = write_all(&database, &[Message::delete("a", 9), Message::delete("b", 9)]).await;
    assert_eq!((counts.fenced, counts.fenced_by_lineage, counts.absent), (1, 1, 1));
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "5");

    // The other way, with COPY and a temporary table.
    let many = |position: u32| -> Vec<Message> {
        (0..200).map(|n| Message::player("insert", &format!("p{n}"), 1, position)).collect()
    };
    write_all(&database, &many(NEW)).await;
    let counts = write_all(&database, &many(1)).await;
    assert_eq!((counts.copied_statements, counts.fenced, counts.fenced_by_lineage), (1, 200, 200));
}

#[tokio::test]
async fn a_row_without_a_position_gives_way() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.connected().await;
    stand
        .client
        .batch_execute("INSERT INTO players (id, username, created_at, cdc_timestamp) VALUES ('a', 'old', now(), now()), ('b', 'old b', now(), now())")
        .await
        .unwrap();
    database.acquire(&[crate::stand::claim(crate::stand::EPOCH)], 1).await.unwrap();
    let counts = write_all(&database, &[Message::player("update", "a", 2, 1), Message::delete("b", 1)]).await;
    assert_eq!((counts.updated, counts.deleted), (1, 1));
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "2");
}

#[tokio::test]
async fn a_late_older_upsert_does_not_resurrect_a_row() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    // The delete comes first, before the row was ever seen.
    let counts = write_all(&database, &[Message::delete("a", 5)]).await;
    assert_eq!(counts.absent, 1);
    let counts = write_all(&database, &[Message::player("insert", "a", 4, 4)]).await;
    assert_eq!((counts.fenced, counts.inserted), (1, 0));
    assert_eq!(stand.count("players").await, 0);
    // An older delete does not take the grave's position back.
    write_all(&database, &[Message::delete("a", 3)]).await;
    let counts = write_all(&database, &[Message::player("insert", "a", 4, 4)]).await;
    assert_eq!(counts.fenced, 1);
    // A newer document lives.
    let counts = write_all(&database, &[Message::player("insert", "a", 6, 6)]).await;
    assert_eq!(counts.inserted, 1);
    assert_eq!(stand.count("players").await, 1);
}

#[tokio::test]
async fn the_greatest_position_in_a_batch_wins_wherever_it_stands() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let counts = write_all(
        &database,
        &[
            Message::player("update", "a", 3, 3),
            Message::player("insert", "a", 1, 1),
            Message::delete("b", 5),
            Message::player("insert", "b", 4, 4),
            Message::delete("a", 2),
        ],
    )
    .await;
    assert_eq!((counts.inserted, counts.merged, counts.absent), (1, 3, 1));
    assert_eq!(stand.text("SELECT id || level FROM players").await.unwrap(), "a3");
}

#[tokio::test]
async fn where_the_greatest_does_not_convert_the_next_one_wins() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let bad = Message::upsert("update", "a", "\"username\":\"u\",\"level\":\"high\"", 9);
    let (counts, rejected) =
        write(&database, &[Message::player("insert", "a", 1, 1), bad, Message::player("update", "a", 8, 8)])
            .await;
    assert_eq!(rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), [1]);
    assert_eq!((counts.inserted, counts.merged), (1, 1));
    assert_eq!(stand.text("SELECT level FROM players").await.unwrap(), "8");
}

/// A unique value that a delete frees may be taken by an upsert of the same batch.
#[tokio::test]
async fn deletes_go_before_upserts() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let named = |id: &str, position| {
        Message::upsert(
            "insert",
            id,
            "\"username\":\"the one\",\"created_at\":\"2024-01-15T10:30:00Z\"",
            position,
        )
        .typed("date", "/full_document/created_at")
    };
    write_all(&database, &[named("z", 1)]).await;
    let counts = write_all(&database, &[Message::delete("z", 2), named("a", 3)]).await;
    assert_eq!((counts.deleted, counts.inserted), (1, 1));
}
