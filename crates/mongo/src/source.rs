use std::time::Duration;

use bson::{RawDocument, RawDocumentBuf, Timestamp};
use bytes::Bytes;
use cdc_event::{ClusterTime, Position, ResumeToken, token_cluster_time};
use cdc_executor::ports::{Failure, Opening, Source, SourceBatch};
use cdc_machine::{Fault, Lineage};
use cdc_watcher::{Reading, StartAt};
use futures_util::StreamExt;
use mongodb::error::Error;
use mongodb::raw_batch_cursor::RawBatchCursor;
use tokio::time::Instant;

use crate::batch::{BatchEncoder, BatchError};
use crate::classify;
use crate::connection::{Connection, Deployment};
use crate::pipeline::{Start, aggregate};
use crate::reader::Reader;
use crate::reply::{Reply, Unreadable, post_batch_token};
use crate::settings::MongoSettings;

const OPEN: &str = "change_stream_open";
const READ: &str = "change_stream_read";

/// How long a reply may stay out before the server is asked for a sign of life. It answers within
/// `max_await` when it has caught up; while it searches its history it says nothing.
const SILENCE_BEFORE_PING: Duration = Duration::from_secs(5);
/// How long the server may search its history before the stream counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// A change stream over one database, filtered to the watched collections.
pub struct MongoSource {
    settings: MongoSettings,
    encoder: BatchEncoder,
    connection: Option<Connection>,
    stream: Option<Stream>,
    /// How it was opened last.
    reading: Reading,
}

/// An open stream.
struct Stream {
    cursor: Cursor,
    /// The reply in hand, where a part of it is still to be read.
    reply: Option<Reply>,
    /// The last token that was handed out, or at which the stream was opened.
    last: ResumeToken,
    /// True where the last event was an `invalidate`: the server closes the cursor behind it.
    invalidated: bool,
    /// True until the first reply: a token that is not in the stream shows by then.
    is_fresh: bool,
    /// Events up to here were delivered before: the stream was opened by time.
    floor: Option<Position>,
    silent_since: Instant,
}

#[expect(clippy::large_enum_variant, reason = "there is one, and it lives on the lane's stack")]
/// Not read before the first call of `next`: the start position is saved first.
enum Cursor {
    Open(RawBatchCursor),
    Read(Reader),
    Closed,
}

/// What the wait for a reply came to.
enum Awaited {
    Reply(Reply),
    /// The server lives, but has nothing to say yet.
    Nothing,
    /// The server has closed the cursor.
    End,
    Broken(Error),
}

impl MongoSource {
    /// A source for these settings. It connects at its first call.
    ///
    /// # Errors
    /// `Fatal` where no collection is named.
    pub fn new(settings: MongoSettings) -> Result<Self, Failure> {
        if settings.collections.is_empty() {
            let text = "mongodb.collection names no collection; name one or a list";
            return Err(Failure::new(Fault::Fatal, OPEN, text));
        }
        let encoder = BatchEncoder::new(&settings.database, &settings.collections);
        Ok(Self { settings, encoder, connection: None, stream: None, reading: Reading::Whole })
    }

    /// Says what the other end is; refuses what cannot have change streams.
    ///
    /// # Errors
    /// Whatever keeps it from answering, classified.
    pub async fn describe(&mut self) -> Result<Deployment, Failure> {
        self.connection().await?.describe().await
    }

