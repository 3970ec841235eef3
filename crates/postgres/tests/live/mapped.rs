//! Tables of other people's: other names, other places, keys of their own. Each on both write paths.

use cdc_ports::Database;
use cdc_postgres::{ColumnMapping, Deletes, Naming, PostgresDatabase, TableMapping};
use cdc_syncer::{HoldReason, Reject};

use crate::messages::Message;
use crate::stand::{EPOCH, Stand, claim, held, write, write_all};

fn columns(pairs: &[(&str, &str)]) -> Option<Vec<ColumnMapping>> {
    let of = |(column, path): &(&str, &str)| ColumnMapping {
        column: (*column).to_owned(),
        path: path.parse().unwrap(),
    };
    Some(pairs.iter().map(of).collect())
}

/// From how many rows on COPY is used: never, and always.
const BOTH: [usize; 2] = [1_000_000, 1];

/// The adapter on this stand, which takes the partition from the one before.
async fn open(stand: &Stand, copy_threshold: usize) -> PostgresDatabase {
    let mut settings = stand.settings.clone();
    settings.copy_threshold = copy_threshold;
    let database = PostgresDatabase::new(settings);
    database.connect().await.unwrap();
    database.acquire(&[claim(EPOCH)], 1).await.unwrap();
    database
}

#[tokio::test]
async fn columns_take_nested_values_and_the_whole_document_under_names_of_their_own() {
    let stand = Stand::new(
        "CREATE SCHEMA game;
         CREATE TABLE game.people (key text UNIQUE NOT NULL, \"Level\" integer, first_tag text, tags text[], since timestamptz,
            raw jsonb, whole json, owner text DEFAULT 'nobody', reviewed boolean NOT NULL DEFAULT false);",
    )
    .await;
    let stand = stand.mapped(TableMapping {
        schema: Some("game".to_owned()),
        table: Some("people".to_owned()),
        columns: columns(&[
            ("key", "_id"),
            ("Level", "stats.level"),
            ("first_tag", "stats.tags.0"),
            ("tags", "stats.tags"),
            ("since", "stats.since"),
            ("raw", "$"),
            ("whole", "stats"),
        ]),
        ..TableMapping::default()
    });
    for (number, copy_threshold) in BOTH.into_iter().enumerate() {
        let database = &open(&stand, copy_threshold).await;
        let (one, two) = (format!("{number}a"), format!("{number}b"));
        let stats = "\"stats\":{\"level\":7,\"tags\":[\"x\",\"y\"],\"since\":\"2024-01-15T10:30:00Z\"},\"owner\":\"me\"";
        let messages = [
            Message::upsert("insert", &one, stats, 2).typed("date", "/full_document/stats/since"),
            Message::upsert("insert", &two, "\"stats\":[],\"owner\":\"me\"", 2),
        ];
        write_all(database, &messages).await;
        let row = |id: &str| {
            format!(
                "SELECT concat_ws('|', \"Level\", first_tag, tags, since AT TIME ZONE 'UTC', raw->>'owner', whole, owner, reviewed) \
                 FROM game.people WHERE key = '{id}'"
            )
        };
        assert_eq!(
            stand.text(&row(&one)).await.unwrap(),
            "7|x|{x,y}|2024-01-15 10:30:00|me|{\"level\":7,\"tags\":[\"x\",\"y\"],\"since\":\"2024-01-15T10:30:00Z\"}|nobody|f"
        );
        assert_eq!(stand.text(&row(&two)).await.unwrap(), "me|[]|nobody|f");
        // What others fill stays, and a row is found again by its key for an update and a delete.
        let sql = format!("UPDATE game.people SET owner = 'sql', reviewed = true WHERE key = '{one}'");
        stand.client.batch_execute(&sql).await.unwrap();
        write_all(database, &[Message::upsert("update", &one, "\"stats\":{\"level\":8}", 3)]).await;
        assert!(stand.text(&row(&one)).await.unwrap().starts_with("8|"));
        assert_eq!(
            stand
                .text(&format!("SELECT owner || reviewed FROM game.people WHERE key = '{one}'"))
                .await
                .unwrap(),
            "sqltrue"
        );
        write_all(database, &[Message::delete(&one, 4)]).await;
        let late = Message::upsert("update", &one, stats, 3).typed("date", "/full_document/stats/since");
        let counts = write_all(database, &[late]).await;
        assert_eq!((counts.inserted, counts.fenced), (0, 1), "the tombstone has the row's id");
    }
    assert_eq!(stand.count("pg_class WHERE relname = 'players'").await, 0, "no mirror is made beside it");
}

