use cdc_ports::{Failure, TokenRecord, TokenStore as _};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::asking::{of_store, runtime, watcher_config};
use super::gaps::watchers_gap;
use super::output::{field_lines, print};
use crate::cli::TokenShowArgs;
use crate::config::WatcherConfig;
use crate::exit::{Exit, Failed};
use crate::wiring;

/// Where a position's cluster time begins: the lineage stands before it.
const CLUSTER_TIME_AT: usize = 4;

/// `cdc token show`: the saved position, read without touching the lease.
///
/// # Errors
/// Exit 78 for the configuration, 69 or 77 for a store that does not answer or refuses, 74 for a file, 65
/// for a record that cannot be read.
pub fn token_show(arguments: TokenShowArgs) -> Result<(), Failed> {
    let config = watcher_config(&arguments.config.sources())?;
    let runtime = runtime()?;
    let record = runtime.block_on(peek(&config)).map_err(of_store(&config))?;
    let Some(record) = record else { return print("null") };
    let fields = describe(&record).map_err(|what| Failed::new(Exit::Decision, what))?;
    if arguments.json { print(&format!("{:#}", Value::Object(fields))) } else { print(&field_lines(&fields)) }
}

async fn peek(config: &WatcherConfig) -> Result<Option<TokenRecord>, Failure> {
    // Reading compares no identity: what the record belongs to is what is asked.
    wiring::token_store(config, String::new())?.peek().await
}

/// The record's fields, in the order in which they are read.
fn describe(record: &TokenRecord) -> Result<Map<String, Value>, String> {
    let token = bson::RawDocument::from_bytes(&record.token.bson)
        .and_then(bson::Document::try_from)
        .map_err(|error| format!("the saved resume token is no BSON document: {error}"))?;
    let position = record.token.position;
    let saved_at = Timestamp::from_millisecond(record.saved_at_ms).ok().map(|time| time.to_string());
    let fields = [
        ("resume_token", bson::Bson::Document(token).into_canonical_extjson()),
        ("position", position.to_string().into()),
        ("cluster_time", cluster_time(position.as_bytes())),
        ("saved_at", saved_at.into()),
        ("incarnation", record.incarnation.into()),
        ("holder", record.holder.clone().into()),
        ("gaps", record.gaps.iter().map(watchers_gap).collect()),
    ];
    Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Seconds and increment, as in messages; null where the position is too short to hold them.
fn cluster_time(position: &[u8]) -> Value {
    let number = |at: usize| Some(u32::from_be_bytes(position.get(at..at + 4)?.try_into().ok()?));
    match (number(CLUSTER_TIME_AT), number(CLUSTER_TIME_AT + 4)) {
        (Some(seconds), Some(increment)) => json!({ "t": seconds, "i": increment }),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cdc_event::{Position, ResumeToken};
    use cdc_machine::Lineage;

    use super::*;

    fn record() -> TokenRecord {
        let token = bson::doc! { "_data": "826B045F8E00000008" };
        let position = [0x6B, 0, 0, 1, 0x6B, 0x04, 0x5F, 0x8E, 0, 0, 0, 8, 0x80];
        TokenRecord {
            token: ResumeToken {
                bson: Bytes::from(token.to_vec().unwrap()),
                position: Position::from_bytes(&position).unwrap(),
                rests_on: None,
            },
            lineage: Lineage(0x6B00_0001),
            source: "rs0/game_db".to_owned(),
            collections: vec![],
            saved_at_ms: 1_705_318_200_000,
            read_at_ms: 1_705_318_200_000,
            incarnation: 3,
            holder: Some("watcher-0".to_owned()),
            gaps: vec![],
        }
    }

    #[test]
    fn a_record_is_shown_with_its_token_in_extended_json() {
        let fields = describe(&record()).unwrap();
        assert_eq!(
            Value::Object(fields.clone()).to_string(),
            r#"{"resume_token":{"_data":"826B045F8E00000008"},"position":"6b0000016b045f8e0000000880","cluster_time":{"t":1795448718,"i":8},"saved_at":"2024-01-15T11:30:00Z","incarnation":3,"holder":"watcher-0","gaps":[]}"#
        );
        assert!(field_lines(&fields).contains("\nsaved_at      2024-01-15T11:30:00Z\n"));
    }

    #[test]
    fn a_token_that_is_no_document_is_told() {
        let mut broken = record();
        broken.token.bson = Bytes::from_static(&[1, 2, 3]);
        let error = describe(&broken).unwrap_err();
        assert!(error.starts_with("the saved resume token is no BSON document"), "{error}");
    }
}
