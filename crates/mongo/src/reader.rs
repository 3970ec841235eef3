use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use mongodb::error::Error;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// While a reply of at most this many bytes is in hand the next one is read ahead, which hides the round trip. Beyond
/// it the round trip is the smaller part, and a second reply would only hold memory: each may have 16 MiB.
const READ_AHEAD_BYTES: usize = 4 * 1024 * 1024;
/// How long a reader may take to finish its `getMore` when it is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A reply, and when it arrived.
pub(crate) struct Arrived {
    pub(crate) batch: RawBatch,
    pub(crate) at: SystemTime,
}

/// The task that owns the cursor. Nothing else touches it, and none of its `getMore`s is ever cancelled half-way, which
/// would leave the cursor in an undefined state.
pub(crate) struct Reader {
    requests: mpsc::Sender<()>,
    replies: mpsc::Receiver<Result<Arrived, Error>>,
    /// True while a request is out, or its reply has not been taken.
    is_asked: bool,
    task: JoinHandle<()>,
}

impl Reader {
    /// Begins to read.
    pub(crate) fn start(cursor: RawBatchCursor) -> Self {
        let ((requests, asked), (sender, replies)) = (mpsc::channel(1), mpsc::channel(1));
        Self { requests, replies, is_asked: false, task: tokio::spawn(read(cursor, asked, sender)) }
    }

    /// The next reply; `None` once the server has closed the cursor, or after an error. May be cancelled.
    pub(crate) async fn next(&mut self) -> Option<Result<Arrived, Error>> {
        self.ask();
        let reply = self.replies.recv().await;
        self.is_asked = false;
        if let Some(Ok(Arrived { batch, .. })) = &reply
            && batch.as_raw_document().as_bytes().len() <= READ_AHEAD_BYTES
        {
            self.ask();
        }
        reply
    }

    fn ask(&mut self) {
        if !self.is_asked {
            // One request is out at most, so there is room; a task that has ended says so by its last reply.
            self.is_asked = self.requests.try_send(()).is_ok();
        }
    }

    /// Lets the reader finish its request and closes the cursor, on the server too.
    pub(crate) async fn close(self) {
        let Self { requests, replies, is_asked: _, mut task } = self;
        drop((requests, replies));
        if tokio::time::timeout(CLOSE_WITHIN, &mut task).await.is_err() {
            // The server is silent. Its cursor times out by itself.
            task.abort();
        }
    }
}

/// Ends when the requests end, and with the cursor.
async fn read(
    mut cursor: RawBatchCursor,
    mut asked: mpsc::Receiver<()>,
    replies: mpsc::Sender<Result<Arrived, Error>>,
) {
    while asked.recv().await.is_some() {
        let Some(reply) = cursor.next().await else { return };
        let is_last = reply.is_err();
        let reply = reply.map(|batch| Arrived { batch, at: SystemTime::now() });
        if replies.send(reply).await.is_err() || is_last {
            return;
        }
    }
}