fn order(tenant: &str, number: i32, position: u32) -> Message {
    let json = format!("{{\"tenant\":\"{tenant}\",\"n\":{number}}}");
    let key = format!("{{\"tenant\":\"{tenant}\",\"n\":{{\"$numberInt\":\"{number}\"}}}}");
    Message::upsert("insert", "x", "\"total\":5", position).with_id(&key, &json)
}

#[tokio::test]
async fn the_fields_of_a_composed_id_are_the_columns_of_a_composed_key() {
    let stand = Stand::new(
        "CREATE TABLE orders (number integer, tenant text, total integer, PRIMARY KEY (tenant, number));",
    )
    .await;
    let stand = stand.mapped(TableMapping {
        table: Some("orders".to_owned()),
        columns: columns(&[("tenant", "_id.tenant"), ("number", "_id.n"), ("total", "total")]),
        ..TableMapping::default()
    });
    for (round, copy_threshold) in (0..).zip(BOTH) {
        let database = &open(&stand, copy_threshold).await;
        let tenant = format!("t{round}");
        let counts =
            write_all(database, &[order(&tenant, 1, 2), order(&tenant, 2, 2), order("other", 1, 2 + round)])
                .await;
        assert_eq!(counts.inserted + counts.updated, 3);
        let counts = write_all(database, &[order(&tenant, 2, 3)]).await;
        assert_eq!((counts.inserted, counts.updated), (0, 1));
        let gone = |position| {
            let (key, json) =
                ("{\"tenant\":\"T\",\"n\":{\"$numberInt\":\"1\"}}", "{\"tenant\":\"T\",\"n\":1}");
            Message::delete("x", position).with_id(&key.replace('T', &tenant), &json.replace('T', &tenant))
        };
        assert_eq!(write_all(database, &[gone(4)]).await.deleted, 1);
        assert_eq!(write_all(database, &[order(&tenant, 1, 3)]).await.fenced, 1);
        let left = format!("SELECT string_agg(number::text, ',') FROM orders WHERE tenant = '{tenant}'");
        assert_eq!(stand.text(&left).await.unwrap(), "2");
        // Other fields, another order, a value of another class, and no document at all.
        let others = [
            order(&tenant, 3, 5).with_id("{\"tenant\":\"a\"}", "{\"tenant\":\"a\"}"),
            order(&tenant, 3, 5)
                .with_id("{\"n\":{\"$numberInt\":\"1\"},\"tenant\":\"a\"}", "{\"n\":1,\"tenant\":\"a\"}"),
            order(&tenant, 3, 5).with_id("{\"tenant\":\"a\",\"n\":\"1\"}", "{\"tenant\":\"a\",\"n\":\"1\"}"),
            Message::upsert("insert", "plain", "", 5),
        ];
        let (_, rejected) = write(database, &others).await;
        assert_eq!(rejected.len(), others.len(), "{rejected:?}");
        assert!(rejected.iter().all(|it| it.reason == Reject::TypeConflict), "{rejected:?}");
        assert!(
            rejected[1].detail.contains("exactly the fields tenant, n, in this order"),
            "{}",
            rejected[1].detail
        );
    }
}

#[tokio::test]
async fn a_soft_delete_says_when_and_a_newer_write_clears_it() {
    let stand = Stand::new("CREATE TABLE players (id text PRIMARY KEY, name text, cdc_operation text, cdc_deleted_at timestamptz);").await;
    let stand = stand.mapped(TableMapping { deletes: Deletes::Soft, ..TableMapping::default() });
    for (number, copy_threshold) in BOTH.into_iter().enumerate() {
        let database = &open(&stand, copy_threshold).await;
        let id = number.to_string();
        let row = format!(
            "SELECT concat_ws('|', name, cdc_operation, cdc_deleted_at) FROM players WHERE id = '{id}'"
        );
        write_all(database, &[Message::upsert("insert", &id, "\"name\":\"a\"", 2)]).await;
        assert_eq!(stand.text(&row).await.unwrap(), "a|insert");
        let counts = write_all(database, &[Message::delete(&id, 3)]).await;
        assert_eq!(counts.deleted, 1);
        let deleted = stand.text(&row).await.unwrap();
        assert!(deleted.starts_with("a|delete|2024-01-15 11:30:03"), "{deleted}");
        // A replay of what came before changes nothing; what comes after brings the row back.
        assert_eq!(
            write_all(database, &[Message::upsert("update", &id, "\"name\":\"b\"", 2)]).await.fenced,
            1
        );
        assert_eq!(write_all(database, &[Message::delete(&id, 3)]).await.deleted, 0);
        assert_eq!(stand.text(&row).await.unwrap(), deleted);
        write_all(database, &[Message::upsert("insert", &id, "\"name\":\"c\"", 4)]).await;
        assert_eq!(stand.text(&row).await.unwrap(), "c|insert");
    }
    let without = Stand::new("CREATE TABLE players (id text PRIMARY KEY);").await;
    let without = without.mapped(TableMapping { deletes: Deletes::Soft, ..TableMapping::default() });
    let refused = held(&without.connected().await, EPOCH).await.unwrap();
    assert!(refused.detail.contains("ADD COLUMN cdc_deleted_at timestamptz"), "{}", refused.detail);
}

