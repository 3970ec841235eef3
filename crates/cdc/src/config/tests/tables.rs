use cdc_postgres::{Deletes, FieldPath, Naming};

use super::*;

#[test]
fn an_entry_is_about_its_collection_s_topic() {
    let (_folder, sources) = files(&[
        ("syncer.yaml", SYNCER),
        (
            "more.yaml",
            "kafka: {topic: [cdc.t1.orders, cdc.t2.orders, cdc.game_db.players]}
postgres: {schema: 'tenant_{database}'}
naming: snake_case
tables:
  - collection: t2.orders
    table: archive.all_orders
    columns: {tenant: _id.tenant, number: _id.n, level: stats.levels.0, raw: $}
    deletes: soft
  - collection: players
    table: people
    leave: note
    coerce: [owner, at]
",
        ),
    ]);
    let config = SyncerConfig::load(&sources).unwrap();
    let settings = config.postgres.naming_settings();
    let home = |topic: &str| settings.table_of(topic, &config.kafka.namespaces[topic]);
    let named = |schema: &str, table: &str| (schema.to_owned(), table.to_owned());
    assert_eq!(home("cdc.t1.orders"), named("tenant_t1", "orders"));
    assert_eq!(home("cdc.t2.orders"), named("archive", "all_orders"));
    assert_eq!(home("cdc.game_db.players"), named("tenant_game_db", "people"));
    assert_eq!((settings.naming, settings.is_schema_chosen), (Naming::SnakeCase, true));

    let orders = &settings.tables["cdc.t2.orders"];
    let columns: Vec<(&str, String)> =
        orders.columns.iter().flatten().map(|it| (it.column.as_str(), it.path.to_string())).collect();
    let expected = [("tenant", "_id.tenant"), ("number", "_id.n"), ("level", "stats.levels.0"), ("raw", "$")];
    assert_eq!(columns, expected.map(|(column, path)| (column, path.to_owned())));
    assert_eq!(
        (orders.ids(), orders.id_parts()),
        (vec!["tenant".to_owned(), "number".to_owned()], vec!["tenant", "n"])
    );
    assert_eq!(orders.deletes, Deletes::Soft);
    assert!(!orders.is_of_id(&FieldPath::of_field("tenant")));
    let players = &settings.tables["cdc.game_db.players"];
    assert_eq!(
        (players.leave.join(","), players.coerce.join(",")),
        ("note".to_owned(), "owner,at".to_owned())
    );
    assert_eq!(players.columns, None);
}

#[test]
fn collections_of_one_name_need_tables_of_their_own() {
    let told = |more: &str| {
        let more = format!("kafka: {{topic: [cdc.t1.orders, cdc.t2.orders]}}\n{more}");
        let (folder, sources) = files(&[("syncer.yaml", SYNCER), ("more.yaml", &more)]);
        SyncerConfig::load(&sources).map(drop).map_err(|error| problems(&error, &folder))
    };
    assert!(told("").unwrap_err()[0].contains("would share the table public.orders"));
    assert!(told("postgres: {schema: '{database}'}").is_ok());
    assert!(told("tables: [{collection: t1.orders, table: orders_1}]").is_ok());
    assert!(told("tables: [{collection: t1.orders, table: public.orders}]").is_err());
    let both = told("tables: [{collection: orders, table: o}]").unwrap_err();
    assert!(
        both.iter()
            .any(|text| text
                .ends_with("several databases have a collection orders; legal: database.collection")),
        "{both:?}"
    );
}
