//! What is fuzzed of the record. `fuzz/` runs this function under libFuzzer, `cargo test` over its corpus.

use super::{Record, RecordError, VERSION, checksum};

/// Any bytes as a record, as they are and with the checksum that they should have: damage, or a record that is written
/// as one text that reads back as the same.
///
/// # Panics
/// Where it does not.
pub fn token_record(data: &[u8]) {
    check(data);
    if let Ok(text) = std::str::from_utf8(data) {
        // Otherwise the checksum would keep everything off that lies behind it.
        let mut text = text.to_owned();
        checksum::append(&mut text);
        check(text.as_bytes());
    }
}

fn check(content: &[u8]) {
    let Ok(record) = Record::decode(content) else { return };
    assert!(record.version <= VERSION);
    assert!(content.starts_with(record.stamp().as_bytes()) || !is_ours(content), "the stamp is a prefix");
    // As whoever writes one does.
    let written = Record { version: VERSION, ..record.clone() };
    let text = match written.encode() {
        Ok(text) => text,
        Err(error) => panic!("{error}: {record:?}"),
    };
    let again = match Record::decode(text.as_bytes()) {
        Ok(again) => again,
        Err(error) => panic!("{error}: {text}"),
    };
    // The first version had a list of all topics, which the second keeps with the collections.
    assert_eq!(Record { topics: record.topics, ..again.clone() }, written);
    assert_eq!(again.encode(), Ok::<_, RecordError>(text));
}

/// True for a text that this program could have written: others may have spaces, escapes and another order, and a
/// register then takes them for another record than the one that they say they are.
fn is_ours(content: &[u8]) -> bool {
    Record::decode(content).and_then(|record| record.encode()).is_ok_and(|text| text.as_bytes() == content)
}

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay;

    #[test]
    fn the_corpus_is_replayed() {
        replay::replay("token_record", super::token_record);
    }
}
