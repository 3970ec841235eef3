use std::future::Future;
use std::sync::Arc;

use bson::Timestamp;
use cdc_event::{ClusterTime, ResumeToken};
use cdc_machine::{Fault, Lineage};
use cdc_ports::{Failure, Opening, Sighting, Source, SourceBatch, SourceIdentity};
use cdc_watcher::{Reading, StartAt};

use crate::batch::BatchEncoder;
use crate::catalog;
use crate::classify;
use crate::connection::{Connection, Deployment};
use crate::history;
use crate::images;
use crate::lookout::{Lookout, Seen};
use crate::opening::{OPEN, Opener};
use crate::settings::{MongoSettings, UpdateImage};
use crate::stream::{Awaited, Cursor, READ, Stream};

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
        let encoder = BatchEncoder::new(&settings.database, &settings.collections, settings.tracing.clone());
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
        let at = Timestamp { time: time.t, increment: time.i };
        self.stream = Some(self.opener(&connection).at(at, &self.encoder).await?);
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

    const fn opener<'a>(&'a self, connection: &'a Connection) -> Opener<'a> {
        Opener { settings: &self.settings, connection, reading: self.reading }
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
                    self.stream = Some(self.opener(&connection).by_time(token, error).await?);
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
                self.stream = Some(self.opener(connection).after(stream.last).await?);
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
    async fn identify(&mut self) -> Result<SourceIdentity, Failure> {
        let name = match self.describe().await?.source_name(&self.settings.database) {
            Ok(name) => name,
            Err(text) => return Ok(SourceIdentity::Unwatchable(text)),
        };
        // With every name that cannot be watched.
        let complaints: Vec<String> = self.survey().await?.iter().filter_map(Sighting::complaint).collect();
        if complaints.is_empty() {
            return Ok(SourceIdentity::Watchable(name));
        }
        Ok(SourceIdentity::Unwatchable(complaints.join("; ")))
    }

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
        let stream = match from {
            StartAt::Now => self.opener(&connection).at(operation_time, &self.encoder).await?,
            StartAt::After(token) => {
                history::verify(&connection, &token).await?;
                self.opener(&connection).after(token).await?
            }
        };
        self.stream = Some(stream);
        self.opening(&connection).await
    }

    async fn next(&mut self, max_events: u32, max_bytes: u64) -> Result<SourceBatch, Failure> {
        let mut read = self.read(max_events, max_bytes).await;
        match (&mut read, &self.connection) {
            (Ok(batch), Some(connection)) => {
                let look = (connection, &self.names, self.settings.full_document);
                let Seen { sightings, history } = self.lookout.next(look, batch.looked_up > 0).await;
                (batch.sightings, batch.history) = (sightings, history);
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
