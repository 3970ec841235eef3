//! Events out of a reply into one buffer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bson::{RawDocument, Timestamp};
use bytes::Bytes;
use cdc_event::{
    ClusterTime, Control, EncodeError, Encoded, Encoder, EventTrace, GapNotice, Kind, Message, Position,
    ResumeToken, TokenError,
};
use cdc_machine::Lineage;
use cdc_ports::SourceBatch;
use cdc_watcher::{CollectionId, Event, GapCause, Notice, Payload};

use crate::reply::{ServerReply, Unreadable};
use crate::sampler::Sampler;
use crate::settings::EventTracing;

/// What a token takes, about: `_data` of a document with an ObjectId, and a little more.
const TOKEN_BYTES: usize = 256;
/// What a message takes, about, before any was seen.
const FIRST_MESSAGE_BYTES: usize = 1_024;
/// No buffer is made larger than this ahead of need.
const RESERVE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Encodes batches. It keeps the encoder's scratch from batch to batch.
pub(crate) struct BatchEncoder {
    encoder: Encoder,
    lineage: Lineage,
    database: Box<str>,
    /// The watched collections, sorted, each with its topic.
    topics: Vec<(Box<str>, Arc<str>)>,
    /// What a message of the last batch took on average: the next buffer is sized by it.
    message_bytes: usize,
    sampler: Sampler,
}

/// A batch, and what it says of the stream.
pub(crate) struct Filled {
    pub(crate) batch: SourceBatch,
    /// True where the last event was an `invalidate`.
    pub(crate) invalidated: bool,
    /// True where nothing is left of the reply.
    pub(crate) is_read: bool,
}

/// What a reply holds that is no change event.
#[derive(Debug)]
pub(crate) enum BatchError {
    Reply(&'static str),
    Event(EncodeError),
    Token(TokenError),
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(what) => write!(f, "the reply has {what}"),
            Self::Event(error) => error.fmt(f),
            Self::Token(error) => write!(f, "the idle token: {error}"),
        }
    }
}

impl std::error::Error for BatchError {}

impl From<Unreadable> for BatchError {
    fn from(Unreadable(what): Unreadable) -> Self {
        Self::Reply(what)
    }
}

/// Where one event's parts stand in the buffers.
struct Placed {
    what: What,
    key: Range<usize>,
    value: Range<usize>,
    token: Range<usize>,
    position: Position,
    trace: Option<Box<EventTrace>>,
}

/// What becomes of an event.
enum What {
    Skip,
    Message(CollectionId, Arc<str>),
    /// The server left out this many bytes of documents.
    Oversized(Arc<str>, u64),
    Control {
        notices: Vec<Notice<Message>>,
        gone: Vec<CollectionId>,
        replaced: Vec<CollectionId>,
    },
}

/// The buffers of one batch. Tokens have one of their own: a token is kept until it is saved, and must not
/// keep the documents.
#[derive(Default)]
struct Buffers {
    messages: Vec<u8>,
    tokens: Vec<u8>,
    placed: Vec<Placed>,
}

impl BatchEncoder {
    pub(crate) fn new(database: &str, collections: &[(String, Arc<str>)], tracing: EventTracing) -> Self {
        let mut topics: Vec<(Box<str>, Arc<str>)> =
            collections.iter().map(|(name, topic)| (name.as_str().into(), Arc::clone(topic))).collect();
        topics.sort();
        let lineage = Lineage(0);
        Self {
            encoder: Encoder::new(lineage.0),
            lineage,
            database: database.into(),
            topics,
            message_bytes: FIRST_MESSAGE_BYTES,
            sampler: Sampler::new(tracing),
        }
    }

    /// Positions belong to this lineage from now on.
    pub(crate) fn begin(&mut self, lineage: Lineage) {
        self.lineage = lineage;
        self.encoder = Encoder::new(lineage.0);
    }

    /// A token with its position.
    pub(crate) fn token(&self, token: &RawDocument) -> Result<ResumeToken, TokenError> {
        ResumeToken::from_bson(Bytes::copy_from_slice(token.as_bytes()), self.lineage.0)
    }

    /// An order behind everything that happened before this time.
    pub(crate) fn before_all_of(&self, time: Timestamp) -> ResumeToken {
        let time = ClusterTime { t: time.time, i: time.increment };
        let position = Position::before_all_of(self.lineage.0, time);
        ResumeToken { bson: Bytes::new(), position, rests_on: None }
    }

