//! Properties of writes over player records, drawn as the specification's own generator draws them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cdc_ports::Database as _;
use cdc_postgres::PostgresDatabase;
use cdc_syncer::{Parking, WriteOutcome};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::messages::Message;
use crate::stand::{ALL, EPOCH, PLAYERS, Stand, batch, claim, write_all};

/// Cases of each property; the specification asks for as many.
const CASES: u32 = 100;

/// A player record: id, user name, level, score and time of making.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    pub(crate) id: String,
    username: String,
    level: i32,
    score: i64,
    /// Without its time zone.
    created_at: String,
}

impl Player {
    /// Ids of a small set, so that records meet; the user name is the id's own, because it is unique.
    pub(crate) fn draw() -> impl Strategy<Value = Self> {
        let time = (2000..2100, 1..13, 1..29, (0..24, 0..60, 0..60)).prop_map(
            |(year, month, day, (hour, minute, second))| {
                format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
            },
        );
        (0..6, "[a-z][a-z0-9_]{0,9}", 1..=100, 0_i64..=1_000_000, time).prop_map(
            |(id, name, level, score, created_at)| Self {
                id: format!("p{id}"),
                username: format!("{name}-{id}"),
                level,
                score,
                created_at,
            },
        )
    }

    pub(crate) fn message(&self, operation: &'static str, position: u32) -> Message {
        let Self { id, username, level, score, created_at } = self;
        let created_at = created_at.replacen(' ', "T", 1);
        let fields = format!(
            "\"username\":\"{username}\",\"level\":{level},\"score\":{score},\"created_at\":\"{created_at}Z\""
        );
        Message::upsert(operation, id, &fields, position).typed("date", "/full_document/created_at")
    }

    /// Every column but `cdc_timestamp`, which is the time of the write; as [`ROWS`] reads them.
    pub(crate) fn row(&self, operation: &str, position: u32) -> String {
        let Self { id, username, level, score, created_at } = self;
        let (minute, second) = (30 + position / 60, position % 60);
        format!(
            "{id}|{username}|{level}|{score}|{created_at}|2024-01-15 11:{minute:02}:{second:02}|{operation}|\
             \\x{position:010x}"
        )
    }
}

/// All columns of all rows but the time of the write.
pub(crate) const ROWS: &str = "SELECT concat_ws('|', id, username, level, score, created_at, updated_at, \
                               cdc_operation, cdc_position) FROM players ORDER BY id COLLATE \"C\"";

fn check<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let verdict = runner.run(strategy, test);
    assert_eq!(verdict.err().map(|error| error.to_string()), None);
}

/// Empties the tables and takes the partition.
async fn begin(stand: &Stand, database: &PostgresDatabase) {
    stand.client.batch_execute("TRUNCATE players, cdc.tombstones").await.unwrap();
    database.acquire(&[claim(EPOCH)], 1).await.unwrap();
}

