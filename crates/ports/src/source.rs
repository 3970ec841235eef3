use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cdc_event::{Message, ResumeToken};
use cdc_machine::{Lineage, labels};
use cdc_watcher::{Contents, Event, Reading, StartAt};

use crate::Failure;

/// The answer to one fetch.
#[derive(Debug, Default)]
pub struct SourceBatch {
    /// In the source's order; at most as many as were asked for.
    pub events: Vec<Event<Message, ResumeToken>>,
    /// The post-batch token of an empty reply.
    pub idle: Option<ResumeToken>,
    /// Events without a document, by kind (`drop`, `rename`, `invalidate`, …), for the log and
    /// the metrics.
    pub skipped: Vec<&'static str>,
    /// Updates that came without the post-image that was asked for, and whose documents were looked up.
    pub looked_up: u64,
    /// The watched names, where they were looked at since the last batch.
    pub sightings: Option<Vec<Sighting>>,
    /// How far back the source's history reaches, where it was looked at since the last batch.
    pub history: Option<Duration>,
    /// Cluster time of the newest event, in Unix seconds; 0 where there is none.
    pub newest_unix_seconds: u32,
    /// With `idle`: how far the source has searched behind its own clock, in seconds.
    pub behind_seconds: u32,
}

labels! {
    /// What the source has under a watched name: the label in metrics and on the status page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Serves {
        /// A collection, with all that is asked of it.
        Changes: "changes",
        /// Nothing. It may come.
        Absent: "absent",
        /// A view, which has no changes of its own.
        View: "view",
        /// A time-series collection, of which change streams tell nothing.
        TimeSeries: "time_series",
        /// A collection that does not record the post-images that are asked for.
        NoPostImages: "no_post_images",
    }
}

/// A watched name, as the source's catalog shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The name.
    pub name: Arc<str>,
    /// Which documents stand behind it.
    pub contents: Contents,
    /// What it gives.
    pub serves: Serves,
    /// Where there is nothing of this name, a name like it under which there is something.
    pub similar: Option<Arc<str>>,
}

impl Sighting {
    /// What is wrong with it, and what mends that; `None` where it can be watched.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let name = &self.name;
        match self.serves {
            Serves::Changes | Serves::Absent => None,
            Serves::View => Some(format!(
                "{name} is a view, which has no change stream; take it out of mongodb.collection and name the \
                 collection that it shows"
            )),
            Serves::TimeSeries => Some(format!(
                "{name} is a time-series collection, of which change streams tell nothing; take it out of \
                 mongodb.collection"
            )),
            Serves::NoPostImages => Some(format!(
                "{name} does not record post-images, which mongodb.full_document: post_image asks for; run \
                 db.runCommand({{collMod: {name:?}, changeStreamPreAndPostImages: {{enabled: true}}}}), or set \
                 mongodb.full_document: lookup"
            )),
        }
    }
}

/// What the source says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceIdentity {
    /// What is watched can be. The replica set's name and the database, `rs0/game_db`: the token record is made for it.
    Watchable(String),
    /// It is none that can be watched, or does not have what the configuration names in a way that can be; the text says
    /// what, and the way out.
    Unwatchable(String),
}

/// A stream that was opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The position before its first event.
    pub at: ResumeToken,
    /// The watched names, in the order of the configuration's sorted list.
    pub sightings: Vec<Sighting>,
    /// Everything before it had happened when they were seen. An order only: no stream begins there.
    pub looked_at: ResumeToken,
}

/// A change stream. One task owns it, and no call is cancelled half-way.
pub trait Source: Send + 'static {
    /// Says who the source is, and whether what is watched can be.
    ///
    /// # Errors
    /// Whatever keeps it from answering, classified.
    fn identify(&mut self) -> impl Future<Output = Result<SourceIdentity, Failure>> + Send;

    /// Opens the stream. One that is open already is closed first.
    ///
    /// # Errors
    /// Whatever keeps it from opening, classified; `HistoryLost` where the token has left the oplog.
    fn open(
        &mut self,
        from: StartAt<ResumeToken>,
        lineage: Lineage,
        reading: Reading,
    ) -> impl Future<Output = Result<Opening, Failure>> + Send;

    /// Reads at most this much, and waits a bounded time for the first event: the batch is empty when none
    /// came. A single event larger than `max_bytes` is delivered alone.
    ///
    /// # Errors
    /// Whatever broke the stream, classified; `TooLarge` where an event does not fit a reply. The stream is
    /// closed then.
    fn next(
        &mut self,
        max_events: u32,
        max_bytes: u64,
    ) -> impl Future<Output = Result<SourceBatch, Failure>> + Send;

    /// Counts the documents under these names, about; `None` where that cannot be told. It stands alone: the stream is read
    /// meanwhile.
    fn count(
        &mut self,
        names: Vec<Arc<str>>,
    ) -> impl Future<Output = Vec<(Arc<str>, Option<u64>)>> + Send + 'static;

    /// Closes the stream on the server too. A failure to do so is of no consequence.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}
