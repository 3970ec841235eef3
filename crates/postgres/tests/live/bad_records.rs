//! One bad record does not keep its neighbours from the table.

use cdc_machine::Fault;
use cdc_ports::Database;
use cdc_syncer::{Parking, Reject, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, PLAYERS, Stand, batch, batch_of, write, written};

fn player(id: &str, fields: &str, position: u32) -> Message {
    let fields = format!("\"created_at\":\"2024-01-15T10:30:00Z\"{fields}");
    Message::upsert("insert", id, &fields, position).typed("date", "/full_document/created_at")
}

/// Feature: cdc-pipeline, Property 10: Consumer Error Resilience
/// Validates: Requirements 4.4
#[tokio::test]
async fn each_bad_record_is_named_with_its_column_and_reason() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let long = format!(",\"username\":\"{}\"", "x".repeat(256));
    let messages = [
        (Message::player("insert", "good 1", 1, 1), None),
        (player("b", "", 2), Some((Reject::MissingValue, "username"))),
        (player("c", ",\"username\":null", 3), Some((Reject::MissingValue, "username"))),
        (player("d", ",\"username\":\"d\",\"level\":\"secret\"", 4), Some((Reject::TypeConflict, "level"))),
        (player("e", ",\"username\":\"e\",\"level\":1.5", 5), Some((Reject::TypeConflict, "level"))),
        (player("f", ",\"username\":\"f\",\"level\":3000000000", 6), Some((Reject::OutOfRange, "level"))),
        (player("g", &long, 7), Some((Reject::OutOfRange, "username"))),
        (player("h", ",\"username\":\"\\u0000\"", 8), Some((Reject::OutOfRange, "username"))),
        (player("i", ",\"username\":5", 9), Some((Reject::TypeConflict, "username"))),
        (player("j", ",\"username\":\"j\",\"level\":null", 10), Some((Reject::MissingValue, "level"))),
        (player(&"k".repeat(25), ",\"username\":\"k\"", 11), Some((Reject::OutOfRange, "id"))),
        (player("l", ",\"username\":\"l\"", 12).version(2), Some((Reject::NewerVersion, "version"))),
        (player("m", ",\"username\":\"m\"", 13).raw("AAAA"), Some((Reject::TypeConflict, "mirror"))),
        (player("n", ",\"username\":\"n\",\"username\":\"o\"", 14), Some((Reject::Malformed, "twice"))),
        (
            Message::upsert("insert", "o", "\"username\":\"p\",\"created_at\":\"yesterday\"", 15),
            Some((Reject::TypeConflict, "created_at")),
        ),
        (Message::player("insert", "good 2", 1, 16), None),
    ];
    let all: Vec<Message> = messages.iter().map(|(message, _)| message.clone()).collect();
    let (counts, rejected) = write(&database, &all).await;
    let found: Vec<_> = rejected.iter().map(|rejected| (rejected.index, rejected.reason)).collect();
    let expected: Vec<_> = messages
        .iter()
        .enumerate()
        .filter_map(|(index, (_, bad))| bad.map(|(reason, _)| (index, reason)))
        .collect();
    assert_eq!(found, expected);
    for rejected in &rejected {
        let (_, hint) = messages[rejected.index].1.unwrap();
        assert!(rejected.detail.contains(hint), "{}", rejected.detail);
        assert!(!rejected.detail.contains("secret"), "{}", rejected.detail);
    }
    assert_eq!(counts.inserted, 2);
    assert_eq!(stand.count("players").await, 2);
}

#[tokio::test]
async fn what_is_no_message_is_rejected() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let good = Message::player("insert", "good", 1, 1);
    let records = [
        (b"\"a\"".to_vec(), Some(b"not json".to_vec())),
        (b"not json".to_vec(), Some(good.value().into())),
        (Vec::new(), Some(good.value().into())),
        (good.key().into(), Some(good.value().into())),
    ];
    let (counts, rejected) = written(database.write(&batch_of(records), ALL, Parking::Off).await);
    assert_eq!(
        rejected.iter().map(|r| (r.index, r.reason)).collect::<Vec<_>>(),
        [(0, Reject::Malformed), (1, Reject::Malformed), (2, Reject::Malformed)]
    );
    assert_eq!(counts.inserted, 1);
}

#[tokio::test]
async fn what_only_postgresql_can_see_fails_the_batch_with_its_class() {
    let stand = Stand::new(&format!("{PLAYERS} ALTER TABLE players ADD CHECK (level < 100);")).await;
    let database = stand.database().await;
    let reply = database
        .write(
            &batch(&[Message::player("insert", "a", 1, 1), Message::player("insert", "b", 100, 2)]),
            ALL,
            Parking::Off,
        )
        .await;
    let failure = reply.failure.unwrap();
    assert!(
        matches!(
            &reply.outcome,
            WriteOutcome::Failed {
                fault: Fault::Poison,
                reason: Reject::CheckViolation,
                sqlstate: Some(code),
                ..
            } if code.as_str() == "23514"
        ),
        "{:?}",
        reply.outcome
    );
    assert!(failure.message.contains("players_level_check"), "{failure}");
    // PostgreSQL's detail quotes the row; it stays out of what is logged.
    assert!(!failure.chain().contains("name b"), "{failure}");
    assert_eq!(stand.count("players").await, 0);

    let twin =
        Message::upsert("insert", "c", "\"username\":\"name a\",\"created_at\":\"2024-01-15T10:30:00Z\"", 3)
            .typed("date", "/full_document/created_at");
    let reply =
        database.write(&batch(&[Message::player("insert", "a", 1, 1), twin]), ALL, Parking::Off).await;
    assert!(
        matches!(
            &reply.outcome,
            WriteOutcome::Failed { fault: Fault::Blocked, reason: Reject::UniqueViolation, .. }
        ),
        "{:?}",
        reply.outcome
    );
    assert!(reply.failure.unwrap().message.contains("unique_username"));
    // The connection goes on.
    let (counts, _) = write(&database, &[Message::player("insert", "a", 1, 1)]).await;
    assert_eq!(counts.inserted, 1);
}
