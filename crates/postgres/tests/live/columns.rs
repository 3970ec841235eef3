//! Every column type, both ways into the table, as PostgreSQL itself reads it back.

use cdc_ports::Database;
use cdc_postgres::PostgresDatabase;

use crate::messages::Message;
use crate::stand::{EPOCH, Stand, claim, write, write_all};

const TYPED: &str = "
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE typed (
    id bigint PRIMARY KEY,
    t text, v varchar(5), c char(5), i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,
    n numeric, n52 numeric(5, 2), b boolean, ts timestamp, tz timestamptz(3), d date, u uuid, y bytea,
    j json, jb jsonb, p positive, pt point,
    g bigint GENERATED ALWAYS AS (id * 2) STORED,
    s text DEFAULT 'it''s \\ a default',
    w text NOT NULL DEFAULT upper('w')
);
";

fn document(id: u32, position: u32) -> Message {
    let fields = "\"t\":\"ä\",\"v\":\"5 chr\",\"c\":\"ab\",\"i2\":-7,\"i4\":5.0,\"i8\":\"12\",\"f4\":0.5,\"f8\":0.1,\
        \"n\":\"-12345.6780\",\"n52\":1.5,\"b\":true,\"ts\":\"2024-01-15T10:30:00.250Z\",\
        \"tz\":\"0001-01-01T00:00:00Z\",\"d\":\"1969-12-31T00:00:00Z\",\
        \"u\":\"00112233-4455-6677-8899-aabbccddeeff\",\"y\":\"AP8=\",\"j\":{\"b\":1,\"a\":1.0},\"jb\":[1,{\"x\":null}],\
        \"p\":3,\"pt\":null,\"no column\":1";
    let types = [
        ("decimal", "i8"),
        ("decimal", "n"),
        ("date", "ts"),
        ("date", "tz"),
        ("date", "d"),
        ("binData:04", "u"),
        ("binData:00", "y"),
    ];
    let mut message = Message::upsert("insert", "x", fields, position)
        .with_id(&format!("{{\"$numberInt\":\"{id}\"}}"), &id.to_string())
        .in_collection("typed");
    for (bson_type, field) in types {
        message = message.typed(bson_type, &format!("/full_document/{field}"));
    }
    message
}

#[tokio::test]
async fn values_arrive_as_they_left() {
    let stand = Stand::new(TYPED).await.carrying("typed");
    let prepared = stand.database().await;
    write_all(&prepared, &[document(1, 1)]).await;
    let mut settings = stand.settings.clone();
    settings.copy_threshold = 1;
    let copying = PostgresDatabase::new(settings);
    copying.connect().await.unwrap();
    copying.acquire(&[claim(EPOCH)], 1).await.unwrap();
    let counts = write_all(&copying, &[document(2, 1)]).await;
    assert_eq!(counts.copied_statements, 1);
    for id in [1, 2] {
        let row = "concat_ws('|', t, v, c, i2, i4, i8, f4, f8, n, n52, b, ts, tz AT TIME ZONE 'UTC', d, u, y, j, jb, p, pt IS NULL, g = id * 2, s, w)";
        assert_eq!(
            stand.text(&format!("SELECT {row} FROM typed WHERE id = {id}")).await.unwrap(),
            "ä|5 chr|ab   |-7|5|12|0.5|0.1|-12345.6780|1.50|t|2024-01-15 10:30:00.25|0001-01-01 00:00:00|1969-12-31|\
             00112233-4455-6677-8899-aabbccddeeff|\\x00ff|{\"b\":1,\"a\":1.0}|[1, {\"x\": null}]|3|t|t|it's \\ a default|W"
        );
    }
}

#[tokio::test]
async fn numbered_rows_are_found_for_deletion_and_stay_buried() {
    let stand = Stand::new(TYPED).await.carrying("typed");
    let database = stand.database().await;
    write_all(&database, &[document(1, 1), document(2, 1)]).await;
    let gone = |position| {
        Message::delete("x", position).with_id("{\"$numberInt\":\"1\"}", "1").in_collection("typed")
    };
    let counts = write_all(&database, &[gone(5)]).await;
    assert_eq!(counts.deleted, 1);
    let counts = write_all(&database, &[document(1, 4)]).await;
    assert_eq!(counts.fenced, 1);
    assert_eq!(stand.text("SELECT string_agg(id::text, ',') FROM typed").await.unwrap(), "2");

    // An _id that is no bigint has no row here.
    let named = Message::upsert("insert", "x", "", 9).in_collection("typed");
    let (_, rejected) = write(&database, &[named]).await;
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].detail.contains("column id"), "{}", rejected[0].detail);
}

#[tokio::test]
async fn a_column_of_a_foreign_type_takes_only_null() {
    let stand = Stand::new(TYPED).await.carrying("typed");
    let database = stand.database().await;
    let point = Message::upsert("insert", "x", "\"pt\":[1,2]", 1)
        .with_id("{\"$numberInt\":\"1\"}", "1")
        .in_collection("typed");
    let (_, rejected) = write(&database, &[point]).await;
    assert!(
        rejected[0].detail.contains("pt") && rejected[0].detail.contains("point"),
        "{}",
        rejected[0].detail
    );
}
