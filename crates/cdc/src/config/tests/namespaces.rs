use super::*;

#[test]
fn namespaces_bind_topics_in_each_layer() {
    let (_folder, mut sources) = files(&[
        ("syncer.yaml", SYNCER),
        ("more.yaml", "kafka: {topic: [A, b.c, cdc.d.e.f], namespaces: {A: d.a, b.c: 'd.high scores.eu'}}"),
    ]);
    let file = [("A", "d.a"), ("b.c", "d.high scores.eu"), ("cdc.d.e.f", "d.e.f")];
    let owned = |pairs: [(&'static str, &str); 3]| pairs.map(|(topic, to)| (topic, to.to_owned()));
    assert_eq!(bound(&SyncerConfig::load(&sources).unwrap()), owned(file));

    sources.overrides = vec!["kafka.namespaces.b.c=d.b".to_owned()];
    assert_eq!(bound(&SyncerConfig::load(&sources).unwrap())[1].1, "d.b");

    sources.environment = [("CDC__KAFKA__NAMESPACES".to_owned(), "A=d.x, b.c=d.y".to_owned())].into();
    sources.overrides = Vec::new();
    assert_eq!(
        bound(&SyncerConfig::load(&sources).unwrap()),
        owned([("A", "d.x"), ("b.c", "d.y"), ("cdc.d.e.f", "d.e.f")])
    );
    sources.environment.insert("CDC__KAFKA__NAMESPACES".to_owned(), "A=d.x,b.c".to_owned());
    let told = SyncerConfig::load(&sources).unwrap_err().to_string();
    assert!(told.contains("CDC__KAFKA__NAMESPACES: kafka.namespaces: legal: "), "{told}");
}

#[test]
fn a_watcher_says_what_its_syncer_must_be_told_and_one_file_must_agree() {
    let load = |text: &str| {
        let (_folder, sources) = files(&[("watcher.yaml", WATCHER), ("more.yaml", text)]);
        WatcherConfig::load(&sources).unwrap().needed_namespaces()
    };
    assert_eq!(load(""), None);
    assert_eq!(load("kafka: {topic: 'cdc.{database}.{collection}'}"), None);
    assert_eq!(
        load("kafka: {topic: 'cdc.{collection}.{database}'}").unwrap(),
        "the Syncer cannot tell a collection from its topic's name; for it, write under kafka: namespaces: \
         {\"cdc.players.game_db\": \"game_db.players\"}"
    );
    let pipeline = |namespaces: &str| {
        let text = format!(
            "watcher:\n  mongodb: {{uri: 'mongodb://h', database: d, collection: 'high scores'}}\n  \
             kafka: {{brokers: 'a:1', topic: scores}}\n\
             syncer:\n  kafka: {{brokers: 'a:1', topic: scores{namespaces}}}\n  \
             postgres: {{host: h, database: d, user: u}}\n"
        );
        let (folder, sources) = files(&[("pipeline.yaml", &text)]);
        PipelineConfig::load(&sources).map_err(|error| problems(&error, &folder))
    };
    assert_eq!(
        pipeline("").unwrap_err(),
        [
            "pipeline.yaml:5:34: syncer.kafka.topic: the name of topic scores does not tell its collection, as \
          cdc.<database>.<collection> does; write under kafka: namespaces: {\"scores\": \"d.high scores\"}"
        ]
    );
    assert_eq!(
        pipeline(", namespaces: {scores: d.scores}").unwrap_err(),
        [
            "pipeline.yaml:5:54: syncer.kafka.namespaces: topic scores is read as d.scores, and the Watcher of this \
          file fills it from d.high scores; write under kafka: namespaces: {\"scores\": \"d.high scores\"}"
        ]
    );
    let config = pipeline(", namespaces: {\"scores\": \"d.high scores\"}").unwrap();
    assert_eq!(bound(&config.syncer), [("scores", "d.high scores".to_owned())]);
}
