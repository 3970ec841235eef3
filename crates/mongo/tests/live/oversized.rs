//! Events that do not fit a reply of 16 MiB.

use bson::doc;
use cdc_machine::Fault;
use cdc_ports::Source;
use cdc_watcher::{Payload, Reading, StartAt};

use crate::rig::{LINEAGE, Rig, Seen};

/// An update of a document of this size carries it twice: as it is, and as what changed.
const DOCUMENT_BYTES: usize = 9 << 20;
const MAX_BYTES: u64 = 64 << 20;

#[tokio::test]
async fn an_event_that_does_not_fit_is_told_and_comes_without_its_documents() {
    let rig = Rig::start().await;
    let (mut source, at) = rig.open_now(&["players"]).await;
    let players = rig.collection("players");
    let pad = |letter: &str| letter.repeat(DOCUMENT_BYTES);
    players.insert_one(doc! { "_id": 1, "pad": pad("a") }).await.unwrap();
    players.update_one(doc! { "_id": 1 }, doc! { "$set": { "pad": pad("b") } }).await.unwrap();
    players.insert_one(doc! { "_id": 2 }).await.unwrap();

    let mut last = at;
    let failure = loop {
        match source.next(10, MAX_BYTES).await {
            Ok(batch) => last = batch.events.last().map_or(last, |event| event.token.clone()),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.fault, Fault::TooLarge, "{failure}");
    assert!(failure.message.contains("on_too_large"), "{failure}");
    // The same again: it would never end.
    source.open(StartAt::After(last.clone()), LINEAGE, Reading::Whole).await.unwrap();
    let again = loop {
        match source.next(10, MAX_BYTES).await {
            Ok(batch) => last = batch.events.last().map_or(last, |event| event.token.clone()),
            Err(failure) => break failure,
        }
    };
    assert_eq!(again.fault, Fault::TooLarge, "{again}");

    source.open(StartAt::After(last), LINEAGE, Reading::Stripped).await.unwrap();
    let mut events = Vec::new();
    while events.len() < 2 {
        events.extend(source.next(10, MAX_BYTES).await.unwrap().events);
    }
    // The insertion may come with it: what fits is whole.
    let rest: Vec<_> =
        events.iter().skip_while(|event| matches!(event.payload, Payload::Message { .. })).collect();
    let Payload::Oversized { marker } = &rest[0].payload else { panic!("{:?}", rest[0]) };
    assert_eq!((&*marker.topic, marker.key()), ("cdc.game_db.players", &br#"{"$numberInt":"1"}"#[..]));
    let size: usize =
        std::str::from_utf8(marker.value()).unwrap().strip_prefix("size=").unwrap().parse().unwrap();
    assert!(size > 2 * DOCUMENT_BYTES && size < 2 * DOCUMENT_BYTES + 10_000, "{size}");
    assert_eq!(marker.position, rest[0].token.position);
    let behind = rest[0].token.clone();

    source.open(StartAt::After(behind), LINEAGE, Reading::Whole).await.unwrap();
    let mut seen = Seen::default();
    seen.read(&mut source, 1).await;
    assert_eq!(seen.lines(), ["insert players 2"]);
}
