//! What PostgreSQL says of a dead letter before it goes back to its topic, and what it notes of one that is done with.

use cdc_postgres::{By, Done, LetterBook, LetterPlace, Outcome, Question, Standing};
use cdc_syncer::Parking;

use crate::messages::Message;
use crate::parked::put;
use crate::stand::{PLAYERS, Stand, write_all};

const TOPIC: &str = "cdc.game_db.players";

/// What stands of each message's row.
async fn standings(book: &LetterBook, messages: &[Message]) -> Vec<Standing> {
    let values: Vec<String> = messages.iter().map(Message::value).collect();
    let questions: Vec<Question<'_>> = messages
        .iter()
        .zip(&values)
        .map(|(message, value)| Question {
            topic: TOPIC,
            key: message.key().as_bytes(),
            value: value.as_bytes(),
            position: None,
        })
        .collect();
    book.standings(&questions).await.unwrap()
}

#[tokio::test]
async fn a_row_a_tombstone_and_a_parked_version_overtake_what_is_no_newer() {
    let stand = Stand::new(PLAYERS).await;
    let database = stand.database().await;
    let player = |id: &str, position| Message::player("update", id, 1, position);
    write_all(&database, &[player("there", 5), player("gone", 5)]).await;
    write_all(&database, &[Message::delete("gone", 7)]).await;
    let taken = Message::upsert(
        "update",
        "waits",
        "\"username\":\"name there\",\"created_at\":\"2024-01-15T10:30:00Z\"",
        6,
    )
    .typed("date", "/full_document/created_at");
    let (counts, _) = put(&database, Parking::Park, &[taken]).await;
    assert_eq!(counts.parked, 1);

    let book = database.letter_book().await.unwrap();
    let asked = [
        player("there", 4),
        player("there", 5),
        player("there", 6),
        player("gone", 6),
        Message::delete("gone", 7),
        player("gone", 8),
        player("waits", 6),
        Message::delete("waits", 9),
        player("new", 1),
    ];
    let (older, by) = (Standing::Older, Standing::Overtaken);
    let expected = [
        by(By::Row),
        by(By::Row),
        older.clone(),
        by(By::Tombstone),
        by(By::Tombstone),
        older.clone(),
        by(By::Parked),
        older.clone(),
        older,
    ];
    assert_eq!(standings(&book, &asked).await, expected);

    let nonsense = |position| Question { topic: TOPIC, key: b"\"there\"", value: b"nonsense", position };
    let foreign = Question { topic: "cdc.game_db.others", ..nonsense(Some("0000000001")) };
    let told = book.standings(&[nonsense(Some("0000000004")), nonsense(None), foreign]).await.unwrap();
    assert_eq!(told[0], Standing::Overtaken(By::Row), "by the header's position");
    for (standing, word) in told[1..].iter().zip(["position", "cdc.game_db.others"]) {
        assert!(matches!(standing, Standing::Unknown(why) if why.contains(word)), "{standing:?}");
    }
}

#[tokio::test]
async fn an_id_is_compared_as_its_column_holds_it() {
    let stand = Stand::new("CREATE TABLE players (id bigint PRIMARY KEY, level int)").await;
    let database = stand.database().await;
    let numbered = |id: &str, position| {
        Message::upsert("update", "x", "\"level\":1", position)
            .with_id(&format!("{{\"$numberInt\":\"{id}\"}}"), id)
    };
    write_all(&database, &[numbered("1", 5)]).await;
    let book = database.letter_book().await.unwrap();
    let text = Message::upsert("update", "no number", "\"level\":1", 1);
    let told = standings(&book, &[numbered("1", 5), numbered("1", 6), numbered("2", 1), text]).await;
    assert_eq!(told[..3], [Standing::Overtaken(By::Row), Standing::Older, Standing::Older]);
    assert!(matches!(&told[3], Standing::Unknown(why) if why.contains("column id")), "{told:?}");
}

#[tokio::test]
async fn without_a_table_nothing_is_newer_and_without_the_fence_nobody_can_tell() {
    let stand = Stand::new("").await;
    let database = stand.connected().await;
    let book = database.letter_book().await.unwrap();
    let asked = [Message::player("update", "a", 1, 1)];
    assert_eq!(standings(&book, &asked).await, [Standing::Older]);
    assert_eq!(stand.count("pg_tables WHERE tablename = 'players'").await, 0, "asking makes no table");
    stand.client.batch_execute(PLAYERS).await.unwrap();
    let told = standings(&book, &asked).await;
    assert!(matches!(&told[0], Standing::Unknown(why) if why.contains("no column cdc_position")), "{told:?}");
}

#[tokio::test]
async fn what_is_done_with_is_remembered_as_long_as_its_topic_holds_it() {
    let stand = Stand::new("").await;
    let dead = "cdc.game_db.players.dead-letters";
    let place = |offset, written_ms| LetterPlace { topic: dead, partition: 0, offset, written_ms };
    let new = cdc_postgres::PostgresDatabase::new(stand.settings.clone());
    let early = new.letter_book().await.unwrap();
    assert_eq!(early.done(&[place(0, 1)]).await.unwrap(), [None]);
    assert!(early.must_be_there().is_err(), "no Syncer has made the bookkeeping yet");

    let book = stand.connected().await.letter_book().await.unwrap();
    book.must_be_there().unwrap();
    book.note(&[place(0, 1), place(1, 2)], Outcome::Replayed, None).await.unwrap();
    book.note(&[place(2, 3)], Outcome::Discarded, Some("a joke")).await.unwrap();
    let asked = [place(2, 3), place(9, 9), place(0, 1), place(0, 7)];
    let done = book.done(&asked).await.unwrap();
    let said = |done: &Option<Done>| done.as_ref().map(|done| (done.outcome, done.because.clone()));
    assert_eq!(
        done.iter().map(said).collect::<Vec<_>>(),
        [
            Some((Outcome::Discarded, Some("a joke".to_owned()))),
            None,
            Some((Outcome::Replayed, None)),
            None, // At the offset of another one, in a topic that was made anew.
        ]
    );
    book.forget_below(&[(dead, 0, 2), ("other", 0, 9)]).await.unwrap();
    assert_eq!(stand.count("cdc.dead_letters").await, 1);
}
