//! Whether the source's history is the one that a saved token was read from. A server that was restored from an
//! older copy of its files has the same name, the same collections and the same terms; only what happened since
//! is another.

use std::time::Duration;

use bson::{Timestamp, doc};
use cdc_event::{ClusterTime, ResumeToken, token_cluster_time};
use cdc_machine::Fault;
use cdc_ports::Failure;
use futures_util::StreamExt as _;
use mongodb::raw_batch_cursor::RawBatch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::classify;
use crate::connection::{APP_NAME, Connection};
use crate::reply::post_batch_token;

const OPERATION: &str = "change_stream_history";
/// How long the primary's oplog may end before a token that a majority had. One that was cut off from the others
/// and does not know it yet steps down within that.
const PRIMARY_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at it.
const PRIMARY_EVERY: Duration = Duration::from_millis(250);
/// How long the search for the event that a token rests on may take. It ends at the first event of the database
/// from that time on.
const SEARCH_WITHIN: Duration = Duration::from_secs(60);

/// Compares the history with a token that was read from it.
///
/// # Errors
/// `HistoryLost` where it is another one; whatever else keeps the server from answering, classified.
pub(crate) async fn verify(connection: &Connection, token: &ResumeToken) -> Result<(), Failure> {
    let time = token_cluster_time(&token.bson).map_err(|error| {
        Failure::new(Fault::HistoryLost, OPERATION, "the saved token tells no cluster time").because(error)
    })?;
    reaches(connection, time).await?;
    match token.rests_on {
        Some(event) => holds(connection, event).await,
        None => Ok(()),
    }
}

fn other_history(connection: &Connection, why: &str) -> Failure {
    let text = format!(
        "{} has another history than the one that was read: {why}; it was restored from an older copy, or is another \
         server. What the topics and tables have from the time since then stands there without a source. \
         on_history_lost decides",
        connection.place()
    );
    Failure::new(Fault::HistoryLost, OPERATION, text)
}

/// The primary holds all that a majority ever had: its oplog does not end before a saved token.
async fn reaches(connection: &Connection, time: ClusterTime) -> Result<(), Failure> {
    let deadline = Instant::now() + PRIMARY_WITHIN;
    loop {
        match connection.oplog_end().await? {
            Some(end) if (end.time, end.increment) < (time.t, time.i) => {}
            // A member that is no primary cannot tell.
            Some(_) | None => return Ok(()),
        }
        if Instant::now() >= deadline {
            return Err(other_history(connection, "its oplog ends before the saved position"));
        }
        sleep(PRIMARY_EVERY).await;
    }
}

/// Looks for an event at exactly this time.
async fn holds(connection: &Connection, event: ClusterTime) -> Result<(), Failure> {
    let time = Timestamp { time: event.t, increment: event.i };
    let command = doc! {
        "aggregate": 1,
        "pipeline": [
            { "$changeStream": { "startAtOperationTime": time } },
            { "$project": { "clusterTime": 1 } },
        ],
        "cursor": { "batchSize": 1 },
        "readConcern": { "level": "majority" },
        "comment": APP_NAME,
    };
    let deadline = Instant::now() + SEARCH_WITHIN;
    let late = |_elapsed| {
        let text = format!(
            "{} was not searched for the event of the saved position within {SEARCH_WITHIN:?}; trying again",
            connection.place()
        );
        Failure::new(Fault::Transient, OPERATION, text)
    };
    let opened = timeout_at(deadline, connection.open(command, 1)).await.map_err(late)?;
    let mut cursor = match opened {
        Ok(cursor) => cursor,
        Err(error) => return not_to_be_seen(connection, error),
    };
    loop {
        let reply = match timeout_at(deadline, cursor.next()).await.map_err(late)? {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => return not_to_be_seen(connection, error),
            None => {
                let text = format!("{} closed the cursor of a search; trying again", connection.place());
                return Err(Failure::new(Fault::Transient, OPERATION, text));
            }
        };
        match Seen::of(&reply) {
            Some(Seen::Event(found)) if found == event => return Ok(()),
            // An empty reply tells of what is before its token.
            Some(Seen::Searched(through)) if through <= event => {}
            Some(Seen::Event(_) | Seen::Searched(_)) => {
                let why = "nothing happened at the time of the last event that was read from it";
                return Err(other_history(connection, why));
            }
            None => {
                let text = format!("{} answered a search in an unknown form", connection.place());
                return Err(Failure::new(Fault::Fatal, OPERATION, text));
            }
        }
    }
}

/// A search that fails because the oplog does not reach that far, or for the event's size, tells nothing: what
/// the position itself comes to shows when it is opened.
fn not_to_be_seen(connection: &Connection, error: mongodb::error::Error) -> Result<(), Failure> {
    match classify::fault(&error) {
        Fault::HistoryLost | Fault::TooLarge => Ok(()),
        _ => Err(connection.failure(OPERATION, error)),
    }
}

/// What a reply shows first.
enum Seen {
    /// An event of this time.
    Event(ClusterTime),
    /// None before this time.
    Searched(ClusterTime),
}

impl Seen {
    fn of(reply: &RawBatch) -> Option<Self> {
        match reply.doc_slices().ok()?.into_iter().next() {
            Some(event) => {
                let Timestamp { time: t, increment: i } =
                    event.ok()?.as_document()?.get_timestamp("clusterTime").ok()?;
                Some(Self::Event(ClusterTime { t, i }))
            }
            None => {
                let token = post_batch_token(reply.as_raw_document()).ok()?;
                token_cluster_time(token.as_bytes()).ok().map(Self::Searched)
            }
        }
    }
}
