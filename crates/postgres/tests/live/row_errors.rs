//! What a row's own error comes to, whatever its code: the row is found by halving, and its neighbours land.

use cdc_machine::Fault;
use cdc_ports::{Database, KafkaRecord};
use cdc_postgres::PostgresDatabase;
use cdc_syncer::{Batch, Parking, Reject, WriteOutcome};

use crate::messages::Message;
use crate::stand::{ALL, Stand, batch, write_all};

/// One record that came down to itself.
#[derive(Debug)]
struct Fallen {
    index: u64,
    reason: Reject,
    sqlstate: Option<String>,
    detail: String,
}

/// Writes as the machine does: what fails for a row's sake is halved, in order. Returns how many writes it took.
async fn write_around(database: &PostgresDatabase, messages: &[Message]) -> (Vec<Fallen>, u32) {
    let (mut pieces, mut fallen, mut writes) = (vec![batch(messages)], Vec::new(), 0);
    while let Some(piece) = pieces.pop() {
        writes += 1;
        match database.write(&piece, ALL, Parking::Off).await.outcome {
            WriteOutcome::Written { rejected, .. } => assert_eq!(rejected, []),
            WriteOutcome::Failed { fault: Fault::RetryNow, sqlstate: Some(code), .. }
                if code.as_str() == "XX000" =>
            {
                assert_eq!(piece.rows().len(), 1, "a batch is halved first");
                pieces.push(piece);
            }
            WriteOutcome::Failed { fault: Fault::Poison, reason, sqlstate, detail } => match piece.halves() {
                Some((first, second)) => pieces.extend([second, first]),
                None => fallen.push(Fallen {
                    index: index_of(&piece),
                    reason,
                    sqlstate: sqlstate.map(|code| code.as_str().to_owned()),
                    detail: detail.to_string(),
                }),
            },
            other @ (WriteOutcome::Refused { .. }
            | WriteOutcome::Held { .. }
            | WriteOutcome::Failed { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    (fallen, writes)
}

fn index_of(piece: &Batch<KafkaRecord>) -> u64 {
    piece.rows()[0].seq.0
}

/// The sum of halvings that it takes to find so many rows in a batch.
fn writes_max(rows: usize, bad: usize) -> u32 {
    let levels = usize::BITS - rows.leading_zeros();
    1 + 2 * u32::try_from(bad).unwrap() * levels
}

/// Documents with `n` from 0 up, from this position on.
fn documents(rows: u32, position: u32) -> Vec<Message> {
    (0..rows).map(|n| Message::upsert("insert", &format!("{n}"), &format!("\"n\":{n}"), position)).collect()
}

/// What refuses the document 7: the code that PostgreSQL gives it, what its words name, and the SQL there and back.
/// `{n}` stands for a document's number.
struct Refusal {
    sqlstate: &'static str,
    names: &'static str,
    sql: String,
    back: &'static str,
}

const DROP_CONSTRAINT: &str = "ALTER TABLE players DROP CONSTRAINT it";
const DROP_TRIGGER: &str = "DROP TRIGGER it ON players";

/// One that a trigger brings about, by what it does for the document.
fn trigger(sqlstate: &'static str, timing: &str, body: &str) -> Refusal {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION it() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF {{new}} = 7 THEN {body} END IF; RETURN NEW; END $$; \
         CREATE {timing} ON players FOR EACH ROW EXECUTE FUNCTION it()"
    );
    Refusal { sqlstate, names: "players", sql, back: DROP_TRIGGER }
}

fn refusals() -> Vec<Refusal> {
    const BEFORE: &str = "TRIGGER it BEFORE INSERT OR UPDATE";
    const AT_COMMIT: &str = "CONSTRAINT TRIGGER it AFTER INSERT OR UPDATE";
    let raise = |sqlstate| {
        let body = format!("RAISE EXCEPTION 'secret of %', {{new}} USING ERRCODE = '{sqlstate}';");
        trigger(sqlstate, BEFORE, &body)
    };
    let constraint = |sqlstate, check: &str| Refusal {
        sqlstate,
        names: "players",
        sql: format!("ALTER TABLE players ADD CONSTRAINT it CHECK ({check}) NOT VALID"),
        back: DROP_CONSTRAINT,
    };
    // Of policies elsewhere, of servers, of people: whatever the code, a trigger has chosen it.
    let mut all: Vec<Refusal> =
        ["P0001", "ZZ001", "45000", "42501", "42P01", "57014", "53100", "28000", "XX000"].map(raise).into();
    all.push(Refusal { names: "constraint it", ..constraint("23514", "{n} <> 7") });
    all.push(constraint("22012", "10 / ({n} - 7) < 100"));
    all.push(Refusal {
        sqlstate: "22012",
        names: "players",
        sql: "CREATE INDEX it ON players ((10 / ({n} - 7)))".to_owned(),
        back: "DROP INDEX it",
    });
    all.push(trigger("42P01", BEFORE, "EXECUTE 'INSERT INTO nowhere VALUES (1)';"));
    all.push(trigger("22P02", BEFORE, "PERFORM 'sad'::mood;"));
    all.push(trigger("54000", BEFORE, "INSERT INTO keys VALUES (repeat(md5(random()::text), 1000));"));
    let mut deferred = trigger("ZZ002", AT_COMMIT, "RAISE SQLSTATE 'ZZ002';");
    deferred.sql = deferred.sql.replace("ON players FOR", "ON players DEFERRABLE INITIALLY DEFERRED FOR");
    deferred.names = "ZZ002";
    all.push(deferred);
    all
}

/// Batches of one row, of arrays, and of COPY.
const SIZES: [u32; 3] = [1, 50, 150];

async fn each_refusal(table: &str, (n, new): (&str, &str)) {
    let schema = format!(
        "{table}; CREATE TYPE mood AS ENUM ('glad'); CREATE TABLE keys (k text); \
         ALTER TABLE keys ALTER COLUMN k SET STORAGE PLAIN; CREATE INDEX ON keys (k)"
    );
    let stand = Stand::new(&schema).await;
    let database = stand.database().await;
    let mut position = 0;
    for Refusal { sqlstate, names, sql, back } in refusals() {
        stand.client.batch_execute("DELETE FROM players").await.unwrap();
        stand.client.batch_execute(&sql.replace("{n}", n).replace("{new}", new)).await.unwrap();
        for rows in SIZES {
            position += 1;
            let all = documents(rows, position);
            let (messages, bad) = if rows == 1 { (&documents(8, position)[7..], 0) } else { (&all[..], 7) };
            let (fallen, writes) = write_around(&database, messages).await;
            let what = format!("{sql}, {rows} rows: {fallen:?}");
            let [one] = &fallen[..] else { panic!("{what}") };
            assert_eq!((one.index, one.sqlstate.as_deref()), (bad, Some(sqlstate)), "{what}");
            assert!(one.detail.contains(names) && !one.detail.contains("secret"), "{what}");
            assert!(!matches!(one.reason, Reject::Malformed), "{what}");
            let again = u32::from(sqlstate == "XX000");
            assert!(writes <= writes_max(messages.len(), 1) + again, "{writes} writes: {what}");
            assert_eq!(stand.count("players").await, i64::from(rows) - 1, "{what}");
        }
        stand.client.batch_execute(back).await.unwrap();
    }
}

/// Feature: cdc-pipeline, Property 10: Consumer Error Resilience
/// Validates: Requirements 4.4
#[tokio::test]
async fn a_row_s_error_is_the_row_s_in_a_typed_table() {
    each_refusal("CREATE TABLE players (id text PRIMARY KEY, n int, cdc_position bytea)", ("n", "NEW.n"))
        .await;
}

/// Feature: cdc-pipeline, Property 10: Consumer Error Resilience
/// Validates: Requirements 4.4
#[tokio::test]
async fn a_row_s_error_is_the_row_s_in_a_mirror() {
    let mirror = cdc_postgres::mirror_sql("public", "players");
    each_refusal(&mirror, ("((document->>'n')::int)", "((NEW.document->>'n')::int)")).await;
}

/// A table that was altered is found by the first row that stands alone; none is given up for what it was.
#[tokio::test]
async fn all_rows_land_in_a_column_that_is_new() {
    let stand = Stand::new("CREATE TABLE players (id text PRIMARY KEY, n int)").await;
    let database = stand.database().await;
    let all = |position: u32| -> Vec<Message> {
        let row = |n| Message::upsert("insert", &format!("{n}"), "\"n\":1,\"x\":2", position);
        (0..8).map(row).collect()
    };
    // The field is looked for in vain, and will not be again for a second.
    write_all(&database, &all(1)).await;
    let added = "DELETE FROM players; ALTER TABLE players ADD COLUMN x int NOT NULL";
    stand.client.batch_execute(added).await.unwrap();
    let (mut pieces, mut again) = (vec![batch(&all(2))], 0);
    while let Some(piece) = pieces.pop() {
        match (database.write(&piece, ALL, Parking::Off).await.outcome, piece.halves()) {
            (WriteOutcome::Written { rejected, .. }, _) => assert_eq!(rejected, []),
            (WriteOutcome::Failed { fault: Fault::Poison, .. }, Some((first, second))) => {
                pieces.extend([second, first]);
            }
            (WriteOutcome::Failed { fault: Fault::RetryNow, .. }, None) => {
                again += 1;
                pieces.push(piece);
            }
            (other, _) => panic!("{other:?}"),
        }
    }
    assert!(again <= 1, "{again}: one look is enough");
    assert_eq!(stand.count("players WHERE x = 2").await, 8);
}

/// Half of the rows fall, and no more is written than halving takes.
#[tokio::test]
async fn each_of_many_bad_rows_is_found() {
    let schema = "CREATE TABLE players (id text PRIMARY KEY, n int CHECK (n % 2 = 0), cdc_position bytea)";
    let stand = Stand::new(schema).await;
    let database = stand.database().await;
    let (fallen, writes) = write_around(&database, &documents(150, 1)).await;
    assert_eq!(
        fallen.iter().map(|one| one.index).collect::<Vec<_>>(),
        (1..150).step_by(2).collect::<Vec<_>>()
    );
    assert!(fallen.iter().all(|one| one.reason == Reject::CheckViolation), "{fallen:?}");
    assert!(writes < 2 * 150, "{writes}");
    assert_eq!(stand.count("players").await, 75);
}