/// A stand with two adapters on it: one that prepares statements, and one that copies from the first row on.
async fn both_ways() -> (Stand, [(&'static str, PostgresDatabase); 2]) {
    let stand = Stand::new(PLAYERS).await;
    let prepared = stand.database().await;
    let mut settings = stand.settings.clone();
    settings.copy_threshold = 1;
    let copying = PostgresDatabase::new(settings);
    copying.connect().await.unwrap();
    (stand, [("prepared", prepared), ("copied", copying)])
}

/// Feature: cdc-pipeline, Property 15: Batch Write Protocol Selection
/// Validates: Requirements 7.4
#[test]
fn a_hundred_rows_are_copied_and_fewer_are_not() {
    let runtime = Runtime::new().unwrap();
    let stand = runtime.block_on(Stand::new(PLAYERS));
    let database = runtime.block_on(stand.database());
    let rows = prop_oneof![1_usize..40, 90_usize..111, 111_usize..250];
    check(CASES, &(rows, prop::collection::vec(Player::draw(), 1..30)), |(rows, players)| {
        runtime.block_on(async {
            begin(&stand, &database).await;
            // Distinct rows, and some records of rows that are in the batch already.
            let own = (0..rows).map(|row| {
                let player = &players[row % players.len()];
                let (id, username) = (format!("r{row}"), format!("r{row}"));
                Player { id, username, ..player.clone() }
            });
            let messages: Vec<Message> = (1..)
                .zip(own.clone().chain(own.take(players.len().min(rows))))
                .map(|(position, player)| player.message("insert", position))
                .collect();
            let counts = write_all(&database, &messages).await;
            let copies = u64::from(rows >= 100);
            prop_assert_eq!((counts.copied_statements, counts.prepared_statements), (copies, 1 - copies));
            prop_assert_eq!(counts.inserted, rows as u64);
            prop_assert_eq!(counts.merged, (messages.len() - rows) as u64);
            Ok(())
        })
    });
}

/// Feature: cdc-pipeline, Property 18: Upsert Operation Logging
/// Validates: Requirements 8.4
///
/// What the log tells, whichever way the rows go: how many were inserted, how many updated, and how many were there in a
/// newer version already.
#[test]
fn each_row_is_told_as_inserted_or_updated() {
    let runtime = Runtime::new().unwrap();
    let (stand, databases) = runtime.block_on(both_ways());
    // Positions of their own, so that records come out of order, too.
    let history = prop::collection::vec((Player::draw(), 1_u32..60), 1..40);
    check(CASES, &(history, 1_usize..9), |(history, size)| {
        for (way, database) in &databases {
            let told = runtime.block_on(async {
                begin(&stand, database).await;
                let mut told = Vec::new();
                for chunk in history.chunks(size) {
                    let messages: Vec<Message> =
                        chunk.iter().map(|(player, position)| player.message("update", *position)).collect();
                    let counts = write_all(database, &messages).await;
                    told.push((counts.inserted, counts.updated, counts.fenced));
                }
                told
            });
            let mut table: BTreeMap<&str, u32> = BTreeMap::new();
            let expected = history.chunks(size).map(|chunk| {
                let mut newest: BTreeMap<&str, u32> = BTreeMap::new();
                for (player, position) in chunk {
                    let known = newest.entry(&player.id).or_default();
                    *known = (*known).max(*position);
                }
                let (mut inserted, mut updated, mut fenced) = (0, 0, 0);
                for (id, position) in newest {
                    match table.get(id) {
                        None => inserted += 1,
                        Some(there) if *there < position => updated += 1,
                        Some(_) => {
                            fenced += 1;
                            continue;
                        }
                    }
                    table.insert(id, position);
                }
                (inserted, updated, fenced)
            });
            let expected: Vec<(u64, u64, u64)> = expected.collect();
            prop_assert_eq!(told, expected, "{}", way);
        }
        Ok(())
    });
}

/// Feature: cdc-pipeline, Property 17: Idempotent Write Operations
/// Validates: Requirements 8.2, 8.5
///
/// Every column, whichever way the rows go and however often they come; at the end all of them come once more.
#[test]
fn any_repetition_in_any_order_ends_the_same_in_every_column() {
    let runtime = Runtime::new().unwrap();
    let (stand, databases) = runtime.block_on(both_ways());
    let operation = prop::sample::select(vec!["insert", "update", "replace", "delete"]);
    let history = prop::collection::vec((Player::draw(), operation), 1..24);
    let strategy = history.prop_flat_map(|history| {
        let replays = prop::collection::vec(0..history.len(), 0..40);
        (Just(history), replays, 1_usize..8)
    });
    check(CASES, &strategy, |(history, replays, size)| {
        let messages: Vec<Message> = (1..)
            .zip(&history)
            .map(|(position, (player, operation))| match *operation {
                "delete" => Message::delete(&player.id, position),
                operation => player.message(operation, position),
            })
            .collect();
        let ids: BTreeSet<&str> = history.iter().map(|(player, _)| player.id.as_str()).collect();
        let expected: Vec<String> = ids
            .into_iter()
            .filter_map(|id| {
                let (position, (player, operation)) =
                    (1..).zip(&history).filter(|(_, (player, _))| player.id == id).last()?;
                (*operation != "delete").then(|| player.row(operation, position))
            })
            .collect();
        let replayed: Vec<Message> =
            replays.iter().map(|index| messages[*index].clone()).chain(messages.clone()).collect();
        for (way, database) in &databases {
            let rows: Vec<String> = runtime.block_on(async {
                begin(&stand, database).await;
                for chunk in replayed.chunks(size) {
                    write_all(database, chunk).await;
                }
                let rows = stand.client.query(ROWS, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            });
            prop_assert_eq!(&rows, &expected, "{}", way);
        }
        Ok(())
    });
}

/// Feature: cdc-pipeline, Property 16: Connection Pool Wait on Exhaustion
/// Validates: Requirements 7.5
#[test]
fn any_number_of_writes_waits_for_any_number_of_connections() {
    let runtime = Runtime::new().unwrap();
    // A database for each size of the pool, so that their sessions can be told apart.
    let stands = [1, 2, 3].map(|connections| {
        runtime.block_on(async {
            let mut stand = Stand::new(PLAYERS).await;
            stand.settings.max_connections = connections;
            let database = stand.database().await;
            // The first look at the table is over before it is locked.
            write_all(&database, &[Message::player("insert", "first", 1, 1)]).await;
            (stand, database)
        })
    });
    let players = prop::collection::btree_map(0..12_u32, Player::draw(), 1..9);
    check(CASES, &(0..stands.len(), players), |(which, players)| {
        let (stand, database) = &stands[which];
        let connections = which as i64 + 1;
        runtime.block_on(async {
            begin(stand, database).await;
            stand.client.batch_execute("BEGIN; LOCK TABLE players").await.unwrap();
            let writes: Vec<_> = players
                .iter()
                .map(|(number, player)| {
                    let (id, username) = (format!("w{number}"), format!("w{number}"));
                    let player = Player { id, username, ..player.clone() };
                    let database = database.clone();
                    tokio::spawn(async move {
                        database.write(&batch(&[player.message("insert", 2)]), ALL, Parking::Off).await
                    })
                })
                .collect();
            let busy = connections.min(writes.len() as i64);
            let blocked = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while stand.count(blocked).await < busy {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            prop_assert!(writes.iter().all(|write| !write.is_finished()), "waiting is not failing");
            let sessions =
                "pg_stat_activity WHERE datname = current_database() AND application_name = 'cdc-syncer'";
            let opened = stand.count(sessions).await;
            stand.client.batch_execute("COMMIT").await.unwrap();
            for write in writes {
                let reply = write.await.unwrap();
                prop_assert_eq!(reply.outcome, WriteOutcome::Written { rejected: vec![], parked: vec![] });
            }
            prop_assert!((busy..=connections).contains(&opened), "{} sessions", opened);
            prop_assert_eq!(stand.count("players").await, players.len() as i64);
            Ok(())
        })
    });
}