    /// Encodes at most this much of the reply; a lone event may be larger than `max_bytes`. `last` is the
    /// position before it; events at or below `floor` are passed over.
    ///
    /// An event that cannot be encoded ends the batch before it, and is the error of the next one.
    pub(crate) fn fill(
        &mut self,
        reply: &mut ServerReply,
        last: &ResumeToken,
        floor: Option<&Position>,
        max_events: u32,
        max_bytes: u64,
    ) -> Result<Filled, BatchError> {
        let max_events = usize::try_from(max_events.max(1)).unwrap_or(usize::MAX);
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let mut buffers = self.buffers(reply, max_events, max_bytes);
        let mut batch = SourceBatch::default();
        let mut invalidated = false;
        let mut is_read = false;
        let mut passed_over = false;
        while buffers.placed.len() < max_events {
            let (messages_before, tokens_before) = (buffers.messages.len(), buffers.tokens.len());
            let Some((event, behind)) = reply.peek()? else {
                is_read = true;
                break;
            };
            if reply.images.as_ref().is_some_and(|images| images.through <= reply.at()) {
                // What the rest lacks is looked up first.
                break;
            }
            let image = reply.images.as_ref().and_then(|images| images.found.get(&reply.at()));
            let (messages, tokens) = (&mut buffers.messages, &mut buffers.tokens);
            let encoded = match image {
                None => self.encoder.encode(event, messages, tokens),
                Some(found) => self.encoder.encode_with(event, found.as_deref(), messages, tokens),
            };
            let encoded = match encoded {
                Ok(encoded) => encoded,
                Err(_) if !buffers.placed.is_empty() => break,
                Err(error) => return Err(BatchError::Event(error)),
            };
            if buffers.messages.len() > max_bytes && !buffers.placed.is_empty() {
                buffers.messages.truncate(messages_before);
                buffers.tokens.truncate(tokens_before);
                break;
            }
            if floor.is_some_and(|floor| encoded.position <= *floor) {
                buffers.messages.truncate(messages_before);
                buffers.tokens.truncate(tokens_before);
                passed_over = true;
                reply.advance(behind);
                continue;
            }
            batch.newest_unix_seconds = encoded.cluster_time.t;
            invalidated = encoded.kind == Kind::Other("invalidate");
            if !encoded.kind.is_document() {
                batch.skipped.push(encoded.kind.name());
            }
            batch.looked_up += u64::from(image.is_some());
            let before = buffers.placed.last().map_or(last.position, |placed| placed.position);
            let what = classify(&self.database, &self.topics, &encoded, before);
            if matches!(what, What::Skip) {
                buffers.messages.truncate(messages_before);
            }
            let trace = match what {
                What::Message(..) | What::Oversized(..) => {
                    self.sampler.trace(event, &encoded, reply.arrived())
                }
                What::Skip | What::Control { .. } => None,
            };
            let (key, value, token) = (encoded.key, encoded.value, encoded.token);
            buffers.placed.push(Placed { what, key, value, token, position: encoded.position, trace });
            reply.advance(behind);
        }
        // An event right behind the last one taken is no reason to come again.
        let is_read = is_read || reply.peek()?.is_none();
        if buffers.placed.is_empty() && is_read && !passed_over {
            (batch.idle, batch.behind_seconds) = self.idle(reply, last)?;
        }
        self.message_bytes = buffers.message_bytes().unwrap_or(self.message_bytes);
        batch.events = buffers.into_events();
        Ok(Filled { batch, invalidated, is_read })
    }

    /// Buffers of about the size that the batch will have.
    fn buffers(&self, reply: &ServerReply, max_events: usize, max_bytes: usize) -> Buffers {
        // An event takes about as much as its message: so many may be left.
        let events = max_events.min(reply.bytes_left() / self.message_bytes + 1);
        let expected = events.saturating_mul(self.message_bytes + self.message_bytes / 8);
        let mut buffers = Buffers::default();
        buffers.messages.reserve(expected.min(max_bytes).min(RESERVE_BYTES_MAX));
        buffers.tokens.reserve(events.saturating_mul(TOKEN_BYTES).min(RESERVE_BYTES_MAX));
        buffers
    }

