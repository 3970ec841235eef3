use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cdc_event::{Message, Position, ResumeToken};
use cdc_machine::{Fault, Lineage, SeqNo};
use cdc_watcher::{
    Batching, CollectionId, Contents, Event, Known, Payload, Reading, RecordChange, StartAt, TopicState,
};

use super::World;
use cdc_ports::{
    Acquisition, Failure, Holder, Opening, Producer, ProducerReport, Recorded, ReportSink, SendRefused,
    Serves, Sighting, Source, SourceBatch, SourceIdentity, TokenRecord, TokenStore,
};

fn token(number: u32) -> ResumeToken {
    let position = Position::from_bytes(&number.to_be_bytes()).unwrap();
    ResumeToken { bson: Bytes::new(), position, rests_on: None }
}

/// The one collection's documents.
const CONTENTS: Contents = Contents::Uuid([1; 16]);

/// What a store holds that has saved the position before the first event.
fn record() -> TokenRecord {
    TokenRecord {
        token: token(0),
        lineage: Lineage(1),
        source: "rs0/db".to_owned(),
        collections: Vec::new(),
        saved_at_ms: 0,
        read_at_ms: 90_000,
        incarnation: 1,
        holder: None,
        gaps: Vec::new(),
    }
}

impl Source for World {
    async fn identify(&mut self) -> Result<SourceIdentity, Failure> {
        self.call("identify").map(|()| SourceIdentity::Watchable("rs0/db".to_owned()))
    }

    async fn open(&mut self, from: StartAt<ResumeToken>, _: Lineage, _: Reading) -> Result<Opening, Failure> {
        self.call("open")?;
        let at = match from {
            StartAt::After(token) => token,
            _ => token(0),
        };
        self.script().read = u32::from_be_bytes(at.position.as_bytes().try_into().unwrap());
        let sighting =
            Sighting { name: Arc::from("t"), contents: CONTENTS, serves: Serves::Changes, similar: None };
        Ok(Opening { looked_at: at.clone(), at, sightings: vec![sighting] })
    }

    async fn next(&mut self, _: u32, _: u64) -> Result<SourceBatch, Failure> {
        self.call("next")?;
        let next = {
            let mut script = self.script();
            let has_more = script.read < script.events;
            script.read += u32::from(has_more);
            has_more.then_some(script.read)
        };
        let Some(number) = next else {
            self.nudge.notified().await;
            return Ok(SourceBatch::default());
        };
        let token = token(number);
        let record = Message::new(Arc::from("t"), b"", b"", token.position);
        let event =
            Event { token, payload: Payload::Message { record, bytes: 1, collection: CollectionId(0) } };
        Ok(SourceBatch { events: vec![event], ..SourceBatch::default() })
    }

    fn count(
        &mut self,
        names: Vec<Arc<str>>,
    ) -> impl Future<Output = Vec<(Arc<str>, Option<u64>)>> + Send + 'static {
        std::future::ready(names.into_iter().map(|name| (name, Some(7))).collect())
    }

    async fn close(&mut self) {}
}

/// The producer needs a place for its reports.
pub(crate) struct Reporting {
    pub(crate) world: World,
    pub(crate) sink: Arc<ReportSink>,
}

impl Producer for Reporting {
    async fn prepare(&mut self, _: Batching) -> Result<Vec<TopicState>, Failure> {
        let topic = TopicState { partitions: 1, was_made: false, holds_messages: true, lineage: None };
        self.world.call("prepare").map(|()| vec![topic])
    }

    fn send_control(&mut self, seq: SeqNo, message: &Message) -> (u32, Option<Failure>) {
        match self.send(seq, message.clone(), 1) {
            Ok(()) => (1, None),
            Err(SendRefused::Failed(failure)) => (0, Some(failure)),
            Err(SendRefused::TooLarge(_)) => (0, None),
        }
    }

    fn send(&mut self, seq: SeqNo, _: Message, _: u32) -> Result<(), SendRefused> {
        self.sink.push(match self.world.call("publish") {
            Ok(()) => ProducerReport::Delivered(seq),
            Err(failure) => ProducerReport::Failed(seq, failure),
        });
        Ok(())
    }

    fn send_marker(&mut self, seq: SeqNo, marker: Message) -> Result<(), SendRefused> {
        self.send(seq, marker, 1)
    }

    fn purge_queued(&mut self) {}

    fn topics(&self) -> &[Arc<str>] {
        &[]
    }

    fn probe(&self) -> impl Future<Output = Result<Vec<u32>, Failure>> + Send + 'static {
        let answer = self.world.call("probe");
        async move { answer.map(|()| vec![1]) }
    }
}

impl TokenStore for World {
    fn set_source(&mut self, _: &str) {}

    async fn acquire(&mut self, _: bool) -> Result<Acquisition, Failure> {
        match self.call("lease") {
            // Somebody else has it.
            Err(failure) if failure.fault == Fault::Fenced => {
                let holder = Holder { instance: "vm2".to_owned(), process: None, is_living_namesake: false };
                let expires_in = Duration::from_secs(15);
                return Ok(Acquisition::Held { holder, expires_in, saved_ago: Some(Duration::from_secs(7)) });
            }
            answer => answer?,
        }
        let known = Known { contents: CONTENTS, partitions: Some(1), holds_messages: true };
        Ok(Acquisition::Position { record: Box::new(record()), known: vec![Some(known)] })
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        self.call("renew")
    }

    async fn save(
        &mut self,
        _: &ResumeToken,
        _: Lineage,
        _: &RecordChange<ResumeToken>,
    ) -> Result<Recorded, Failure> {
        self.call("save").map(|()| Recorded::default())
    }

    async fn release(&mut self) -> Result<(), Failure> {
        self.call("release")
    }

    async fn peek(&mut self) -> Result<Option<TokenRecord>, Failure> {
        self.call("peek").map(|()| None)
    }
}
