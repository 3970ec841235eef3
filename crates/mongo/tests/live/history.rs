//! Whether the history is the one that a token was read from.

use cdc_event::{ClusterTime, ResumeToken};
use cdc_machine::Fault;
use cdc_ports::Source as _;
use cdc_watcher::{Reading, StartAt};

use crate::rig::{LINEAGE, Rig, Seen};

async fn insert(rig: &Rig, collection: &str, id: i32) {
    rig.collection(collection).insert_one(bson::doc! { "_id": id }).await.unwrap();
}

#[tokio::test]
async fn a_token_rests_on_an_event_that_the_history_holds() {
    let rig = Rig::start().await;
    let (mut source, first) = rig.open_now(&["players"]).await;
    assert_eq!(first.rests_on, None, "nothing was read yet");
    insert(&rig, "players", 1).await;
    let mut seen = Seen::default();
    seen.read(&mut source, 1).await;
    let event = seen.tokens[0].clone();
    assert_eq!(event.rests_on, event.position.cluster_time());
    insert(&rig, "elsewhere", 1).await;
    let idle = loop {
        let idle = seen.read_to_idle(&mut source).await;
        if idle > event {
            break idle;
        }
    };
    assert_eq!(idle.rests_on, event.rests_on, "a mark between events rests on the event before it");
    drop(source);
    for token in [&event, &idle] {
        rig.open_after(&["players"], token).await;
        // Another list of collections is no other history.
        rig.open_after(&["teams"], token).await;
    }
    // Whatever becomes of the collection and of the database, what happened has happened.
    rig.collection("players").drop().await.unwrap();
    rig.database.drop().await.unwrap();
    rig.open_after(&["players"], &idle).await;

    let refused = async |token: ResumeToken| {
        let mut source = rig.source(&["players"]);
        source.open(StartAt::After(token), LINEAGE, Reading::Whole).await.unwrap_err()
    };
    // An event that this history does not hold.
    let ClusterTime { t, i } = event.rests_on.unwrap();
    insert(&rig, "elsewhere", 2).await;
    let elsewhere = ClusterTime { t, i: i + 1_000 };
    let failure = refused(ResumeToken { rests_on: Some(elsewhere), ..idle.clone() }).await;
    assert_eq!(failure.fault, Fault::HistoryLost, "{failure}");
    assert!(failure.message.contains("another history"), "{failure}");
    // One that was before the deployment was made: the oplog reaches back to its beginning.
    let failure = refused(ResumeToken { rests_on: Some(ClusterTime { t: 7, i: 1 }), ..idle.clone() }).await;
    assert_eq!(failure.fault, Fault::HistoryLost, "{failure}");
    // A position beyond the oplog's end.
    let data = format!("82{:08X}000000012B0229296E04", u32::MAX);
    let token = bson::rawdoc! { "_data": data }.into_bytes();
    let failure = refused(ResumeToken::from_bson(token.into(), LINEAGE.0).unwrap()).await;
    assert_eq!(failure.fault, Fault::HistoryLost, "{failure}");
    assert!(failure.message.contains("oplog ends before"), "{failure}");
}
