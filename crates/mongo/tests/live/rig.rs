//! A replica set, a writer, and a reader that collects what a source delivers.

use std::sync::Arc;
use std::time::Duration;

use bson::Document;
use cdc_devstack::{Mongod, MongodOptions};
use cdc_event::{Message, Position, ResumeToken};
use cdc_machine::Lineage;
use cdc_mongo::{EventTracing, MongoSettings, MongoSource, UpdateImage};
use cdc_ports::{Source, SourceBatch};
use cdc_watcher::{Payload, Reading, StartAt};
use mongodb::{Client, Collection, Database};
use serde_json::Value;

pub(crate) const LINEAGE: Lineage = Lineage(1_700_000_000);
pub(crate) const MAX_EVENTS: u32 = 700;
pub(crate) const MAX_BYTES: u64 = 1 << 20;
/// Calls of `next` without an event that a test waits for one; each takes up to half a second.
const PATIENCE_CALLS: u32 = 120;

pub(crate) struct Rig {
    pub(crate) mongod: Mongod,
    pub(crate) client: Client,
    pub(crate) database: Database,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(MongodOptions::default()).await
    }

    pub(crate) async fn start_with(options: MongodOptions) -> Self {
        let mongod = Mongod::start(options).await.unwrap();
        let client = Client::with_uri_str(mongod.uri()).await.unwrap();
        let database = client.database("game_db");
        Self { mongod, client, database }
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    pub(crate) fn source(&self, collections: &[&str]) -> MongoSource {
        MongoSource::new(settings(&self.mongod.uri(), collections)).unwrap()
    }

    /// A source that is open at the present time, and where.
    pub(crate) async fn open_now(&self, collections: &[&str]) -> (MongoSource, ResumeToken) {
        let mut source = self.source(collections);
        let at = source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap().at;
        (source, at)
    }

    /// A source that goes on behind a token.
    pub(crate) async fn open_after(&self, collections: &[&str], token: &ResumeToken) -> MongoSource {
        let mut source = self.source(collections);
        let at = source.open(StartAt::After(token.clone()), LINEAGE, Reading::Whole).await.unwrap().at;
        assert_eq!(at, *token, "the position before the first event is the token itself");
        source
    }

    /// Cursors that are open on the server.
    pub(crate) async fn open_cursors(&self) -> i64 {
        let status = self.database.run_command(bson::doc! { "serverStatus": 1 }).await.unwrap();
        let cursors = status.get_document("metrics").and_then(|metrics| metrics.get_document("cursor"));
        cursors.and_then(|cursor| cursor.get_document("open")).unwrap().get_i64("total").unwrap()
    }
}

pub(crate) fn settings(uri: &str, collections: &[&str]) -> MongoSettings {
    MongoSettings {
        uri: uri.into(),
        database: "game_db".to_owned(),
        collections: collections.iter().map(|&name| (name.to_owned(), topic(name))).collect(),
        connection_timeout: Duration::from_secs(2),
        full_document: UpdateImage::Lookup,
        batch_events: MongoSettings::DEFAULT_BATCH_EVENTS,
        max_await: MongoSettings::DEFAULT_MAX_AWAIT,
        tracing: EventTracing::OFF,
    }
}

pub(crate) fn topic(collection: &str) -> Arc<str> {
    format!("cdc.game_db.{collection}").into()
}

/// What a source delivered.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) tokens: Vec<ResumeToken>,
    /// One for each event; `None` where it carries nothing to deliver.
    pub(crate) messages: Vec<Option<Message>>,
    pub(crate) skipped: Vec<&'static str>,
    /// The values of control messages.
    pub(crate) control: Vec<Value>,
    pub(crate) idle: Option<ResumeToken>,
}

impl Seen {
    /// Reads until there are `count` events in all.
    pub(crate) async fn read(&mut self, source: &mut MongoSource, count: usize) {
        let mut empty = 0;
        while self.tokens.len() < count {
            let batch = source.next(MAX_EVENTS, MAX_BYTES).await.unwrap();
            empty = if batch.events.is_empty() { empty + 1 } else { 0 };
            assert!(empty < PATIENCE_CALLS, "{} of {count} events came", self.tokens.len());
            self.take(batch);
        }
        assert_eq!(self.tokens.len(), count, "no more than were written");
    }

    /// Reads until the source is idle.
    pub(crate) async fn read_to_idle(&mut self, source: &mut MongoSource) -> ResumeToken {
        for _ in 0..PATIENCE_CALLS {
            let batch = source.next(MAX_EVENTS, MAX_BYTES).await.unwrap();
            self.take(batch);
            if let Some(idle) = self.idle.take() {
                return idle;
            }
        }
        panic!("the source is never idle");
    }

    pub(crate) fn take(&mut self, batch: SourceBatch) {
        assert!(batch.events.len() <= MAX_EVENTS as usize);
        assert!(batch.idle.is_none() || batch.events.is_empty(), "idle means that nothing came");
        assert_eq!(batch.newest_unix_seconds == 0, batch.events.is_empty());
        self.skipped.extend(batch.skipped);
        self.idle = batch.idle;
        let mut bytes_in_batch = 0;
        let count = batch.events.len();
        for event in batch.events {
            self.tokens.push(event.token);
            self.messages.push(match event.payload {
                Payload::Skip => None,
                Payload::Oversized { marker } => Some(marker),
                Payload::Control { notices, .. } => {
                    self.control.extend(notices.iter().map(|notice| value(&notice.record)));
                    None
                }
                Payload::Message { record, bytes, .. } => {
                    assert_eq!(bytes as usize, record.key().len() + record.value().len());
                    bytes_in_batch += u64::from(bytes);
                    Some(record)
                }
            });
        }
        assert!(bytes_in_batch <= MAX_BYTES || count == 1, "{count} events of {bytes_in_batch} bytes");
    }

    pub(crate) fn positions(&self) -> Vec<Position> {
        self.tokens.iter().map(|token| token.position).collect()
    }

    /// The events as `operation collection _id`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.messages.iter().map(|message| message.as_ref().map_or_else(|| "-".to_owned(), line)).collect()
    }
}

pub(crate) fn value(message: &Message) -> Value {
    serde_json::from_slice(message.value()).unwrap()
}

fn line(message: &Message) -> String {
    let value = value(message);
    let collection = value["namespace"]["collection"].as_str().unwrap();
    assert_eq!(message.topic, topic(collection));
    assert_eq!(value["position"].as_str().unwrap(), message.position.to_string());
    format!("{} {collection} {}", value["operation_type"].as_str().unwrap(), value["document_key"]["_id"])
}

#[track_caller]
pub(crate) fn assert_rising(positions: &[Position]) {
    for (index, pair) in positions.windows(2).enumerate() {
        assert!(pair[0] < pair[1], "event {}: {} then {}", index + 1, pair[0], pair[1]);
    }
}
