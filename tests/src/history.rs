//! The source's own history, read with a plain aggregation from a time before the workload. It shares no
//! code with the pipeline.

use bson::{Bson, Document, Timestamp, doc};
use cdc_devstack::source::Source;
use mongodb::Client;

use crate::Failure;
use crate::topic::ChangeName;

/// What MongoDB calls the collection of an aggregation over a database.
const WHOLE_DATABASE: &str = "$cmd.aggregate";

/// One change, as the source tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `_data` of its resume token. Comparing the text is comparing the stream's order.
    pub token: String,
    /// What it changed, and how.
    pub name: ChangeName,
}

/// The server's present operation time.
///
/// # Errors
/// Whatever MongoDB says.
pub async fn now(client: &Client) -> Result<Timestamp, Failure> {
    let reply = client.database("admin").run_command(doc! { "ping": 1 }).await?;
    Ok(reply.get_timestamp("operationTime")?)
}

/// Every change of the source's collections from `since` on, in order, up to the present operation time.
///
/// # Errors
/// Whatever MongoDB says.
pub async fn changes(client: &Client, source: &Source, since: Timestamp) -> Result<Vec<Change>, Failure> {
    let until = now(client).await?;
    let database = client.database(&source.database);
    let names: Vec<&str> = source.names().collect();
    // A cursor belongs to the session that opened it, and the client hands out any to a command without one.
    let mut session = client.start_session().await?;
    let reply = database
        .run_command(doc! {
            "aggregate": 1,
            "pipeline": [
                { "$changeStream": { "startAtOperationTime": since } },
                { "$match": { "ns.coll": { "$in": names } } },
            ],
            "cursor": { "batchSize": 0 },
        })
        .session(&mut session)
        .await?;
    let cursor = reply.get_document("cursor")?.get_i64("id")?;
    let mut changes = Vec::new();
    loop {
        let reply = database
            .run_command(
                doc! { "getMore": cursor, "collection": WHOLE_DATABASE, "batchSize": 1000, "maxTimeMS": 200 },
            )
            .session(&mut session)
            .await?;
        let batch = reply.get_document("cursor")?.get_array("nextBatch")?;
        for event in batch {
            let event = event.as_document().ok_or("an event is not a document")?;
            changes.push(change(event)?);
        }
        // An empty batch after the wanted time: the stream has nothing older left to tell.
        if batch.is_empty() && reply.get_timestamp("operationTime")? >= until {
            break;
        }
    }
    database.run_command(doc! { "killCursors": WHOLE_DATABASE, "cursors": [cursor] }).await?;
    Ok(changes)
}

/// The changes after `since`, without those at that very time: what happened since a moment of rest.
///
/// # Errors
/// Whatever MongoDB says.
pub async fn changes_after(
    client: &Client,
    source: &Source,
    since: Timestamp,
) -> Result<Vec<Change>, Failure> {
    let since_time = (u64::from(since.time), u64::from(since.increment));
    let mut changes = changes(client, source, since).await?;
    changes.retain(|change| change.name.time > since_time);
    Ok(changes)
}

fn change(event: &Document) -> Result<Change, Failure> {
    let time = event.get_timestamp("clusterTime")?;
    let id = match event.get_document("documentKey")?.get("_id") {
        Some(Bson::ObjectId(id)) => id.to_hex(),
        Some(Bson::String(text)) => text.clone(),
        other => return Err(format!("the workload has no such _id: {other:?}").into()),
    };
    Ok(Change {
        token: event.get_document("_id")?.get_str("_data")?.to_owned(),
        name: ChangeName {
            time: (u64::from(time.time), u64::from(time.increment)),
            collection: event.get_document("ns")?.get_str("coll")?.to_owned(),
            id,
            operation: event.get_str("operationType")?.to_owned(),
        },
    })
}
