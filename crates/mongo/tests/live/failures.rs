//! What a broken stream says.

use std::time::Duration;

use bson::doc;
use cdc_devstack::MongodOptions;
use cdc_devstack::proxy::Proxy;
use cdc_machine::Fault;
use cdc_mongo::{Deployment, MongoSettings, MongoSource};
use cdc_ports::{Failure, Source};
use cdc_watcher::{Reading, StartAt};

use crate::rig::{LINEAGE, MAX_BYTES, MAX_EVENTS, Rig, Seen, settings};

const PASSWORD: &str = "hunter2";

async fn refused(settings: MongoSettings) -> Failure {
    let mut source = MongoSource::new(settings).unwrap();
    let failure = source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap_err();
    assert!(!failure.to_string().contains(PASSWORD), "{failure}");
    failure
}

#[tokio::test]
async fn a_server_that_is_not_there_is_transient() {
    let uri = format!("mongodb://user:{PASSWORD}@127.0.0.1:1/");
    let mut settings = settings(&uri, &["players"]);
    settings.connection_timeout = Duration::from_millis(200);
    let failure = refused(settings).await;
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    assert!(failure.message.contains("127.0.0.1:1"), "{failure}");
}

#[tokio::test]
async fn a_string_that_is_no_uri_is_fatal_and_not_quoted() {
    for uri in [
        format!("mongodb://user:{PASSWORD}@host:port/"),
        format!("mongodb://user:{PASSWORD}/@host:27017/"),
        format!("postgres://user:{PASSWORD}@host/"),
        PASSWORD.to_owned(),
    ] {
        let failure = refused(settings(&uri, &["players"])).await;
        assert_eq!(failure.fault, Fault::Fatal, "{failure}");
    }
}

/// Nothing is refused and nothing is reset: packets are dropped between a server and a client that knows it well.
#[tokio::test]
async fn a_connection_that_goes_silent_while_a_stream_is_opened_is_given_up_and_tried_again() {
    let rig = Rig::start().await;
    let link = Proxy::start(rig.mongod.addrs()[0].parse().unwrap()).await.unwrap();
    let uri = format!("mongodb://{}/?directConnection=true", link.addr());
    let mut settings = settings(&uri, &["players"]);
    settings.connection_timeout = Duration::from_millis(500);
    let mut source = MongoSource::new(settings).unwrap();
    source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap();
    source.close().await;

    link.hold();
    let failure = source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    assert!(failure.message.contains("silent"), "{failure}");
    link.heal();
    source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap();
    source.close().await;
}

#[test]
fn no_collection_is_refused() {
    assert!(MongoSource::new(settings("mongodb://localhost/", &[])).is_err());
}

#[tokio::test]
async fn a_position_that_has_left_the_oplog_is_lost_history() {
    // The oplog is cut only at a checkpoint.
    let args = ["--syncdelay", "1"].map(str::to_owned).to_vec();
    let rig = Rig::start_with(MongodOptions { oplog_mb: 16, args, ..MongodOptions::default() }).await;
    let (mut source, _) = rig.open_now(&["players"]).await;
    let token = Seen::default().read_to_idle(&mut source).await;
    source.close().await;

    let mut filled_mb = 0;
    let failure = loop {
        let documents = (0..8).map(|_| doc! { "pad": "x".repeat(1 << 20) });
        rig.collection("elsewhere").insert_many(documents).await.unwrap();
        filled_mb += 8;
        assert!(filled_mb < 1_000, "the oplog of 16 MB still reaches back over {filled_mb} MB");
        let first = match source.open(StartAt::After(token.clone()), LINEAGE, Reading::Whole).await {
            Ok(_) => source.next(MAX_EVENTS, MAX_BYTES).await.map(drop),
            Err(failure) => Err(failure),
        };
        match first {
            Ok(()) => source.close().await,
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.fault, Fault::HistoryLost, "{failure}");
    assert!(failure.message.contains("on_history_lost"), "{failure}");
}

#[tokio::test]
async fn a_killed_server_is_transient_and_the_rest_comes_after_its_restart() {
    let mut rig = Rig::start().await;
    let (mut source, _) = rig.open_now(&["players"]).await;
    let players = rig.collection("players");
    players.insert_many((0..10).map(|id| doc! { "_id": id })).await.unwrap();
    let mut seen = Seen::default();
    seen.read(&mut source, 10).await;

    rig.mongod.kill().await;
    let failure = loop {
        match source.next(MAX_EVENTS, MAX_BYTES).await {
            Ok(batch) => seen.take(batch),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    let open = source.open(StartAt::After(seen.tokens[4].clone()), LINEAGE, Reading::Whole).await;
    assert_eq!(open.unwrap_err().fault, Fault::Transient);

    rig.mongod.restart().await.unwrap();
    players.insert_one(doc! { "_id": 10 }).await.unwrap();
    let mut rest = Seen::default();
    source.open(StartAt::After(seen.tokens[4].clone()), LINEAGE, Reading::Whole).await.unwrap();
    rest.read(&mut source, 6).await;
    let expected: Vec<String> = (5..=10).map(|id| format!("insert players {id}")).collect();
    assert_eq!(rest.lines(), expected);
}

#[tokio::test]
async fn a_frozen_server_is_noticed() {
    let mut rig = Rig::start().await;
    let (mut source, _) = rig.open_now(&["players"]).await;
    Seen::default().read_to_idle(&mut source).await;
    rig.mongod.pause().unwrap();
    let failure = loop {
        if let Err(failure) = source.next(MAX_EVENTS, MAX_BYTES).await {
            break failure;
        }
    };
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    rig.mongod.resume().unwrap();
    source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap();
}

#[tokio::test]
async fn a_cursor_that_somebody_kills_is_transient() {
    let rig = Rig::start().await;
    let (mut source, at) = rig.open_now(&["players"]).await;
    Seen::default().read_to_idle(&mut source).await;
    let find = doc! { "aggregate": 1, "pipeline": [{ "$currentOp": { "idleCursors": true } }], "cursor": {} };
    let admin = rig.client.database("admin");
    let failure = 'killed: loop {
        let reply = admin.run_command(find.clone()).await.unwrap();
        let operations = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().clone();
        for operation in operations {
            let operation = operation.as_document().unwrap();
            let Ok(cursor) = operation.get_document("cursor") else { continue };
            let is_ours = cursor
                .get_document("originatingCommand")
                .is_ok_and(|command| command.get_str("comment").is_ok_and(|it| it == "cdc-watcher"));
            if is_ours {
                let id = cursor.get_i64("cursorId").unwrap();
                let kill = doc! { "killCursors": "$cmd.aggregate", "cursors": [id] };
                rig.database.run_command(kill).await.unwrap();
            }
        }
        for _ in 0..3 {
            if let Err(failure) = source.next(MAX_EVENTS, MAX_BYTES).await {
                break 'killed failure;
            }
        }
    };
    assert_eq!(failure.fault, Fault::Transient, "{failure}");
    source.open(StartAt::After(at), LINEAGE, Reading::Whole).await.unwrap();
}

#[tokio::test]
async fn the_deployment_says_its_name() {
    let rig = Rig::start().await;
    let described = rig.source(&["players"]).describe().await.unwrap();
    assert!(matches!(&described, Deployment::ReplicaSet { name, .. } if name == "rs0"), "{described:?}");
}
