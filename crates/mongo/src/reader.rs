use std::time::Duration;

use futures_util::StreamExt;
use mongodb::error::Error;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Replies that are read ahead of the one in hand. One hides the round trip; more would only hold memory, up
/// to 16 MiB each.
const REPLIES_AHEAD: usize = 1;
/// How long a reader may take to finish its `getMore` when it is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The task that owns the cursor. Nobody else touches it, and no `getMore` of it is ever cancelled half-way,
/// which would leave the cursor in no defined state.
pub(crate) struct Reader {
    replies: mpsc::Receiver<Result<RawBatch, Error>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Begins to read.
    pub(crate) fn start(cursor: RawBatchCursor) -> Self {
        let (sender, replies) = mpsc::channel(REPLIES_AHEAD);
        Self { replies, task: tokio::spawn(read(cursor, sender)) }
    }

    /// The next reply; `None` once the server has closed the cursor, or after an error. May be cancelled.
    pub(crate) async fn next(&mut self) -> Option<Result<RawBatch, Error>> {
        self.replies.recv().await
    }

    /// Lets the reader finish its request and closes the cursor, on the server too.
    pub(crate) async fn close(mut self) {
        self.replies.close();
        if tokio::time::timeout(CLOSE_WITHIN, &mut self.task).await.is_err() {
            // The server is silent. Its cursor times out by itself.
            self.task.abort();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Without a receiver the task ends after its present request; this is for a server that is silent.
        self.replies.close();
    }
}

async fn read(mut cursor: RawBatchCursor, sender: mpsc::Sender<Result<RawBatch, Error>>) {
    // The place is reserved first, so that a reply is fetched only when it can be put down.
    while let Ok(place) = sender.reserve().await {
        match cursor.next().await {
            Some(reply) => {
                let failed = reply.is_err();
                place.send(reply);
                if failed {
                    return;
                }
            }
            None => return,
        }
    }
}
