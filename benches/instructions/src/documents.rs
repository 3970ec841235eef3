//! Change events of about 1 KB, as a change stream delivers them.

use bson::{DateTime, Decimal128, Document, RawDocumentBuf, Timestamp, doc, oid::ObjectId};

use crate::Failure;

/// The event of this number. Of four events one each inserts, updates, replaces and deletes; no two have the same `_id`.
pub(crate) fn event(number: u64, collection: &str) -> Result<RawDocumentBuf, Failure> {
    let mut bytes = [7; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    let id = ObjectId::from_bytes(bytes);
    // The token's cluster time and its place in the transaction are what the position is made of.
    let token = format!(
        "826B045F8E{number:08X}2B022C0100296E5A1004B7A61B0EF2B94D6CA0F6A1B2C3D4E5F646645F69640064507F1F77BCF86CD7994390110004"
    );
    let operation = ["insert", "update", "replace", "delete"][(number % 4) as usize];
    let mut event = doc! {
        "_id": { "_data": token },
        "operationType": operation,
        "clusterTime": Timestamp { time: 0x6B04_5F8E, increment: u32::try_from(number)? },
        "ns": { "db": "game_db", "coll": collection },
        "documentKey": { "_id": id },
    };
    if operation != "delete" {
        event.insert("fullDocument", document(id, number)?);
    }
    if operation == "update" {
        event.insert(
            "updateDescription",
            doc! { "updatedFields": { "score": i64::try_from(number)? }, "removedFields": ["obsolete"], "truncatedArrays": [] },
        );
    }
    Ok(RawDocumentBuf::try_from(&event)?)
}

fn document(id: ObjectId, number: u64) -> Result<Document, Failure> {
    let mut document = doc! {
        "_id": id,
        "username": format!("player{number}"),
        "level": i32::try_from(number % 100)?,
        "score": i64::try_from(number)?,
        "rate": 0.25,
        "balance": "12.50".parse::<Decimal128>()?,
        "tags": ["a", "b"],
        "home": { "city": "Graz", "zip": 8010 },
        "created_at": DateTime::from_millis(1_700_000_000_000),
        "updated_at": DateTime::from_millis(1_700_000_000_001),
    };
    document.extend(
        (0..16)
            .map(|n| (format!("field_{n}"), bson::Bson::from("some text of moderate length")))
            .collect::<Document>(),
    );
    Ok(document)
}
