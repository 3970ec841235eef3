//! What is too large for a reply of MongoDB, or for its topic.

use std::collections::BTreeMap;
use std::time::Duration;

use bson::doc;
use cdc_tests::waiting::until;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::rig::{Case, Rig, STOP, finish};

const WITHIN: Duration = Duration::from_secs(30);

/// The one dead letter: its key and headers; there is no body.
fn dead_letter(case: &Case<'_>) -> Option<(String, BTreeMap<String, String>)> {
    let topic = format!("{}.dead-letters", case.topic);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &case.rig.endpoints.kafka_brokers)
        .set("group.id", "dead-letter-reader")
        .create()
        .unwrap();
    let (_, end) = consumer.fetch_watermarks(&topic, 0, WITHIN).ok()?;
    if end == 0 {
        return None;
    }
    assert_eq!(end, 1);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let message = consumer.poll(WITHIN)?.unwrap();
    assert!(message.payload().unwrap_or_default().is_empty());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().unwrap().iter();
    let headers =
        headers.map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect();
    Some((text(message.key().unwrap_or_default()), headers))
}

pub(crate) async fn an_event_beyond_a_reply(rig: &Rig) {
    let case = rig.case("oversized");
    let watching = case.start(STOP).await;
    let pad = |letter: &str| letter.repeat(9 << 20);
    case.insert(1).await;
    case.documents().insert_one(doc! { "_id": 2, "pad": pad("a") }).await.unwrap();
    case.documents().update_one(doc! { "_id": 2 }, doc! { "$set": { "pad": pad("b") } }).await.unwrap();
    case.insert(3).await;
    case.until_inserted(&[1, 2, 3]).await;
    until("the marker", async || dead_letter(&case).is_some()).await;
    let (key, headers) = dead_letter(&case).unwrap();
    assert_eq!((key.as_str(), headers["cdc-error-reason"].as_str()), (r#"{"$numberInt":"2"}"#, "too_large"));
    assert!(headers["cdc-body-omitted"].starts_with("size=188"), "{headers:?}");
    assert!(!headers["cdc-position"].is_empty());
    finish(watching).await;
}

pub(crate) async fn a_message_beyond_its_topic(rig: &Rig) {
    let case = rig.case("beyond_topic");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &rig.endpoints.kafka_brokers).create().unwrap();
    let topic = NewTopic::new(&case.topic, 8, TopicReplication::Fixed(1)).set("max.message.bytes", "1048588");
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    let watching = case.start(STOP).await;
    case.insert(1).await;
    case.documents().insert_one(doc! { "_id": 2, "noise": noise(2 << 20) }).await.unwrap();
    case.insert(3).await;
    case.until_inserted(&[1, 3]).await;
    until("the marker", async || dead_letter(&case).is_some()).await;
    let (key, headers) = dead_letter(&case).unwrap();
    assert_eq!((key.as_str(), headers["cdc-error-reason"].as_str()), (r#"{"$numberInt":"2"}"#, "too_large"));
    assert!(headers["cdc-body-omitted"].contains("xxh3="), "{headers:?}");
    finish(watching).await;
}

/// Nobody may ask what the topic allows, and a batch of small messages is more than that. Each message is in the
/// topic, and the one that is too large itself has a marker.
pub(crate) async fn small_messages_of_a_batch_beyond_its_topic(rig: &Rig) {
    const SMALL: i32 = 2_000;
    let case = rig.case("beyond_topic_in_batches");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &rig.endpoints.kafka_brokers).create().unwrap();
    let topic = NewTopic::new(&case.topic, 2, TopicReplication::Fixed(1)).set("max.message.bytes", "100000");
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    for (ruling, operation) in [("--allow-principal", "All"), ("--deny-principal", "DescribeConfigs")] {
        let ruling = ["--add", ruling, "User:ANONYMOUS", "--operation", operation, "--topic", &case.topic];
        rig.stack.kafka.tool("org.apache.kafka.tools.AclCommand", &ruling).await.unwrap();
    }
    let watching = case.start(STOP).await;
    let log = std::fs::read_to_string(watching.log()).unwrap();
    assert!(log.contains("max.message.bytes could not be read"), "the question was answered: {log}");

    let small = (1..=SMALL).map(|id| doc! { "_id": id, "noise": noise(5_000) });
    let mut documents: Vec<_> = small.collect();
    documents.insert(700, doc! { "_id": 0, "noise": noise(200_000) });
    case.documents().insert_many(documents).await.unwrap();
    let all: Vec<i64> = (1..=i64::from(SMALL)).collect();
    case.until_inserted(&all).await;
    until("the marker", async || dead_letter(&case).is_some()).await;
    // One dead letter, or this panics.
    assert_eq!(dead_letter(&case).unwrap().0, r#"{"$numberInt":"0"}"#);
    let counted =
        watching.metrics().await.unwrap().value("cdc_dead_letters_total", &[("reason", "too_large")]);
    assert_eq!(counted, Some(1.0));
    assert!(std::fs::read_to_string(watching.log()).unwrap().contains("an event is too large"));
    finish(watching).await;
}

/// Incompressible, or it would fit.
fn noise(bytes: u32) -> bson::Binary {
    let bytes = (0..bytes)
        .scan(1_u32, |state, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        })
        .collect();
    bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes }
}
