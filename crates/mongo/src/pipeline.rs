use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};

use crate::connection::APP_NAME;
use crate::settings::{FullDocument, MongoSettings};

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
pub(crate) fn aggregate(settings: &MongoSettings, start: &Start) -> Document {
    let mut stage = match start {
        Start::After(token) => doc! { "startAfter": token_value(token) },
        Start::At(time) => doc! { "startAtOperationTime": *time },
    };
    let full_document = match settings.full_document {
        FullDocument::Lookup => "updateLookup",
        FullDocument::PostImage => "whenAvailable",
    };
    stage.insert("fullDocument", full_document);
    let names: Vec<&str> = settings.collections.iter().map(|(name, _)| name.as_str()).collect();
    let watched = doc! { "$in": names };
    doc! {
        "aggregate": 1,
        "pipeline": [
            { "$changeStream": stage },
            { "$match": { "$or": [
                { "ns.coll": watched.clone() },
                { "to.coll": watched },
                { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
            ] } },
        ],
        "cursor": { "batchSize": 0 },
        "readConcern": { "level": "majority" },
        "comment": APP_NAME,
    }
}

/// The token as a value. It was checked where it was read; whatever it is, the server judges it.
fn token_value(token: &RawDocumentBuf) -> Bson {
    Document::try_from(token.as_ref()).map_or(Bson::Null, Bson::Document)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(full_document: FullDocument) -> MongoSettings {
        MongoSettings {
            uri: "mongodb://localhost".into(),
            database: "game_db".to_owned(),
            collections: vec![("players".to_owned(), "p".into()), ("teams".to_owned(), "t".into())],
            connection_timeout: Duration::from_secs(1),
            full_document,
            batch_events: 1_000,
            max_await: Duration::from_millis(500),
        }
    }

    #[test]
    fn a_resume_names_its_token_and_nothing_else() {
        let token = bson::rawdoc! { "_data": "82" };
        let command = aggregate(&settings(FullDocument::Lookup), &Start::After(token));
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
        let command = aggregate(&settings(FullDocument::PostImage), &Start::At(time));
        let stage = command.get_array("pipeline").ok().and_then(|stages| stages.first());
        let expected = doc! {
            "$changeStream": { "startAtOperationTime": time, "fullDocument": "whenAvailable" },
        };
        assert_eq!(stage, Some(&Bson::Document(expected)));
    }
}