#[tokio::test]
async fn ignored_deletes_leave_the_row_as_it_was() {
    let stand = Stand::new("CREATE TABLE players (id text PRIMARY KEY, name text);").await;
    let stand = stand.mapped(TableMapping { deletes: Deletes::Ignore, ..TableMapping::default() });
    let database = stand.database().await;
    let messages = [Message::upsert("insert", "a", "\"name\":\"a\"", 2), Message::delete("a", 3)];
    let counts = write_all(&database, &messages).await;
    assert_eq!((counts.inserted, counts.deleted, counts.ignored), (1, 0, 1));
    assert_eq!(stand.text("SELECT name FROM players").await.unwrap(), "a");
}

/// F07.
#[tokio::test]
async fn names_find_the_columns_that_postgresql_makes_of_them() {
    let stand = Stand::new(
        "CREATE TABLE players (id text PRIMARY KEY, orderId text, customerName text, customer_name text,
            a_field_name_that_is_a_good_deal_longer_than_what_postgresql_keeps text, dates timestamptz[]);",
    )
    .await;
    let database = stand.database().await;
    let long = "a_field_name_that_is_a_good_deal_longer_than_what_postgresql_keeps";
    let fields = format!(
        "\"orderId\":\"A1\",\"customerName\":\"x\",\"{long}\":\"y\",\"Dates\":[\"2024-01-15T10:30:00Z\"]"
    );
    write_all(
        &database,
        &[Message::upsert("insert", "1", &fields, 2).typed("date", "/full_document/Dates/0")],
    )
    .await;
    let row = format!(
        "SELECT concat_ws('|', orderid, customername, customer_name, {long}, \
               dates[1] AT TIME ZONE 'UTC') FROM players WHERE id = "
    );
    assert_eq!(stand.text(&format!("{row}'1'")).await.unwrap(), "A1|x|y|2024-01-15 10:30:00");
    // The field of the very name comes first; of two others the document is a bad record.
    write_all(&database, &[Message::upsert("insert", "2", "\"orderId\":\"no\",\"orderid\":\"yes\"", 2)])
        .await;
    assert_eq!(stand.text(&format!("{row}'2'")).await.unwrap(), "yes");
    let (_, rejected) =
        write(&database, &[Message::upsert("insert", "3", "\"orderId\":\"1\",\"OrderID\":\"2\"", 2)]).await;
    assert!(
        rejected[0].detail.contains("\"orderId\"") && rejected[0].detail.contains("\"OrderID\""),
        "{}",
        rejected[0].detail
    );

    let mut stand = stand;
    stand.settings.naming = Naming::SnakeCase;
    let database = stand.database().await;
    write_all(&database, &[Message::upsert("insert", "4", "\"customerName\":\"z\"", 3)]).await;
    assert_eq!(stand.text("SELECT customer_name FROM players WHERE id = '4'").await.unwrap(), "z");
}

