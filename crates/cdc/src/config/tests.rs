use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cdc_machine::Retry;
use cdc_mongo::UpdateImage;
use cdc_syncer::{OnBadRecord, OnUniqueViolation, StopAfter};
use cdc_watcher::{OnHistoryLost, OnTooLarge};
use secrecy::ExposeSecret as _;

use super::*;

mod namespaces;
mod tables;
mod tracing;

/// Sources over files with these texts, in a folder that lives as long as the first part of the pair.
fn files(texts: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let files = texts.iter().map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let sources = Sources { files: files.collect(), ..Sources::default() };
    (folder, sources)
}

fn example(name: &str) -> Sources {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    Sources { files: vec![path], ..Sources::default() }
}

/// The problems, with the folder's name left out.
fn problems(error: &ConfigError, folder: &tempfile::TempDir) -> Vec<String> {
    let folder = format!("{}/", folder.path().display());
    error.problems().iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

fn refused_watcher(text: &str) -> Vec<String> {
    let (folder, sources) = files(&[("watcher.yaml", text)]);
    problems(&WatcherConfig::load(&sources).unwrap_err(), &folder)
}

fn refused_syncer(text: &str) -> Vec<String> {
    let (folder, sources) = files(&[("syncer.yaml", text)]);
    problems(&SyncerConfig::load(&sources).unwrap_err(), &folder)
}

const WATCHER: &str = "\
mongodb: {uri: 'mongodb://localhost:27017', database: game_db, collection: players}
kafka: {brokers: 'localhost:9092'}
";

const SYNCER: &str = "\
kafka: {brokers: 'localhost:9092', topic: cdc.game_db.players}
postgres: {host: localhost, database: analytics_db, user: syncer}
";

fn text_pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_watchers_file_of_the_design_document_works_unchanged() {
    let config = WatcherConfig::load(&example("watcher.yaml")).unwrap();
    assert_eq!(config.mongodb.uri.expose_secret(), "mongodb://localhost:27017");
    assert_eq!(config.mongodb.database, "game_db");
    assert_eq!(config.mongodb.collections, ["players"]);
    assert_eq!(config.mongodb.connection_timeout, Duration::from_secs(10));
    assert_eq!(config.kafka.brokers, ["localhost:9092"]);
    assert_eq!(config.topics(), ["cdc.game_db.players"]);
    assert_eq!(config.kafka.compression, cdc_kafka::Compression::Snappy);
    assert_eq!((config.kafka.batch_size, config.kafka.batch_timeout), (100, millis(10)));
    assert_eq!(config.machine.retries.kafka, Retry::times(5));
    let TokenBackend::Redis { addr, username, password, db, key, earlier } = &config.token_storage else {
        panic!("{:?}", config.token_storage)
    };
    assert_eq!((addr.as_str(), *db, key.as_str()), ("localhost:6379", 0, "cdc:watcher:resume_token"));
    assert!(username.is_none() && password.is_none(), "an empty password is none");
    assert_eq!(*earlier, None, "a key that is given is the only one");
    assert_eq!(config.logging, Logging { level: LogLevel::Info, format: LogFormat::Json });
    assert_eq!(config.machine.token_save_interval, 10);
}

#[test]
fn the_syncers_file_of_the_design_document_works_unchanged() {
    let config = SyncerConfig::load(&example("syncer.yaml")).unwrap();
    assert_eq!(config.kafka.topics, ["cdc.game_db.players"]);
    assert_eq!(bound(&config), [("cdc.game_db.players", "game_db.players".to_owned())]);
    assert_eq!(config.kafka.consumer_group, "cdc-syncer");
    assert_eq!(config.postgres.port, 5432);
    assert_eq!(config.postgres.password.as_ref().unwrap().expose_secret(), "secret");
    assert_eq!((config.postgres.min_connections, config.postgres.max_connections), (10, 50));
    assert_eq!(config.machine.flush_interval, millis(500));
    assert_eq!((config.machine.buffer_size, config.postgres.copy_threshold), (1000, 100));
    assert_eq!((config.machine.pool_size, config.machine.channel_buffer), (10, 1000));
}

fn bound(config: &SyncerConfig) -> Vec<(&str, String)> {
    config.kafka.namespaces.iter().map(|(topic, namespace)| (topic.as_str(), namespace.to_string())).collect()
}

#[test]
fn what_is_not_written_has_its_default() {
    let (_folder, sources) = files(&[("watcher.yaml", WATCHER)]);
    let watcher = WatcherConfig::load(&sources).unwrap();
    assert!(!watcher.instance.is_empty(), "the host's name");
    assert_eq!(watcher.topics(), ["cdc.game_db.players"]);
    assert_eq!(watcher.mongodb.full_document, UpdateImage::Lookup);
    assert_eq!((watcher.kafka.partitions, watcher.kafka.replication_factor), (8, -1));
    assert_eq!((watcher.kafka.batch_size, watcher.kafka.batch_timeout), (10_000, Duration::ZERO));
    assert_eq!(watcher.kafka.delivery_timeout, Duration::from_secs(30));
    assert_eq!(watcher.machine.retries.token_store, Retry::times(3));
    let machine = &watcher.machine;
    assert_eq!((machine.token_save_interval, machine.token_save_max_delay), (10, millis(200)));
    assert_eq!((machine.max_replay_events, machine.max_in_flight_bytes), (10_000, 32 * 1024 * 1024));
    assert_eq!(
        (machine.on_history_lost, machine.on_too_large),
        (OnHistoryLost::Stop, OnTooLarge::DeadLetter)
    );
    assert_eq!(watcher.dead_letter_topic.for_topic("orders"), "orders.dead-letters");
    assert_eq!(watcher.http_listen, SocketAddr::from(([127, 0, 0, 1], 9464)));
    assert_eq!(watcher.machine.drain_timeout, Duration::from_secs(25));

    let (_folder, sources) = files(&[("syncer.yaml", SYNCER)]);
    let syncer = SyncerConfig::load(&sources).unwrap();
    assert_eq!(syncer.machine.linger, Duration::ZERO);
    assert_eq!(syncer.machine.buffer_bytes, 8 * 1024 * 1024);
    assert_eq!(syncer.machine.max_buffered_bytes, 32 * 1024 * 1024);
    assert_eq!(syncer.machine.retries.postgres_write, Retry::times(3));
    assert!(syncer.postgres.manage_schema);
    let machine = &syncer.machine;
    assert_eq!(machine.on_bad_record, OnBadRecord::DeadLetter);
    assert_eq!(machine.on_unique_violation, OnUniqueViolation::Park);
    assert_eq!(syncer.machine.max_parked_rows, 10_000);
    assert_eq!(syncer.http_listen, SocketAddr::from(([127, 0, 0, 1], 9465)));
    assert_eq!(syncer.kafka.properties.as_slice(), [text_pair("queued.max.messages.kbytes", "8192")]);
}

#[test]
fn the_later_layer_wins_key_by_key() {
    let (_folder, mut sources) = files(&[
        ("watcher.yaml", WATCHER),
        ("site.yaml", "kafka: {batch_size: 7, batch_timeout: 20ms, partitions: 3}"),
    ]);
    sources.environment = [
        ("CDC__KAFKA__BATCH_SIZE", "8"),
        ("CDC__KAFKA__BATCH_TIMEOUT", "30ms"),
        ("CDC__MONGODB__COLLECTION", "players, matches"),
        ("CDC__KAFKA__PROPERTIES__SOCKET.MAX.FAILS", "3"),
        ("CDC_SERVICE_HOST", "10.0.0.1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    sources.overrides =
        vec!["kafka.batch_size=9".to_owned(), "kafka.properties.socket.keepalive.enable=true".to_owned()];
    let config = WatcherConfig::load(&sources).unwrap();
    assert_eq!(config.kafka.batch_size, 9);
    assert_eq!(config.kafka.batch_timeout, millis(30));
    assert_eq!(config.kafka.partitions, 3);
    assert_eq!(config.kafka.brokers, ["localhost:9092"]);
    assert_eq!(config.mongodb.collections, ["matches", "players"]);
    let expected = [text_pair("socket.max.fails", "3"), text_pair("socket.keepalive.enable", "true")];
    assert_eq!(config.kafka.properties.as_slice(), expected);
}

#[test]
fn all_errors_are_told_at_once_each_with_its_place_and_the_legal_values() {
    let text = "\
mongodb:
  uri: mongodb://localhost:27017
  database: game_db
  collection: players
  colection: matches
kafka:
  brokers: [localhost]
  compression: brotli
  batch_size: lots
  batch_timeout: 10
  topik: orders
token_storage:
  type: etcd
on_history_lost: snapshot
snapshot: {mode: initial}
full_document: lookup
performance:
  max_in_flight_bytes: 1kb
";
    assert_eq!(
        refused_watcher(text),
        [
            "watcher.yaml:5:3: unknown key mongodb.colection; did you mean mongodb.collection?",
            "watcher.yaml:7:12: kafka.brokers: each broker is a host and a port, such as \"localhost:9092\"",
            "watcher.yaml:8:16: kafka.compression: \"brotli\" is not legal; legal: none, gzip, snappy, lz4, zstd",
            "watcher.yaml:9:15: kafka.batch_size: \"lots\" is not legal; legal: a whole number from 1 to 1000000",
            "watcher.yaml:10:18: kafka.batch_timeout: \"10\" is not legal; legal: a duration with its unit, such as \"0s\", from 0s to 1m",
            "watcher.yaml:11:3: unknown key kafka.topik; did you mean kafka.topic?",
            "watcher.yaml:13:9: token_storage.type: \"etcd\" is not legal; legal: redis, file",
            "watcher.yaml:14:18: on_history_lost: this value is not available yet; legal: stop, from_now",
            "watcher.yaml:15:11: snapshot: not available yet; take this key out",
            "watcher.yaml:16:1: unknown key full_document; did you mean mongodb.full_document?",
            "watcher.yaml:18:24: performance.max_in_flight_bytes: \"1kb\" is not legal; legal: a size such as \"32.0 MiB\", from 64.0 KiB to 16.0 GiB",
        ]
    );
}

#[test]
fn what_is_missing_is_named_with_its_variable() {
    assert_eq!(
        refused_watcher("kafka: {topic: orders}\nlogging:\n"),
        [
            "watcher.yaml: mongodb.uri is missing; write it in the file or set CDC__MONGODB__URI",
            "watcher.yaml: mongodb.collection is missing; write it in the file or set CDC__MONGODB__COLLECTION",
            "watcher.yaml: mongodb.database is missing; write it in the file or set CDC__MONGODB__DATABASE",
            "watcher.yaml: kafka.brokers is missing; write it in the file or set CDC__KAFKA__BROKERS",
        ]
    );
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    for (addition, problem) in [
        (
            "kafka: {topic: all}\nmongodb: {collection: [a, b]}",
            "kafka.topic: one topic for more than one collection would mix their documents; put {collection} into it",
        ),
        ("mongodb: {collection: [a, a]}", "mongodb.collection: a collection is named twice"),
        (
            "mongodb: {collection: 'high scores'}",
            "kafka.topic: it gives the topic \"cdc.game_db.high scores\", which is not a legal name in Kafka; write a topic that is",
        ),
        (
            "mongodb: {uri: 'postgres://u:p@h'}",
            "mongodb.uri: not a connection string; legal: mongodb://host:port/… or mongodb+srv://host/…",
        ),
        (
            "kafka: {properties: {enable.idempotence: false}}",
            "kafka.properties: enable.idempotence is set by the pipeline itself: a retry must neither repeat nor reorder; take it out",
        ),
        (
            "kafka: {properties: {message.max.bytes: 100000}}",
            "kafka.properties: message.max.bytes is set by the pipeline itself: the topic says what is too large; set its max.message.bytes; take it out",
        ),
        (
            "kafka: {properties: {batch.num.messages: 10}}",
            "kafka.properties: batch.num.messages is set by the pipeline itself: set kafka.batch_size; take it out",
        ),
    ] {
        let (folder, sources) = files(&[("watcher.yaml", WATCHER), ("more.yaml", addition)]);
        let told = problems(&WatcherConfig::load(&sources).unwrap_err(), &folder);
        assert!(told.len() == 1 && told[0].ends_with(problem), "{addition}: {told:?}");
    }
    for (addition, problem) in [
        (
            "postgres: {min_connections: 60}",
            "postgres.min_connections: 60 is more than postgres.max_connections (50)",
        ),
        (
            "postgres: {max_connections: 12}\nworkers: {pool_size: 13}",
            "workers.pool_size: 13 workers need as many connections, and postgres.max_connections is 12",
        ),
        ("batch: {linger: 1s}", "batch.linger: 1s is more than batch.flush_interval (500ms)"),
        (
            "workers: {max_buffered_bytes: 1MiB}",
            "workers.max_buffered_bytes: 1.0 MiB is less than one batch may hold: batch.buffer_bytes is 8.0 MiB",
        ),
        (
            "kafka: {properties: {session.timeout.ms: 60000}}",
            "kafka.properties: session.timeout.ms is set by the pipeline itself: a lost member is replaced within ten seconds, and a revocation ends before that; take it out",
        ),
        ("kafka: {topic: '^cdc.*'}", "kafka.topic: patterns are not available yet; list the topics"),
        (
            "dead_letter: {stop_after: {window: 50, at_least: 60}}",
            "dead_letter.stop_after.at_least: 60 is more than dead_letter.stop_after.window (50)",
        ),
        (
            "dead_letter: {stop_after: {share: 1.5}}",
            "dead_letter.stop_after.share: \"1.5\" is not legal; legal: a share from 0 to 1, such as 0.5",
        ),
        (
            "dead_letter: {stop_after: never}",
            "dead_letter.stop_after: a section with keys of its own is expected here",
        ),
        (
            "kafka: {topic: orders}",
            "kafka.topic: the name of topic orders does not tell its collection, as cdc.<database>.<collection> does; \
             write under kafka: namespaces: {\"orders\": \"<database>.<collection>\"}",
        ),
        (
            "kafka: {namespaces: {cdc.game_db.players: players}}",
            "kafka.namespaces: \"players\" of topic cdc.game_db.players is not legal; legal: <database>.<collection>",
        ),
        (
            "kafka: {namespaces: {orders: shop.orders}}",
            "kafka.namespaces: topic orders is none that kafka.topic names; take it out, or name it there",
        ),
        (
            "kafka: {namespaces: [orders]}",
            "kafka.namespaces: a section with keys of its own is expected here",
        ),
        (
            "kafka: {topic: [cdc.game_db.players, p], namespaces: {p: game_db.players}}",
            "kafka.namespaces: topics cdc.game_db.players and p both carry game_db.players; a collection has one \
             topic: take one out",
        ),
        (
            "kafka: {topic: [cdc.game_db.players, cdc.old_db.players]}",
            "kafka.topic: game_db.players and old_db.players would share the table public.players; name another for \
             one of them under tables:, or have postgres.schema hold {database}",
        ),
        ("tables: {}", "tables: legal: a list of sections with keys of their own, in a file"),
        ("tables: [{table: a}]", "tables: collection is missing"),
        ("tables: [{collection: orders}]", "tables: collection orders is in no topic of kafka.topic"),
        (
            "tables: [{collection: players}, {collection: game_db.players}]",
            "tables: the collection has an entry already",
        ),
        ("tables: [{collection: players, tabel: t}]", "unknown key tabel; did you mean table?"),
        ("tables: [{collection: players, table: .t}]", "tables: table: legal: a table, or schema.table"),
        (
            "tables: [{collection: players, deletes: never}]",
            "deletes: \"never\" is not legal; legal: hard, soft, ignore",
        ),
        (
            "tables: [{collection: players, columns: {id: _id, a: b..c}}]",
            "tables: columns.a: \"b..c\" is not legal; legal: keys with dots between, or $",
        ),
        (
            "tables: [{collection: players, columns: {a: b}}]",
            "tables: columns: none takes _id; write one, such as id: _id",
        ),
        (
            "tables: [{collection: players, columns: {a: _id, b: _id}}]",
            "tables: columns: _id goes into one column",
        ),
        (
            "tables: [{collection: players, columns: {a: _id.x, b: _id.x}}]",
            "tables: columns: each field of a composed _id goes into one column",
        ),
        (
            "tables: [{collection: players, columns: {a: _id, b: c}, leave: b}]",
            "tables: leave: b stands under columns, too",
        ),
        (
            "tables: [{collection: players, columns: {a: _id, cdc_position: c}}]",
            "tables: columns: cdc_position and cdc_deleted_at are the pipeline's own",
        ),
        ("naming: camelCase", "naming: \"camelCase\" is not legal; legal: exact, snake_case"),
        ("postgres: {tls: {mode: require}}", "postgres.tls: not available yet; take this key out"),
    ] {
        let (folder, sources) = files(&[("syncer.yaml", SYNCER), ("more.yaml", addition)]);
        let told = problems(&SyncerConfig::load(&sources).unwrap_err(), &folder);
        assert!(told.len() == 1 && told[0].ends_with(problem), "{addition}: {told:?}");
    }
}

#[test]
fn a_smaller_window_lowers_the_default_that_it_caps() {
    let more = "dead_letter: {stop_after: {window: 50}}";
    let (_folder, sources) = files(&[("syncer.yaml", SYNCER), ("more.yaml", more)]);
    assert_eq!(SyncerConfig::load(&sources).unwrap().machine.stop_after.at_least, 50);
}

#[test]
fn a_share_is_read_exactly() {
    let load = |text: &str| {
        let (_folder, sources) = files(&[("syncer.yaml", SYNCER), ("more.yaml", text)]);
        SyncerConfig::load(&sources).map(|config| config.machine.stop_after)
    };
    assert_eq!(load("").unwrap(), StopAfter { share: 500_000, window: 1_000, at_least: 100 });
    for (text, share) in [("0", 0), ("1", 1_000_000), ("1.0", 1_000_000), ("0.25", 250_000), ("0.000001", 1)]
    {
        let text = format!("dead_letter: {{stop_after: {{share: {text}, window: 20}}}}");
        assert_eq!(load(&text).unwrap(), StopAfter { share, window: 20, at_least: 20 }, "{text}");
    }
    for wrong in ["half", "-0.5", "1.000001", "0.0000001", "50%", "1e-1", "."] {
        assert!(load(&format!("dead_letter: {{stop_after: {{share: '{wrong}'}}}}")).is_err(), "{wrong}");
    }
}

#[test]
fn unknown_variables_and_flags_are_errors_with_a_suggestion() {
    let (folder, mut sources) = files(&[("watcher.yaml", WATCHER)]);
    sources.environment = [("CDC__KAFKA__TOPCI", "x"), ("CDC__KAFAK__TOPIC", "x")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    sources.overrides = vec!["logging.levl=info".to_owned()];
    let error = WatcherConfig::load(&sources).unwrap_err();
    assert_eq!(
        problems(&error, &folder),
        [
            "environment variable CDC__KAFAK__TOPIC: unknown key kafak.topic; did you mean CDC__KAFKA__TOPIC?",
            "environment variable CDC__KAFKA__TOPCI: unknown key kafka.topci; did you mean CDC__KAFKA__TOPIC?",
            "--set logging.levl: unknown key logging.levl; did you mean logging.level?",
        ]
    );
}

#[test]
fn a_file_that_is_no_configuration_is_told_with_its_place() {
    assert_eq!(
        refused_watcher("- a\n- b\n"),
        ["watcher.yaml:1:1: the file must hold keys with values, such as `kafka:`"]
    );
    assert_eq!(
        refused_watcher("kafka:\n  topic: a\n  topic: b\n"),
        ["watcher.yaml:3:3: key topic stands here twice; first at watcher.yaml:2:3"]
    );
    let told = refused_watcher("kafka: {topic: a\nmongodb: [\n");
    assert!(
        told.len() == 1 && told[0].starts_with("watcher.yaml:") && told[0].contains("not valid YAML"),
        "{told:?}"
    );
    assert_eq!(
        refused_syncer("kafka: !vault secret\n"),
        ["syncer.yaml:1:8: YAML tags of one's own mean nothing here; write the value itself"]
    );
    let sources = Sources { files: vec![PathBuf::from("/nowhere/watcher.yaml")], ..Sources::default() };
    let told = WatcherConfig::load(&sources).unwrap_err().to_string();
    assert_eq!(
        told,
        "the configuration is refused\n  /nowhere/watcher.yaml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn anchors_are_spelled_out_and_cannot_explode() {
    let text = "\
watcher:
  mongodb: {uri: 'mongodb://localhost', database: d, collection: c}
  kafka: {brokers: &brokers ['a:1', 'b:2']}
syncer:
  kafka: {brokers: *brokers, topic: cdc.d.c}
  postgres: {host: localhost, database: d, user: u}
";
    let (_folder, sources) = files(&[("pipeline.yaml", text)]);
    assert_eq!(PipelineConfig::load(&sources).unwrap().syncer.kafka.brokers, ["a:1", "b:2"]);

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![alias; 8].join(", "));
    }
    let told = refused_watcher(&bomb);
    assert!(told.len() == 1 && told[0].contains("too deep or too long"), "{told:?}");
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own_and_the_higher_layer_holds() {
    let (folder, mut sources) =
        files(&[("syncer.yaml", SYNCER), ("more.yaml", "postgres: {password: old}"), ("password", "new\n")]);
    sources.files.pop();
    let path = folder.path().join("password").display().to_string();
    sources.environment = [("CDC__POSTGRES__PASSWORD_FILE".to_owned(), path)].into();
    let config = SyncerConfig::load(&sources).unwrap();
    assert_eq!(config.postgres.password.unwrap().expose_secret(), "new");

    sources.environment.insert("CDC__POSTGRES__PASSWORD".to_owned(), "newest".to_owned());
    assert_eq!(
        problems(&SyncerConfig::load(&sources).unwrap_err(), &folder),
        [
            "environment variable CDC__POSTGRES__PASSWORD_FILE: postgres.password_file: postgres.password is given too; keep one of the two"
        ]
    );
    sources.environment.clear();
    sources.overrides = vec!["postgres.password=hunter2".to_owned()];
    assert_eq!(
        problems(&SyncerConfig::load(&sources).unwrap_err(), &folder),
        [
            "--set postgres.password: postgres.password: everybody can read a command line; use postgres.password_file or CDC__POSTGRES__PASSWORD"
        ]
    );
    sources.overrides = vec!["postgres.password_file=/nowhere/password".to_owned()];
    let told = problems(&SyncerConfig::load(&sources).unwrap_err(), &folder);
    assert!(
        told[0].ends_with("/nowhere/password cannot be read: No such file or directory (os error 2)"),
        "{told:?}"
    );
}

#[test]
fn secrets_never_print() {
    const SECRET: &str = "s3cr3t-sentinel";
    let text = format!(
        "mongodb: {{uri: 'mongodb://u:{SECRET}@localhost', database: d, collection: c}}\n\
         kafka: {{brokers: 'a:1', properties: {{sasl.password: {SECRET}}}}}\n\
         token_storage: {{redis: {{password: {SECRET}}}}}\n"
    );
    let (_folder, sources) = files(&[("watcher.yaml", &text)]);
    let config = WatcherConfig::load(&sources).unwrap();
    assert!(config.mongodb.uri.expose_secret().contains(SECRET));
    assert!(!format!("{config:?}").contains(SECRET));

    for wrong in [
        format!("mongodb: {{uri: 'http://u:{SECRET}@h'}}"),
        format!("mongodb: {{uri: [{SECRET}], passwrd: {SECRET}}}"),
        format!("kafka: {{brokers: 'u:{SECRET}@h'}}"),
        format!("token_storage: {{redis: {{addr: 'u:{SECRET}@h:x', password: {{a: {SECRET}}}}}}}"),
        format!("kafka: {{properties: {{sasl.password: [{SECRET}], acks: {SECRET}}}}}"),
        format!("mongodb: {{uri: '{SECRET}"),
    ] {
        let told = refused_watcher(&format!("{wrong}\n")).join("\n");
        assert!(!told.is_empty() && !told.contains(SECRET), "{wrong}: {told}");
    }
}

#[test]
fn both_services_in_one_process_need_two_addresses_and_one_log() {
    let (folder, mut sources) = files(&[]);
    sources.files = example("pipeline.yaml").files;
    let config = PipelineConfig::load(&sources).unwrap();
    assert_eq!((config.watcher.http_listen.port(), config.syncer.http_listen.port()), (9464, 9465));

    sources.overrides =
        vec!["syncer.http.listen=127.0.0.1:9464".to_owned(), "syncer.logging.level=debug".to_owned()];
    let told = problems(&PipelineConfig::load(&sources).unwrap_err(), &folder);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].ends_with("syncer: watcher.http.listen and syncer.http.listen are both 127.0.0.1:9464"),
        "{told:?}"
    );
    assert!(
        told[1].ends_with("syncer: watcher.logging and syncer.logging differ, but one process has one log"),
        "{told:?}"
    );
}

#[test]
fn the_token_s_place_is_named_after_what_is_watched_unless_a_person_names_it() {
    let place = |more: &str| {
        let (_folder, sources) = files(&[("watcher.yaml", WATCHER), ("more.yaml", more)]);
        match WatcherConfig::load(&sources).unwrap().token_storage {
            TokenBackend::Redis { key, earlier, username, .. } => (key, earlier.is_some(), username),
            TokenBackend::File { path, earlier } => (path.display().to_string(), earlier.is_some(), None),
        }
    };
    let by_default = place("mongodb: {database: shop, collection: orders}");
    assert_eq!(by_default, ("cdc:watcher:shop.orders:resume_token".to_owned(), true, None));
    let list = place("mongodb: {database: shop, collection: [orders, items]}");
    assert_eq!(list, ("cdc:watcher:shop:resume_token".to_owned(), true, None));
    let given = place("token_storage: {redis: {key: k, username: watcher}}");
    assert_eq!(given, ("k".to_owned(), false, Some("watcher".to_owned())));
    let file = place("mongodb: {database: shop, collection: orders}\ntoken_storage: {type: file}");
    assert_eq!(file, ("/var/lib/watcher/shop.orders.resume_token.dat".to_owned(), true, None));
    let file = place("token_storage: {type: file, file: {path: /p}}");
    assert_eq!(file, ("/p".to_owned(), false, None));
}

#[test]
fn a_redis_url_is_refused_without_its_password_and_with_the_keys_for_its_parts() {
    let (folder, sources) = files(&[
        ("watcher.yaml", WATCHER),
        ("more.yaml", "token_storage: {redis: {addr: \"redis://user:hunter2@localhost:6379/1\"}}"),
    ]);
    let told = problems(&WatcherConfig::load(&sources).unwrap_err(), &folder);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("username, password and db") && !told[0].contains("hunter2"), "{told:?}");
}

#[test]
fn what_stays_text_in_yaml_stays_text() {
    let (_folder, sources) =
        files(&[("syncer.yaml", SYNCER), ("more.yaml", "postgres: {password: 0123e5, user: no}")]);
    let config = SyncerConfig::load(&sources).unwrap();
    assert_eq!(config.postgres.password.unwrap().expose_secret(), "0123e5");
    assert_eq!(config.postgres.user, "no");
}

#[test]
fn retries_are_a_number_or_unlimited() {
    let (_folder, sources) = files(&[
        ("watcher.yaml", WATCHER),
        ("more.yaml", "kafka: {max_retries: unlimited}\nmongodb: {max_retries: 0}"),
    ]);
    let config = WatcherConfig::load(&sources).unwrap();
    assert_eq!(
        (config.machine.retries.kafka, config.machine.retries.mongodb),
        (Retry::UNLIMITED, Retry::times(0))
    );
}

#[test]
fn dead_letters_never_come_back_as_documents() {
    let itself = |topic: &str| {
        format!(
            "dead_letter.topic: the dead letters of topic {topic} would go into topic cdc.game_db.players, which \
             carries documents; give them a topic of their own, such as \"{{topic}}.dead-letters\""
        )
    };
    for template in ["'{topic}'", "cdc.game_db.players"] {
        let key = format!("dead_letter: {{topic: {template}}}\n");
        let told = format!("syncer.yaml:3:22: {}", itself("cdc.game_db.players"));
        assert_eq!(refused_syncer(&format!("{SYNCER}{key}")), [told], "{template}");
        let told = format!("watcher.yaml:3:22: {}", itself("cdc.game_db.players"));
        assert_eq!(refused_watcher(&format!("{WATCHER}{key}")), [told], "{template}");
    }
    let both = "\
kafka: {brokers: 'localhost:9092', topic: [cdc.d.c, cdc.d.c.dead-letters]}
postgres: {host: localhost, database: analytics_db, user: syncer}
";
    let told = refused_syncer(both);
    assert!(told.len() == 1 && told[0].contains("would go into topic cdc.d.c.dead-letters"), "{told:?}");
    let long = format!("cdc.d.{}", "c".repeat(240));
    let told = refused_syncer(&SYNCER.replace("cdc.game_db.players", &long));
    assert!(told.len() == 1 && told[0].contains("would need a topic of 259 bytes"), "{told:?}");
}

#[test]
fn a_watcher_s_markers_never_come_back_to_the_syncer_beside_it() {
    let indented = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let pipeline = |watcher: &str| {
        let syncer = SYNCER.replace("cdc.game_db.players", "[cdc.game_db.players, cdc.game_db.lost]");
        let text = format!("watcher:\n{}syncer:\n{}", indented(watcher), indented(&syncer));
        let (folder, sources) = files(&[("pipeline.yaml", &text)]);
        PipelineConfig::load(&sources).map(drop).map_err(|error| problems(&error, &folder))
    };
    assert_eq!(pipeline(WATCHER), Ok(()));
    let told = pipeline(&format!("{WATCHER}dead_letter: {{topic: cdc.game_db.lost}}")).unwrap_err();
    assert!(told.len() == 1 && told[0].contains("would go into topic cdc.game_db.lost"), "{told:?}");
}
