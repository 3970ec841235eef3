use std::future::Future;

use cdc_event::{Message, ResumeToken};
use cdc_machine::Lineage;
use cdc_watcher::{Contents, Event, Reading, StartAt};

use super::Failure;

/// The answer to one pull.
#[derive(Debug, Default)]
pub struct SourceBatch {
    /// In the source's order; at most as many as were asked for.
    pub events: Vec<Event<Message, ResumeToken>>,
    /// The post-batch token of an empty reply.
    pub idle: Option<ResumeToken>,
    /// Events without a document, by kind (`drop`, `rename`, `invalidate`, …), for the log and
    /// the metrics.
    pub skipped: Vec<&'static str>,
    /// Cluster time of the newest event, in Unix seconds; 0 where there is none.
    pub newest_unix_seconds: u32,
}

/// A stream that was opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The position before its first event.
    pub at: ResumeToken,
    /// The watched collections, in the order of the configuration's sorted list.
    pub contents: Vec<Contents>,
}

/// A change stream. One task owns it, and no call is cancelled half-way.
pub trait Source: Send + 'static {
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

    /// Closes the stream on the server too. A failure to do so is of no consequence.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}