/// F10.
#[tokio::test]
async fn spellings_are_taken_where_the_configuration_says_so() {
    let stand = Stand::new("CREATE TABLE players (id uuid PRIMARY KEY, owner uuid, at timestamptz, active boolean, owners uuid[]);").await;
    let names = ["id", "owner", "at", "active", "owners"].map(str::to_owned).to_vec();
    let stand = stand.mapped(TableMapping { coerce: names, ..TableMapping::default() });
    let database = stand.database().await;
    let uuid = "550e8400-e29b-41d4-a716-446655440000";
    let fields = format!(
        "\"owner\":\"{uuid}\",\"at\":\"2024-01-15T12:30:00+02:00\",\"active\":1,\"owners\":[\"{uuid}\",null]"
    );
    write_all(&database, &[Message::upsert("insert", uuid, &fields, 2)]).await;
    let row = "SELECT concat_ws('|', id, owner, at AT TIME ZONE 'UTC', active, owners) FROM players";
    assert_eq!(
        stand.text(row).await.unwrap(),
        format!("{uuid}|{uuid}|2024-01-15 10:30:00|t|{{{uuid},NULL}}")
    );
    for (field, value) in
        [("owner", "\"550E8400-E29B-41D4-A716-446655440000\""), ("at", "\"yesterday\""), ("active", "2")]
    {
        let (_, rejected) =
            write(&database, &[Message::upsert("insert", uuid, &format!("\"{field}\":{value}"), 3)]).await;
        assert!(rejected[0].detail.contains(&format!("column {field}")), "{}", rejected[0].detail);
    }
    // On the key a text takes the place of the binary value, or two documents could meet in one row.
    let binary = Message::upsert("insert", "x", "", 4)
        .with_id(
            "{\"$binary\":{\"base64\":\"VQ6EAOKbQdSnFkRmVUQAAA==\",\"subType\":\"04\"}}",
            &format!("\"{uuid}\""),
        )
        .typed("binData:04", "/document_key/_id");
    let (_, rejected) = write(&database, &[binary]).await;
    assert!(rejected[0].detail.contains("one spelling alone"), "{}", rejected[0].detail);
}

/// F19: the schema of a role's search path, and a role that reads only by default.
#[tokio::test]
async fn a_table_elsewhere_in_the_search_path_is_told_of_and_no_mirror_made() {
    let mut stand =
        Stand::new("CREATE SCHEMA app; CREATE TABLE app.players (id text PRIMARY KEY, level integer);").await;
    let database = stand.settings.database.clone();
    let sql = format!(
        "ALTER DATABASE {database} SET search_path = app, public; ALTER DATABASE {database} SET default_transaction_read_only = on"
    );
    stand.client.batch_execute(&sql).await.unwrap();
    let adapter = stand.database().await;
    let reply = adapter
        .write(
            &crate::stand::batch(&[Message::upsert("insert", "1", "\"level\":3", 2)]),
            crate::stand::ALL,
            cdc_syncer::Parking::Off,
        )
        .await;
    let cdc_syncer::WriteOutcome::Held { holds } = reply.outcome else {
        panic!("{:?} {:?}", reply.outcome, reply.failure)
    };
    assert_eq!(holds[0].reason, HoldReason::TableMissing);
    assert!(
        holds[0].detail.contains("app.players is there by the role's search_path"),
        "{}",
        holds[0].detail
    );
    stand.settings.schema = "app".to_owned();
    stand.settings.is_schema_chosen = true;
    let adapter = stand.database().await;
    write_all(&adapter, &[Message::upsert("insert", "1", "\"level\":3", 2)]).await;
    assert_eq!(stand.text("SELECT level FROM app.players").await.unwrap(), "3");
}

#[tokio::test]
async fn a_mapping_that_is_not_of_the_table_holds_it_with_the_reason() {
    let schema = "CREATE TABLE players (id text PRIMARY KEY, place point, n integer GENERATED ALWAYS AS (1) STORED, level integer, lower text);";
    for (pairs, hint) in [
        (&[("id", "_id"), ("place", "place")][..], "column place is of type point"),
        (&[("id", "_id"), ("n", "n")], "column n is generated"),
        (&[("id", "_id"), ("missing", "n")], "columns that it does not have: missing"),
        (&[("level", "_id")], "column level is neither the primary key nor unique by itself"),
        (&[("id", "_id"), ("lower", "$")], "column lower takes the whole document"),
    ] {
        let stand = Stand::new(schema)
            .await
            .mapped(TableMapping { columns: columns(pairs), ..TableMapping::default() });
        let refused = held(&stand.connected().await, EPOCH).await.unwrap();
        assert_eq!(refused.reason, HoldReason::Unwritable);
        assert!(refused.detail.contains(hint), "{}", refused.detail);
    }
    let stand = Stand::new("")
        .await
        .mapped(TableMapping { columns: columns(&[("id", "_id")]), ..TableMapping::default() });
    let refused = held(&stand.connected().await, EPOCH).await.unwrap();
    assert_eq!(refused.reason, HoldReason::TableMissing, "no mirror takes its place");
}
