//! An open stream: its cursor, the reply in hand, and how far both were read.

use std::time::Duration;

use cdc_event::{Position, ResumeToken};
use cdc_machine::Fault;
use cdc_ports::{Failure, SourceBatch};
use mongodb::error::Error;
use mongodb::raw_batch_cursor::RawBatchCursor;
use tokio::time::Instant;

use crate::batch::{BatchEncoder, BatchError};
use crate::connection::Connection;
use crate::reader::Reader;
use crate::reply::ServerReply;

pub(crate) const READ: &str = "change_stream_read";

/// How long a reply may stay out before the server is asked for a sign of life. It answers within
/// `max_await` when it has caught up; while it searches its history it says nothing.
const SILENCE_BEFORE_PING: Duration = Duration::from_secs(5);
/// How long the server may search its history before the stream counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// An open stream.
pub(crate) struct Stream {
    pub(crate) cursor: Cursor,
    /// The reply in hand, where a part of it is still to be read.
    pub(crate) reply: Option<ServerReply>,
    /// The last token that was handed out, or at which the stream was opened.
    pub(crate) last: ResumeToken,
    /// True where the last event was an `invalidate`: the server closes the cursor behind it.
    pub(crate) invalidated: bool,
    /// True until the first reply: a token that is not in the stream shows by then.
    pub(crate) is_fresh: bool,
    /// Events up to here were delivered before: the stream was opened by time.
    pub(crate) floor: Option<Position>,
    pub(crate) silent_since: Instant,
}

#[expect(clippy::large_enum_variant, reason = "there is one, and it lives on the task's stack")]
/// Not read before the first call of `next`: the start position is saved first.
pub(crate) enum Cursor {
    Open(RawBatchCursor),
    Read(Reader),
    Closed,
}

/// What the wait for a reply came to.
pub(crate) enum Awaited {
    Reply(ServerReply),
    /// The server lives, but has nothing to say yet.
    Nothing,
    /// The server has closed the cursor.
    End,
    Broken(Error),
}

impl Stream {
    pub(crate) fn new(cursor: RawBatchCursor, at: ResumeToken) -> Self {
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
    pub(crate) async fn await_reply(&mut self, connection: &Connection) -> Result<Awaited, Failure> {
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
            Some(Ok(arrived)) => Awaited::Reply(ServerReply::new(arrived)),
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
    pub(crate) fn encode(
        &mut self,
        encoder: &mut BatchEncoder,
        max_events: u32,
        max_bytes: u64,
    ) -> Result<SourceBatch, BatchError> {
        let Some(mut reply) = self.reply.take() else { return Ok(SourceBatch::default()) };
        let filled = encoder.fill(&mut reply, &self.last, self.floor.as_ref(), max_events, max_bytes)?;
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