    /// Opens the stream at a time of the source's own clock.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub async fn open_at(&mut self, time: ClusterTime, lineage: Lineage) -> Result<Opening, Failure> {
        self.close().await;
        self.encoder.begin(lineage);
        let connection = self.connection().await?;
        self.open_now(&connection, Timestamp { time: time.t, increment: time.i }).await?;
        self.opening(&connection).await
    }

    async fn opening(&mut self, connection: &Connection) -> Result<Opening, Failure> {
        let contents = connection.contents(&self.settings.collections).await?;
        match &self.stream {
            Some(stream) => Ok(Opening { at: stream.last.clone(), contents }),
            None => Err(Failure::new(Fault::Fatal, OPEN, "the change stream was opened and is not there")),
        }
    }

    /// The client; made once, since it follows elections by itself.
    async fn connection(&mut self) -> Result<Connection, Failure> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let connection = Connection::new(&self.settings).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Opens a cursor and returns it with its reply's token, which stands before the first event.
    async fn open_cursor(
        settings: &MongoSettings,
        connection: &Connection,
        start: &Start,
        reading: Reading,
    ) -> Result<(RawBatchCursor, RawDocumentBuf), OpenError> {
        let command = aggregate(settings, start, reading);
        let action = connection
            .database()
            .run_cursor_command(command)
            .batch_size(settings.batch_events)
            .max_time(settings.max_await);
        let action = match connection.selection() {
            Some(selection) => action.selection_criteria(selection),
            None => action,
        };
        let mut cursor = action.batch().await.map_err(OpenError::Server)?;
        // The aggregate's own reply: no request is made for it.
        let reply = match cursor.next().await {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => return Err(OpenError::Server(error)),
            None => return Err(OpenError::Unreadable(Unreadable("no first batch"))),
        };
        let token = post_batch_token(reply.as_raw_document()).map_err(OpenError::Unreadable)?.to_owned();
        Ok((cursor, token))
    }

    async fn open_after(&mut self, connection: &Connection, token: ResumeToken) -> Result<(), Failure> {
        let start = Start::After(document(&token.bson, connection, OPEN)?);
        let opened = match Self::open_cursor(&self.settings, connection, &start, self.reading).await {
            Err(OpenError::Server(error)) if classify::is_token_not_in_stream(&error) => {
                return self.open_by_time(connection, token, error).await;
            }
            opened => opened,
        };
        let (cursor, _) = opened.map_err(|error| error.into_failure(connection))?;
        self.stream = Some(Stream::new(cursor, token));
        Ok(())
    }

    /// The token is not in the stream: the list of collections has changed. If its time is still in the
    /// history nothing is lost: the stream is opened there, and what was delivered before is passed over.
    async fn open_by_time(
        &mut self,
        connection: &Connection,
        token: ResumeToken,
        why: Error,
    ) -> Result<(), Failure> {
        let time = token_cluster_time(&token.bson).map_err(|error| {
            Failure::new(Fault::HistoryLost, OPEN, "the saved token tells no cluster time").because(error)
        })?;
        tracing::warn!(
            operation = OPEN,
            cluster_time = time.t,
            error = %why,
            "the token is not in the stream, as after a change of the collections; going on by its time"
        );
        let start = Start::At(Timestamp { time: time.t, increment: time.i });
        let opened = Self::open_cursor(&self.settings, connection, &start, self.reading).await;
        let (cursor, _) = opened.map_err(|error| error.into_failure(connection))?;
        let floor = token.position;
        let mut stream = Stream::new(cursor, token);
        stream.floor = Some(floor);
        // Once is enough: a second refusal is an answer.
        stream.is_fresh = false;
        self.stream = Some(stream);
        Ok(())
    }

    async fn open_now(&mut self, connection: &Connection, operation_time: Timestamp) -> Result<(), Failure> {
        let opened =
            Self::open_cursor(&self.settings, connection, &Start::At(operation_time), self.reading).await;
        let (cursor, token) = opened.map_err(|error| error.into_failure(connection))?;
        let at = self.encoder.token(&token).map_err(|error| {
            Failure::new(
                Fault::Fatal,
                OPEN,
                format!("{} gave a token of an unknown form", connection.place()),
            )
            .because(error)
        })?;
        self.stream = Some(Stream::new(cursor, at));
        Ok(())
    }

    /// A batch out of the reply in hand, or out of the next one.
    async fn read(&mut self, max_events: u32, max_bytes: u64) -> Result<SourceBatch, Failure> {
        let connection = self.connection().await?;
        let Some(stream) = &mut self.stream else {
            return Err(Failure::new(Fault::Fatal, READ, "the change stream is read, but it is not open"));
        };
        if stream.reply.is_none() {
            match stream.await_reply(&connection).await? {
                Awaited::Reply(reply) => stream.reply = Some(reply),
                Awaited::Nothing => return Ok(SourceBatch::default()),
                Awaited::End => return self.go_on_after_end(&connection).await,
                Awaited::Broken(error) if stream.is_fresh && classify::is_token_not_in_stream(&error) => {
                    let token = stream.last.clone();
                    self.close().await;
                    self.open_by_time(&connection, token, error).await?;
                    return Ok(SourceBatch::default());
                }
                Awaited::Broken(error) => return Err(connection.failure(READ, error)),
            }
        }
        stream.is_fresh = false;
        let encoded = stream.encode(&mut self.encoder, max_events, max_bytes);
        encoded.map_err(|error| {
            let text = format!("{} sent what cannot be read as change events", connection.place());
            Failure::new(Fault::Fatal, READ, text).because(error)
        })
    }

    /// The cursor is at its end. Behind an `invalidate` (the database was dropped) a new stream begins;
    /// anywhere else the server has broken it off.
    async fn go_on_after_end(&mut self, connection: &Connection) -> Result<SourceBatch, Failure> {
        match self.stream.take() {
            Some(stream) if stream.invalidated => {
                tracing::info!(operation = READ, "the stream was invalidated; going on behind it");
                self.open_after(connection, stream.last).await?;
                Ok(SourceBatch::default())
            }
            _ => Err(Failure::new(
                Fault::Transient,
                READ,
                format!("{} closed the change stream's cursor; opening it again", connection.place()),
            )),
        }
    }
}

