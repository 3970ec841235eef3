//! What stands behind the watched names.

use std::sync::Arc;

use bson::{Bson, Document, Timestamp, doc};
use cdc_machine::Fault;
use cdc_ports::{Failure, Serves, Sighting, similar};
use cdc_watcher::Contents;

use crate::connection::Connection;
use crate::settings::UpdateImage;

const OPERATION: &str = "mongodb_collections";

/// The longest that the server may take to count a collection.
const COUNT_MS_MAX: i32 = 2_000;

/// The most collections that are searched for a name similar to an absent one.
const SUGGESTED_FROM_MAX: i32 = 1000;

/// One look at the watched names, and when it was.
pub(crate) struct Catalog {
    /// In the names' order.
    pub(crate) sightings: Vec<Sighting>,
    /// Everything before this time had happened.
    pub(crate) at: Timestamp,
}

/// Looks at the watched names.
///
/// # Errors
/// Whatever keeps the server from listing its collections, classified.
pub(crate) async fn look(
    connection: &Connection,
    names: &[Arc<str>],
    full_document: UpdateImage,
) -> Result<Catalog, Failure> {
    let all = i32::try_from(names.len()).unwrap_or(i32::MAX);
    let list = doc! {
        "listCollections": 1,
        "filter": { "name": { "$in": names.iter().map(|name| &**name).collect::<Vec<_>>() } },
        "cursor": { "batchSize": all },
    };
    let reply = connection.answer(OPERATION, connection.command(list)).await?;
    let unknown = |error: bson::error::Error| {
        let text = format!("{} listed its collections in an unknown form", connection.place());
        Failure::new(Fault::Fatal, OPERATION, text).because(error)
    };
    let at = reply.get_timestamp("operationTime").map_err(unknown)?;
    let found =
        reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).map_err(unknown)?;
    let sighting = |name: &Arc<str>| {
        let named = |entry: &&Document| entry.get_str("name").is_ok_and(|found| found == &**name);
        let entry = found.iter().filter_map(Bson::as_document).find(named);
        Sighting {
            name: Arc::clone(name),
            contents: entry.map_or(Contents::Absent, contents),
            serves: entry.map_or(Serves::Absent, |entry| serves(entry, full_document)),
            similar: None,
        }
    };
    Ok(Catalog { sightings: names.iter().map(sighting).collect(), at })
}

/// Looks for names similar to those that are absent. A failure is ignored: it is only advice.
pub(crate) async fn suggest(connection: &Connection, sightings: &mut [Sighting]) {
    if sightings.iter().all(|sighting| sighting.serves != Serves::Absent) {
        return;
    }
    let list = doc! {
        "listCollections": 1,
        "nameOnly": true,
        "authorizedCollections": true,
        "cursor": { "batchSize": SUGGESTED_FROM_MAX },
    };
    let Ok(reply) = connection.answer(OPERATION, connection.command(list)).await else { return };
    let Ok(cursor) = reply.get_document("cursor") else { return };
    let Ok(found) = cursor.get_array("firstBatch") else { return };
    let there: Vec<&str> = found
        .iter()
        .filter_map(Bson::as_document)
        .filter_map(|entry| entry.get_str("name").ok())
        .filter(|name| !name.starts_with("system."))
        .collect();
    for sighting in sightings.iter_mut().filter(|sighting| sighting.serves == Serves::Absent) {
        sighting.similar = similar(&sighting.name, &there).map(Arc::from);
    }
    end(connection, cursor).await;
}

/// Ends the cursor of a list that was longer than its first reply. Where this fails the server ends it itself, once it
/// has been idle for long.
async fn end(connection: &Connection, cursor: &Document) {
    let (Ok(id), Ok(namespace)) = (cursor.get_i64("id"), cursor.get_str("ns")) else { return };
    let Some((_, collection)) = namespace.split_once('.').filter(|_| id != 0) else { return };
    let kill = doc! { "killCursors": collection, "cursors": [id] };
    if let Err(failure) = connection.answer(OPERATION, connection.command(kill)).await {
        tracing::debug!(operation = OPERATION, error = %failure.chain(), "a cursor was left open");
    }
}

/// About how many documents a collection holds, by its metadata; `None` where the server does not say.
pub(crate) async fn count(connection: &Connection, name: &str) -> Option<u64> {
    let reply = connection.command(doc! { "count": name, "maxTimeMS": COUNT_MS_MAX }).await.ok()?;
    let number = reply.get("n")?;
    let signed = number.as_i64().or(number.as_i32().map(i64::from)).or(number.as_f64().map(|n| n as i64))?;
    u64::try_from(signed).ok()
}

/// A view has none.
fn contents(entry: &Document) -> Contents {
    match entry.get_document("info").ok().and_then(|info| info.get("uuid")) {
        Some(Bson::Binary(uuid)) => {
            uuid.bytes.as_slice().try_into().map_or(Contents::Unknown, Contents::Uuid)
        }
        _ => Contents::Unknown,
    }
}

fn serves(entry: &Document, full_document: UpdateImage) -> Serves {
    let records_images = || {
        let options = entry.get_document("options");
        let images = options.and_then(|options| options.get_document("changeStreamPreAndPostImages"));
        images.is_ok_and(|images| images.get_bool("enabled").unwrap_or(false))
    };
    match (entry.get_str("type").unwrap_or("collection"), full_document) {
        ("view", _) => Serves::View,
        ("timeseries", _) => Serves::TimeSeries,
        (_, UpdateImage::PostImage) if !records_images() => Serves::NoPostImages,
        (_, UpdateImage::PostImage | UpdateImage::Lookup) => Serves::Changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_of_the_catalog() {
        let images = |enabled: bool| doc! { "changeStreamPreAndPostImages": { "enabled": enabled } };
        let rows = [
            (doc! { "type": "view", "options": {} }, Serves::View, Serves::View),
            (doc! { "type": "timeseries", "options": {} }, Serves::TimeSeries, Serves::TimeSeries),
            (doc! { "type": "collection", "options": {} }, Serves::Changes, Serves::NoPostImages),
            (doc! { "type": "collection", "options": images(false) }, Serves::Changes, Serves::NoPostImages),
            (doc! { "type": "collection", "options": images(true) }, Serves::Changes, Serves::Changes),
            (
                doc! { "type": "collection", "options": { "capped": true } },
                Serves::Changes,
                Serves::NoPostImages,
            ),
        ];
        for (entry, lookup, post_image) in rows {
            let found = [UpdateImage::Lookup, UpdateImage::PostImage].map(|mode| serves(&entry, mode));
            assert_eq!(found, [lookup, post_image], "{entry}");
        }
    }
}