    /// The position that an empty reply gives, and how far behind the source's own clock it stands, in seconds: a server
    /// that has not searched all of its history yet answers with nothing, too.
    fn idle(
        &self,
        reply: &ServerReply,
        last: &ResumeToken,
    ) -> Result<(Option<ResumeToken>, u32), BatchError> {
        let idle = self.token(reply.post_batch_token()?).map_err(BatchError::Token)?;
        let searched = idle.position.cluster_time().map(|time| time.t);
        let behind = reply.operation_seconds().zip(searched);
        let behind = behind.map_or(0, |(now, searched)| now.saturating_sub(searched));
        Ok((Some(ResumeToken { rests_on: idle.rests_on.or(last.rests_on), ..idle }), behind))
    }
}

/// What an event is to the watched collections, which are sorted.
fn classify(
    database: &str,
    topics: &[(Box<str>, Arc<str>)],
    encoded: &Encoded<'_>,
    before: Position,
) -> What {
    let find = |within: &str, collection: &str| {
        let index = topics.binary_search_by(|(name, _)| (**name).cmp(collection)).ok();
        index
            .filter(|_| within == database)
            .and_then(|index| Some((CollectionId(u16::try_from(index).ok()?), &topics[index].1)))
    };
    let source = find(encoded.database, encoded.collection);
    match (encoded.kind, source) {
        (Kind::Other("drop"), Some((id, _))) => {
            let notice = control(Control::Drop { collection: encoded.collection }, encoded);
            What::Control { notices: vec![notice], gone: vec![id], replaced: Vec::new() }
        }
        (Kind::Other("rename"), source) => {
            let target = find(encoded.renamed_to.0, encoded.renamed_to.1).map(|(id, _)| id);
            let renamed = Control::Rename { collection: encoded.collection, to: encoded.renamed_to };
            let mut notices = vec![control(renamed, encoded)];
            if target.is_some() {
                let collections = [encoded.renamed_to.1.to_owned()];
                let gap = GapNotice {
                    from: Some(before),
                    to: encoded.position,
                    cause: GapCause::CollectionReplaced.as_str(),
                    collections: &collections,
                };
                notices.push(control(Control::Gap(gap), encoded));
            }
            let gone = source.map(|(id, _)| id).into_iter().collect();
            What::Control { notices, gone, replaced: target.into_iter().collect() }
        }
        (Kind::Other(_), _) | (_, None) => What::Skip,
        (_, Some((id, topic))) => match encoded.omitted_bytes {
            Some(bytes) => What::Oversized(Arc::clone(topic), bytes),
            None => What::Message(id, Arc::clone(topic)),
        },
    }
}

fn control(control: Control<'_>, encoded: &Encoded<'_>) -> Notice<Message> {
    let record = control.message(encoded.database, encoded.position, encoded.cluster_time);
    Notice { bytes: record.bytes(), record }
}

impl Buffers {
    /// The average message; `None` without one.
    fn message_bytes(&self) -> Option<usize> {
        let average = self.messages.len().checked_div(self.placed.len())?;
        (average > 0).then_some(average)
    }

    /// Freezes both buffers and cuts them into events.
    fn into_events(self) -> Vec<Event<Message, ResumeToken>> {
        let (messages, tokens) = (Bytes::from(self.messages), Bytes::from(self.tokens));
        let cut = |placed: Placed| {
            let position = placed.position;
            let rests_on = position.cluster_time();
            let token = ResumeToken { bson: tokens.slice(placed.token), position, rests_on };
            let payload = match placed.what {
                What::Skip => Payload::Skip,
                What::Message(collection, topic) => {
                    // The key stands behind the value.
                    let content = messages.slice(placed.value.start..placed.key.end);
                    let mut record = Message::of_content(topic, content, placed.value.len(), position);
                    record.trace = placed.trace;
                    Payload::Message { bytes: record.bytes(), record, collection }
                }
                // Nobody has seen the documents: there is a size, and no hash.
                What::Oversized(topic, bytes) => {
                    let size = format!("size={bytes}");
                    let mut marker = Message::new(topic, &messages[placed.key], size.as_bytes(), position);
                    marker.trace = placed.trace;
                    Payload::Oversized { marker }
                }
                What::Control { notices, gone, replaced } => Payload::Control { notices, gone, replaced },
            };
            Event { token, payload }
        };
        self.placed.into_iter().map(cut).collect()
    }
}
