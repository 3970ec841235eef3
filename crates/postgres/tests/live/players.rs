//! The specification's own table and messages.

use cdc_ports::{Database, TopicRows, WriteCounts};

use cdc_syncer::Parking;

use crate::messages::Message;
use crate::stand::{ALL, PARTITION, PLAYERS, Stand, batch_of, write_all, written};

#[tokio::test]
async fn the_sample_reaches_the_players_table() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let id = "507f1f77bcf86cd799439011";
    let sample = Message::player("insert", id, 42, 0)
        .with_id(&format!("{{\"$oid\":\"{id}\"}}"), &format!("\"{id}\""))
        .typed("objectId", "/full_document/_id")
        .typed("objectId", "/document_key/_id");
    let counts = write_all(&database, &[sample]).await;
    assert_eq!(
        counts,
        WriteCounts {
            inserted: 1,
            prepared_statements: 1,
            newest_unix_seconds: 1_705_318_200,
            // By the end of its second.
            oldest_unix_ms: Some(1_705_318_201_000),
            by_topic: vec![TopicRows { inserted: 1, ..TopicRows::of(PARTITION) }],
            ..WriteCounts::default()
        }
    );
    assert_eq!(
        stand
            .text(
                "SELECT concat_ws('|', id, username, level, score, created_at, updated_at, cdc_operation, \
                 abs(extract(epoch FROM cdc_timestamp - timezone('UTC', now()))) < 3600, \
                 cdc_position) FROM players"
            )
            .await
            .unwrap(),
        "507f1f77bcf86cd799439011|name 507f1f77bcf86cd799439011|42|9999|2024-01-15 10:30:00|\
         2024-01-15 11:30:00|insert|t|\\x0000000000"
    );
    assert_eq!(database.unfenced_tables(), [""; 0]);
}

/// Feature: cdc-pipeline, Property 18: Upsert Operation Logging
/// Validates: Requirements 8.4
#[tokio::test]
async fn every_record_of_a_batch_is_counted_once() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    write_all(&database, &[Message::player("insert", "a", 1, 10), Message::player("insert", "b", 1, 11)])
        .await;
    let mut records: Vec<(Vec<u8>, Option<Vec<u8>>)> = [
        Message::player("update", "a", 2, 20),
        Message::player("update", "a", 3, 21),
        Message::player("replace", "b", 2, 5),
        Message::player("insert", "c", 1, 22),
        Message::delete("d", 23),
        Message::null_lookup("a", 24),
        Message::control("drop", 25),
    ]
    .iter()
    .map(|message| (message.key().into(), Some(message.value().into())))
    .collect();
    records.push((b"\"e\"".to_vec(), None));
    let (counts, rejected) = written(database.write(&batch_of(records), ALL, Parking::Off).await);
    assert_eq!(rejected, []);
    assert_eq!(
        counts,
        WriteCounts {
            inserted: 1,
            updated: 1,
            fenced: 1,
            absent: 1,
            null_lookups: 1,
            ignored: 2,
            controls: [0, 0, 1, 0, 0],
            merged: 1,
            prepared_statements: 1,
            newest_unix_seconds: 1_705_318_200 + 23,
            oldest_unix_ms: Some((1_705_318_200 + 5 + 1) * 1_000),
            by_topic: vec![TopicRows { inserted: 1, updated: 1, fenced: 1, ..TopicRows::of(PARTITION) }],
            ..WriteCounts::default()
        }
    );
    let counts = write_all(&database, &[Message::delete("a", 30)]).await;
    assert_eq!(counts.deleted, 1);
    assert_eq!(stand.count("players").await, 2);
}

#[tokio::test]
async fn absent_fields_take_the_default_again() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let dated = |fields: &str, position| {
        let fields = format!("\"username\":\"u\",\"created_at\":\"2024-01-15T10:30:00.250Z\"{fields}");
        Message::upsert("update", "a", &fields, position).typed("date", "/full_document/created_at")
    };
    write_all(&database, &[dated(",\"level\":7,\"score\":8", 1)]).await;
    write_all(
        &database,
        &[dated(",\"score\":9,\"updated_at\":\"not the pipeline's\",\"cdc_operation\":5", 2)],
    )
    .await;
    assert_eq!(
        stand
            .text("SELECT concat_ws('|', level, score, created_at, updated_at, cdc_operation) FROM players")
            .await
            .unwrap(),
        "1|9|2024-01-15 10:30:00.25|2024-01-15 11:30:02|update"
    );
}

/// Feature: cdc-pipeline, Property 15: Batch Write Protocol Selection
/// Validates: Requirements 7.4
#[tokio::test]
async fn the_threshold_chooses_between_prepared_statements_and_copy() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let players = |rows: u32, position: u32| -> Vec<Message> {
        (0..rows).map(|row| Message::player("update", &format!("p{row:04}"), 1, position)).collect()
    };
    for (rows, position, copied) in [(1, 1, 0), (99, 2, 0), (100, 3, 1), (101, 4, 1), (1000, 5, 1)] {
        let counts = write_all(&database, &players(rows, position)).await;
        assert_eq!((counts.copied_statements, counts.prepared_statements), (copied, 1 - copied), "{rows}");
        assert_eq!(counts.inserted + counts.updated, u64::from(rows), "{rows}");
    }
    assert_eq!(stand.count("players").await, 1000);
    // The statement's rows count, not the batch's records.
    let same: Vec<Message> =
        (0..200).map(|n| Message::player("update", "p0000", n, 10 + n.unsigned_abs())).collect();
    let counts = write_all(&database, &same).await;
    assert_eq!((counts.prepared_statements, counts.merged, counts.updated), (1, 199, 1));
    assert_eq!(stand.text("SELECT level FROM players WHERE id = 'p0000'").await.unwrap(), "199");
}