impl Source for MongoSource {
    async fn open(
        &mut self,
        from: StartAt<ResumeToken>,
        lineage: Lineage,
        reading: Reading,
    ) -> Result<Opening, Failure> {
        self.close().await;
        self.encoder.begin(lineage);
        self.reading = reading;
        let connection = self.connection().await?;
        let deployment = connection.describe().await?;
        match from {
            StartAt::Now => self.open_now(&connection, deployment.operation_time).await?,
            StartAt::After(token) => self.open_after(&connection, token).await?,
        }
        self.opening(&connection).await
    }

    async fn next(&mut self, max_events: u32, max_bytes: u64) -> Result<SourceBatch, Failure> {
        let read = self.read(max_events, max_bytes).await;
        if read.is_err() {
            self.close().await;
        }
        read
    }

    async fn close(&mut self) {
        if let Some(Stream { cursor: Cursor::Read(reader), .. }) = self.stream.take() {
            reader.close().await;
        }
    }
}

impl Stream {
    fn new(cursor: RawBatchCursor, at: ResumeToken) -> Self {
        Self {
            cursor: Cursor::Open(cursor),
            reply: None,
            last: at,
            invalidated: false,
            is_fresh: true,
            floor: None,
            silent_since: Instant::now(),
        }
    }

    /// Waits for the next reply, but not for ever.
    async fn await_reply(&mut self, connection: &Connection) -> Result<Awaited, Failure> {
        self.cursor = match std::mem::replace(&mut self.cursor, Cursor::Closed) {
            Cursor::Open(cursor) => {
                self.silent_since = Instant::now();
                Cursor::Read(Reader::start(cursor))
            }
            other => other,
        };
        let Cursor::Read(reader) = &mut self.cursor else { return Ok(Awaited::End) };
        let Ok(reply) = tokio::time::timeout(SILENCE_BEFORE_PING, reader.next()).await else {
            return self.outlast_silence(connection).await;
        };
        self.silent_since = Instant::now();
        Ok(match reply {
            Some(Ok(batch)) => Awaited::Reply(Reply::new(batch)),
            Some(Err(error)) => Awaited::Broken(error),
            None => Awaited::End,
        })
    }

    /// No reply for a while: a server that answers a ping is searching, one that does not is gone.
    async fn outlast_silence(&mut self, connection: &Connection) -> Result<Awaited, Failure> {
        connection.ping(READ).await?;
        if self.silent_since.elapsed() > SILENCE_MAX {
            return Err(Failure::new(
                Fault::Transient,
                READ,
                format!(
                    "{} has not answered a getMore for {SILENCE_MAX:?}; opening the stream again",
                    connection.place()
                ),
            ));
        }
        Ok(Awaited::Nothing)
    }

    /// Encodes what is left of the reply, up to the bounds. The reply is put away once it is read.
    fn encode(
        &mut self,
        encoder: &mut BatchEncoder,
        max_events: u32,
        max_bytes: u64,
    ) -> Result<SourceBatch, BatchError> {
        let Some(mut reply) = self.reply.take() else { return Ok(SourceBatch::default()) };
        let filled =
            encoder.fill(&mut reply, self.last.position, self.floor.as_ref(), max_events, max_bytes)?;
        if let Some(event) = filled.batch.events.last() {
            self.last = event.token.clone();
            self.invalidated = filled.invalidated;
        } else if let Some(idle) = &filled.batch.idle
            && !self.invalidated
        {
            self.last = idle.clone();
        }
        if !filled.is_read {
            self.reply = Some(reply);
        }
        Ok(filled.batch)
    }
}

/// Why a cursor could not be opened.
enum OpenError {
    Server(Error),
    Unreadable(Unreadable),
}

impl OpenError {
    fn into_failure(self, connection: &Connection) -> Failure {
        match self {
            Self::Server(error) => connection.failure(OPEN, error),
            Self::Unreadable(unreadable) => Failure::new(
                Fault::Fatal,
                OPEN,
                format!("{} gave an unexpected reply: {}", connection.place(), unreadable.0),
            ),
        }
    }
}

/// The saved token as a document; it was one when it was saved.
fn document(
    bytes: &Bytes,
    connection: &Connection,
    operation: &'static str,
) -> Result<RawDocumentBuf, Failure> {
    RawDocument::from_bytes(bytes).map(RawDocument::to_owned).map_err(|error| {
        Failure::new(
            Fault::HistoryLost,
            operation,
            format!("the saved token for {} is not a BSON document", connection.place()),
        )
        .because(error)
    })
}
