use std::future::Future;
use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf, Timestamp};
use bytes::Bytes;
use cdc_event::{ClusterTime, ResumeToken, token_cluster_time};
use cdc_machine::{Fault, Lineage};
use cdc_ports::{Failure, Opening, Sighting, Source, SourceBatch};
use cdc_watcher::{Reading, StartAt};
use futures_util::StreamExt;
use mongodb::error::Error;
use mongodb::raw_batch_cursor::RawBatchCursor;

use crate::batch::BatchEncoder;
use crate::catalog;
use crate::classify;
use crate::connection::{Connection, Deployment};
use crate::error_text::ErrorText;
use crate::history;
use crate::images;
use crate::lookout::Lookout;
use crate::pipeline::{Start, aggregate};
use crate::reply::{Unreadable, post_batch_token};
use crate::settings::{MongoSettings, UpdateImage};
use crate::stream::{Awaited, Cursor, READ, Stream};

const OPEN: &str = "change_stream_open";
/// A change stream over one database, filtered to the watched collections.
pub struct MongoSource {
    settings: MongoSettings,
    encoder: BatchEncoder,
    connection: Option<Connection>,
    stream: Option<Stream>,
    /// How it was opened last.
    reading: Reading,
    /// The watched names, sorted.
    names: Arc<[Arc<str>]>,
    lookout: Lookout,
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
        let mut names: Vec<Arc<str>> =
            settings.collections.iter().map(|(name, _)| Arc::from(name.as_str())).collect();
        names.sort();
        Ok(Self {
            settings,
            encoder,
            connection: None,
            stream: None,
            reading: Reading::Whole,
            names: names.into(),
            lookout: Lookout::default(),
        })
    }

    /// What stands behind the watched names, in their sorted order.
    ///
    /// # Errors
    /// Whatever keeps the source from answering, classified.
    pub async fn survey(&mut self) -> Result<Vec<Sighting>, Failure> {
        let connection = self.connection().await?;
        let look = catalog::look(&connection, &self.names, self.settings.full_document).await?;
        Ok(look.sightings)
    }

    /// Says what the other end is.
    ///
    /// # Errors
    /// Whatever keeps it from answering, classified.
    pub async fn describe(&mut self) -> Result<Deployment, Failure> {
        self.connection().await?.describe().await
    }

    /// Opens the stream at a time of the source's own clock.
    ///
    /// # Errors
    /// As [`Source::open`]; `HistoryLost` also for a time before the oplog's beginning, which MongoDB itself accepts as
    /// long as nothing has left the oplog: what happened before is in no stream.
    pub async fn open_at(&mut self, time: ClusterTime, lineage: Lineage) -> Result<Opening, Failure> {
        self.close().await;
        self.encoder.begin(lineage);
        let connection = self.connection().await?;
        self.refuse_before_oplog(&connection, time).await?;
        self.open_now(&connection, Timestamp { time: time.t, increment: time.i }).await?;
        self.opening(&connection).await
    }

    async fn refuse_before_oplog(&self, connection: &Connection, time: ClusterTime) -> Result<(), Failure> {
        let Some(begin) = connection.oplog_begin().await? else { return Ok(()) };
        if (time.t, time.i) >= (begin.time, begin.increment) {
            return Ok(());
        }
        // A whole second at which everything is there.
        let first = in_words(begin.time.saturating_add(u32::from(begin.increment > 1)));
        let asked = in_words(time.t);
        let text = format!(
            "{} has an oplog from {first} on, and {asked} is before that: what happened between is in no stream. Take {first} or a \
             later time, and import what is older",
            connection.place()
        );
        Err(Failure::new(Fault::HistoryLost, OPEN, text))
    }

    async fn opening(&mut self, connection: &Connection) -> Result<Opening, Failure> {
        let mut look = catalog::look(connection, &self.names, self.settings.full_document).await?;
        catalog::suggest(connection, &mut look.sightings).await;
        self.lookout.looked(&look.sightings);
        let looked_at = self.encoder.before_all_of(look.at);
        match &self.stream {
            Some(stream) => Ok(Opening { at: stream.last.clone(), sightings: look.sightings, looked_at }),
            None => Err(Failure::new(Fault::Bug, OPEN, "the change stream was opened and is not there")),
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
        let opening = async {
            let mut cursor = action.batch().await?;
            // The aggregate's own reply: no request is made for it.
            let reply = cursor.next().await.transpose()?;
            Ok((cursor, reply))
        };
        // An empty first batch is asked for, so that nothing is searched before the answer.
        let answered = connection.answered(OPEN, connection.patience(), opening).await;
        let (cursor, reply) = answered.map_err(OpenError::Silent)?.map_err(OpenError::Server)?;
        let reply = reply.ok_or(OpenError::Unreadable(Unreadable("no first batch")))?;
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

    /// The token is not in the stream, though its event is in the history: the list of collections has changed.
    /// Nothing is lost: the stream is opened at the token's time, and what was delivered before is passed over.
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
            error = %ErrorText::new(&why),
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
            return Err(Failure::new(Fault::Bug, READ, "the change stream is read, but it is not open"));
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
        if self.settings.full_document == UpdateImage::PostImage
            && let Some(reply) = &mut stream.reply
        {
            images::look_up(&connection, reply).await?;
        }
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

/// A time of the source's clock as `cdc token reset --to` takes it.
fn in_words(seconds: u32) -> String {
    let time = bson::DateTime::from_millis(i64::from(seconds) * 1000);
    time.try_to_rfc3339_string().unwrap_or_else(|_| format!("second {seconds}"))
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
        let operation_time = match connection.describe().await? {
            Deployment::ReplicaSet { operation_time, .. } => operation_time,
            Deployment::Unfit(text) => return Err(Failure::new(Fault::Fatal, OPEN, text)),
        };
        match from {
            StartAt::Now => self.open_now(&connection, operation_time).await?,
            StartAt::After(token) => {
                history::verify(&connection, &token).await?;
                self.open_after(&connection, token).await?;
            }
        }
        self.opening(&connection).await
    }

    async fn next(&mut self, max_events: u32, max_bytes: u64) -> Result<SourceBatch, Failure> {
        let mut read = self.read(max_events, max_bytes).await;
        match (&mut read, &self.connection) {
            (Ok(batch), Some(connection)) => {
                let look = (connection, &self.names, self.settings.full_document);
                batch.sightings = self.lookout.next(look, batch.looked_up > 0).await;
            }
            (Ok(_), None) => {}
            (Err(_), _) => self.close().await,
        }
        read
    }

    fn count(
        &mut self,
        names: Vec<Arc<str>>,
    ) -> impl Future<Output = Vec<(Arc<str>, Option<u64>)>> + Send + 'static {
        let connection = self.connection.clone();
        async move {
            let mut counted = Vec::with_capacity(names.len());
            for name in names {
                let documents = match &connection {
                    Some(connection) => catalog::count(connection, &name).await,
                    None => None,
                };
                counted.push((name, documents));
            }
            counted
        }
    }

    async fn close(&mut self) {
        if let Some(Stream { cursor: Cursor::Read(reader), .. }) = self.stream.take() {
            reader.close().await;
        }
    }
}

/// Why a cursor could not be opened.
enum OpenError {
    Server(Error),
    Silent(Failure),
    Unreadable(Unreadable),
}

impl OpenError {
    fn into_failure(self, connection: &Connection) -> Failure {
        match self {
            Self::Server(error) => connection.failure(OPEN, error),
            Self::Silent(failure) => failure,
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
