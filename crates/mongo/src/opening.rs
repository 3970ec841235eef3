//! How a stream is opened: at a time, behind a token, and by a token's time where the token itself is not found.

use bson::{RawDocument, RawDocumentBuf, Timestamp};
use bytes::Bytes;
use cdc_event::{ResumeToken, token_cluster_time};
use cdc_machine::Fault;
use cdc_ports::Failure;
use cdc_watcher::Reading;
use futures_util::StreamExt;
use mongodb::error::Error;
use mongodb::raw_batch_cursor::RawBatchCursor;

use crate::batch::BatchEncoder;
use crate::classify;
use crate::connection::Connection;
use crate::error_text::ErrorText;
use crate::pipeline::{Start, aggregate};
use crate::reply::{Unreadable, post_batch_token};
use crate::settings::MongoSettings;
use crate::stream::Stream;

pub(crate) const OPEN: &str = "change_stream_open";

/// What every opening is made with.
pub(crate) struct Opener<'a> {
    pub(crate) settings: &'a MongoSettings,
    pub(crate) connection: &'a Connection,
    pub(crate) reading: Reading,
}

impl Opener<'_> {
    /// Opens the stream at a time of the source's own clock.
    ///
    /// # Errors
    /// Whatever keeps it from opening, classified.
    pub(crate) async fn at(&self, time: Timestamp, encoder: &BatchEncoder) -> Result<Stream, Failure> {
        let (cursor, token) = self.cursor(&Start::At(time)).await.map_err(|error| self.failure(error))?;
        let at = encoder.token(&token).map_err(|error| {
            Failure::new(
                Fault::Fatal,
                OPEN,
                format!("{} gave a token of an unknown form", self.connection.place()),
            )
            .because(error)
        })?;
        Ok(Stream::new(cursor, at))
    }

    /// Opens the stream behind a token.
    ///
    /// # Errors
    /// Whatever keeps it from opening, classified.
    pub(crate) async fn after(&self, token: ResumeToken) -> Result<Stream, Failure> {
        let start = Start::After(self.document(&token.bson)?);
        match self.cursor(&start).await {
            Ok((cursor, _)) => Ok(Stream::new(cursor, token)),
            Err(OpenError::Server(error)) if classify::is_token_not_in_stream(&error) => {
                self.by_time(token, error).await
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// The token is not in the stream, though its event is in the history: the list of collections has changed.
    /// Nothing is lost: the stream is opened at the token's time, and what was delivered before is passed over.
    ///
    /// # Errors
    /// Whatever keeps it from opening, classified.
    pub(crate) async fn by_time(&self, token: ResumeToken, why: Error) -> Result<Stream, Failure> {
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
        let (cursor, _) = self.cursor(&start).await.map_err(|error| self.failure(error))?;
        let floor = token.position;
        let mut stream = Stream::new(cursor, token);
        stream.floor = Some(floor);
        // Once is enough: a second refusal is an answer.
        stream.is_fresh = false;
        Ok(stream)
    }

    /// Opens a cursor and returns it with its reply's token, which stands before the first event.
    async fn cursor(&self, start: &Start) -> Result<(RawBatchCursor, RawDocumentBuf), OpenError> {
        let Self { settings, connection, reading } = self;
        let action = connection
            .database()
            .run_cursor_command(aggregate(settings, start, *reading))
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

    /// The saved token as a document; it was one when it was saved.
    fn document(&self, bytes: &Bytes) -> Result<RawDocumentBuf, Failure> {
        RawDocument::from_bytes(bytes).map(RawDocument::to_owned).map_err(|error| {
            Failure::new(
                Fault::HistoryLost,
                OPEN,
                format!("the saved token for {} is not a BSON document", self.connection.place()),
            )
            .because(error)
        })
    }

    fn failure(&self, error: OpenError) -> Failure {
        match error {
            OpenError::Server(error) => self.connection.failure(OPEN, error),
            OpenError::Silent(failure) => failure,
            OpenError::Unreadable(Unreadable(what)) => Failure::new(
                Fault::Fatal,
                OPEN,
                format!("{} gave an unexpected reply: {what}", self.connection.place()),
            ),
        }
    }
}

/// Why a cursor could not be opened.
enum OpenError {
    Server(Error),
    Silent(Failure),
    Unreadable(Unreadable),
}
