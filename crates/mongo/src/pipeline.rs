use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};

use cdc_event::OMITTED_FIELD;
use cdc_watcher::Reading;

use crate::connection::APP_NAME;
use crate::settings::{MongoSettings, UpdateImage};

/// Where the server begins to read its history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Start {
    /// Right after this token; also after the token of an `invalidate`, which `resumeAfter` refuses.
    After(RawDocumentBuf),
    /// With the first event at or after this time.
    At(Timestamp),
}

/// The command that opens the cursor: a change stream over the whole database, filtered to the watched
/// collections. One stream for all of them keeps their order, survives a drop of one, and sees renames onto
/// their names.
///
/// The first batch is left empty, so that nothing is read before the start position is known.
pub(crate) fn aggregate(settings: &MongoSettings, start: &Start, reading: Reading) -> Document {
    let mut stage = match start {
        Start::After(token) => doc! { "startAfter": token_value(token) },
        Start::At(time) => doc! { "startAtOperationTime": *time },
    };
    let full_document = match settings.full_document {
        UpdateImage::Lookup => "updateLookup",
        UpdateImage::PostImage => "whenAvailable",
    };
    stage.insert("fullDocument", full_document);
    let names: Vec<&str> = settings.collections.iter().map(|(name, _)| name.as_str()).collect();
    let watched = doc! { "$in": names };
    let mut pipeline = vec![
        doc! { "$changeStream": stage },
        doc! { "$match": { "$or": [
            { "ns.coll": watched.clone() },
            { "to.coll": watched },
            { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
        ] } },
    ];
    if reading == Reading::Stripped {
        pipeline.extend(strip());
    }
    doc! {
        "aggregate": 1,
        "pipeline": pipeline,
        "cursor": { "batchSize": 0 },
        "readConcern": { "level": "majority" },
        "comment": APP_NAME,
    }
}

/// What an event may take of a reply: a BSON document's limit, less what stands around the documents.
const EVENT_BYTES_MAX: i32 = 16 * 1024 * 1024 - 64 * 1024;

/// Stages that take the documents out of an event that would not fit a reply, and put their size in their
/// place. The document key counts three times: it stands in the token too, in hexadecimal.
fn strip() -> [Document; 2] {
    let size = |field: &str| doc! { "$bsonSize": { "$ifNull": [field, {}] } };
    let sum = doc! { "$add": [
        size("$fullDocument"),
        size("$updateDescription"),
        { "$multiply": [size("$documentKey"), 3] },
    ] };
    let is_large = doc! { "$gt": [format!("${OMITTED_FIELD}"), EVENT_BYTES_MAX] };
    let unless_large = |field: &str| doc! { "$cond": [is_large.clone(), "$$REMOVE", field] };
    [
        doc! { "$addFields": { OMITTED_FIELD: sum } },
        doc! { "$addFields": {
            "fullDocument": unless_large("$fullDocument"),
            "updateDescription": unless_large("$updateDescription"),
            OMITTED_FIELD: { "$cond": [is_large.clone(), format!("${OMITTED_FIELD}"), "$$REMOVE"] },
        } },
    ]
}

/// The token as a value. It was checked where it was read; whatever it is, the server judges it.
fn token_value(token: &RawDocumentBuf) -> Bson {
    Document::try_from(token.as_ref()).map_or(Bson::Null, Bson::Document)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(full_document: UpdateImage) -> MongoSettings {
        MongoSettings {
            uri: "mongodb://localhost".into(),
            database: "game_db".to_owned(),
            collections: vec![("players".to_owned(), "p".into()), ("teams".to_owned(), "t".into())],
            connection_timeout: Duration::from_secs(1),
            full_document,
            batch_events: 1_000,
            max_await: Duration::from_millis(500),
            tracing: crate::settings::EventTracing::OFF,
        }
    }

    #[test]
    fn a_resume_names_its_token_and_nothing_else() {
        let token = bson::rawdoc! { "_data": "82" };
        let command = aggregate(&settings(UpdateImage::Lookup), &Start::After(token), Reading::Whole);
        let expected = doc! {
            "aggregate": 1,
            "pipeline": [
                { "$changeStream": { "startAfter": { "_data": "82" }, "fullDocument": "updateLookup" } },
                { "$match": { "$or": [
                    { "ns.coll": { "$in": ["players", "teams"] } },
                    { "to.coll": { "$in": ["players", "teams"] } },
                    { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
                ] } },
            ],
            "cursor": { "batchSize": 0 },
            "readConcern": { "level": "majority" },
            "comment": "cdc-watcher",
        };
        assert_eq!(command, expected);
    }

    #[test]
    fn a_first_start_names_its_time() {
        let time = Timestamp { time: 7, increment: 1 };
        let command = aggregate(&settings(UpdateImage::PostImage), &Start::At(time), Reading::Whole);
        let stage = command.get_array("pipeline").ok().and_then(|stages| stages.first());
        let expected = doc! {
            "$changeStream": { "startAtOperationTime": time, "fullDocument": "whenAvailable" },
        };
        assert_eq!(stage, Some(&Bson::Document(expected)));
    }
}
