//! Updates that came without the post-image that was asked for: the collection has ceased to record them, or they
//! have expired. Their documents are looked up, as they are now.

use std::collections::BTreeMap;
use std::time::Duration;

use bson::{RawDocument, RawDocumentBuf, Timestamp, rawdoc};
use cdc_event::{EncodeError, Imageless};
use cdc_machine::Fault;
use cdc_ports::Failure;
use futures_util::StreamExt as _;

use crate::connection::{APP_NAME, Connection};
use crate::reply::{Images, ServerReply, Unreadable};

const OPERATION: &str = "post_image_lookup";
/// The most documents that are looked up before their events are handed on.
const DOCUMENTS_MAX: usize = 64;
/// The most bytes of them; the last document may exceed it.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the server may take for one, in milliseconds.
const FIND_MAX_MS: i64 = 10_000;

/// What keeps a look-up from its answer.
enum LookUpError {
    Reply(Unreadable),
    Event(EncodeError),
    Server(Box<mongodb::error::Error>),
    Silent(Failure),
}

/// Looks up the documents that the next events of a reply lack.
///
/// # Errors
/// Whatever the server says, classified.
pub(crate) async fn look_up(connection: &Connection, reply: &mut ServerReply) -> Result<(), Failure> {
    if reply.images.as_ref().is_some_and(|images| images.through > reply.at()) {
        return Ok(());
    }
    let looked_up = next_images(connection, reply).await;
    let images = looked_up.map_err(|error| match error {
        LookUpError::Server(error) => connection.failure(OPERATION, *error),
        LookUpError::Silent(failure) => failure,
        LookUpError::Event(error) => unreadable(connection).because(error),
        LookUpError::Reply(Unreadable(what)) => unreadable(connection).because(what.to_owned()),
    })?;
    reply.images = Some(images);
    Ok(())
}

fn unreadable(connection: &Connection) -> Failure {
    let text = format!("{} sent what cannot be read as change events", connection.place());
    Failure::new(Fault::Fatal, OPERATION, text)
}

async fn next_images(connection: &Connection, reply: &ServerReply) -> Result<Images, LookUpError> {
    let mut images = Images { through: reply.at(), found: BTreeMap::new() };
    let mut bytes = 0;
    while images.found.len() < DOCUMENTS_MAX && bytes < BYTES_MAX {
        let Some((event, behind)) = reply.peek_at(images.through).map_err(LookUpError::Reply)? else {
            // Whatever follows is in the next reply.
            images.through = usize::MAX;
            break;
        };
        if let Some(lacking) = Imageless::of(event).map_err(LookUpError::Event)? {
            let within = connection.patience() + Duration::from_millis(FIND_MAX_MS.unsigned_abs());
            let asked = connection.answered(OPERATION, within, find(connection, &lacking)).await;
            let found =
                asked.map_err(LookUpError::Silent)?.map_err(|error| LookUpError::Server(Box::new(error)))?;
            bytes += found.as_ref().map_or(0, |found| found.as_bytes().len());
            images.found.insert(images.through, found);
        }
        images.through = behind;
    }
    Ok(images)
}

/// The document as a majority has it, at the event's time or later.
async fn find(
    connection: &Connection,
    lacking: &Imageless<'_>,
) -> Result<Option<RawDocumentBuf>, mongodb::error::Error> {
    let time = Timestamp { time: lacking.cluster_time.t, increment: lacking.cluster_time.i };
    let mut id = RawDocumentBuf::new();
    if let Some(value) = lacking.document_key.get("_id")? {
        id.append(bson::cstr!("$eq"), value);
    }
    let command = rawdoc! {
        "find": lacking.collection,
        "filter": { "_id": id },
        "limit": 1,
        "singleBatch": true,
        // The collection's own may take two ids for equal.
        "collation": { "locale": "simple" },
        "readConcern": { "level": "majority", "afterClusterTime": time },
        "maxTimeMS": FIND_MAX_MS,
        "comment": APP_NAME,
    };
    let mut cursor = connection.find(command).await?;
    let Some(reply) = cursor.next().await.transpose()? else { return Ok(None) };
    let first = reply.doc_slices()?.into_iter().next().transpose()?;
    Ok(first.and_then(|first| first.as_document()).map(RawDocument::to_owned))
}
