use bytes::Bytes;
use cdc_event::{ClusterTime, Position};
use cdc_watcher::Contents;
use xxhash_rust::xxh3::xxh3_64;

use super::checksum::{DIGITS, END, MEMBER};
use super::first::UNSEEN;
use super::wire::WireRecord;
use super::*;

/// A record of version 1, letter by letter.
const FIRST: &str = concat!(
    r#"{"version":1,"incarnation":3,"owner":"9c","sequence":17,"holder":null,"lease_expires_at_ms":5,"#,
    r#""taken_over_at_ms":null,"resume_token":"EwAAAAJfZGF0YQADAAAAODIAAA==","position":"6553f100000000090000000329","#,
    r#""cluster_time":{"t":9,"i":3},"lineage":1700000000,"saved_at_ms":1700000000000,"source":"rs0/game_db","#,
    r#""collections":["players"],"topics":["cdc.game_db.players"],"gaps":[]"#,
);

fn position() -> Position {
    Position::from_bytes(&[0x65, 0x53, 0xF1, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0x29]).unwrap()
}

/// A record without a position.
pub(crate) fn record_of(source: &str, collections: &[(&str, &str)]) -> Record {
    let collection = |&(name, topic): &(&str, &str)| RecordedCollection {
        name: name.to_owned(),
        topic: Some(topic.to_owned()),
        known: Known { contents: Contents::Uuid([7; 16]), partitions: Some(8), holds_messages: true },
    };
    Record {
        version: VERSION,
        incarnation: 3,
        owner: "9c".to_owned(),
        sequence: 17,
        holder: Some("host \"a\"".to_owned()),
        lease_expires_at_ms: 1_700_000_015_000,
        taken_over_at_ms: None,
        saved: None,
        position_lost: false,
        source: source.to_owned(),
        collections: collections.iter().map(collection).collect(),
        topics: Vec::new(),
        gaps: Vec::new(),
        process: None,
    }
}

pub(crate) fn process() -> ProcessId {
    ProcessId {
        host: "host-a".to_owned(),
        boot_id: "b007".to_owned(),
        pid_namespace: "pid:[4026531836]".to_owned(),
        pid: 123,
        started: 4711,
        since_ms: 1_700_000_000_000,
    }
}

pub(crate) fn record() -> Record {
    let token = Bytes::from(bson::rawdoc! { "_data": "82" }.into_bytes());
    Record {
        saved: Some(Saved {
            token: ResumeToken {
                bson: token,
                position: position(),
                rests_on: Some(ClusterTime { t: 7, i: 9 }),
            },
            lineage: Lineage(u32::MAX),
            saved_at_ms: 1_700_000_000_000,
        }),
        gaps: vec![gap(None)],
        process: Some(process()),
        ..record_of("rs0/game_db", &[("players", "cdc.game_db.players")])
    }
}

fn gap(healed_at: Option<&str>) -> GapRecord {
    GapRecord {
        from: None,
        to: position(),
        cause: "history_lost".to_owned(),
        collections: vec!["players".to_owned()],
        opened_at: "2024-01-15T10:30:00Z".to_owned(),
        announced: true,
        healed_at: healed_at.map(str::to_owned),
        stands_for: 1,
        acknowledged_at: None,
    }
}

#[test]
fn a_record_that_knows_of_no_event_is_read() {
    let text = record().encode().unwrap();
    let without = text.replacen(r#""event_time":{"t":7,"i":9},"#, "", 1);
    let (body, _) = without.rsplit_once(MEMBER).unwrap();
    let without = format!("{body}{MEMBER}{:016x}{END}", xxh3_64(body.as_bytes()));
    assert!(without.len() < text.len());
    let rests_on = |text: &str| Record::decode(text.as_bytes()).unwrap().saved.unwrap().token.rests_on;
    assert_eq!(rests_on(&text), Some(ClusterTime { t: 7, i: 9 }));
    assert_eq!(rests_on(&without), None);
}

#[test]
fn a_record_of_the_first_version_is_read() {
    let text = format!("{FIRST},\"checksum\":\"{:016x}\"}}", xxh3_64(FIRST.as_bytes()));
    let read = Record::decode(text.as_bytes()).unwrap();
    assert!(text.starts_with(&read.stamp()), "it is written over by its own stamp");
    assert_eq!(read.saved.as_ref().unwrap().token.position, position());
    assert_eq!(
        read.collections,
        [RecordedCollection { name: "players".to_owned(), topic: None, known: UNSEEN }]
    );
    assert_eq!(read.topics, ["cdc.game_db.players"]);
}

#[test]
fn every_form_of_a_uuid_comes_back() {
    for contents in [Contents::Unknown, Contents::Absent, Contents::Uuid([0; 16]), Contents::Uuid([0xAB; 16])]
    {
        let mut record = record();
        record.collections[0].known.contents = contents;
        assert_eq!(Record::decode(record.encode().unwrap().as_bytes()).unwrap(), record);
    }
}

#[test]
fn what_a_gap_has_beyond_the_first_releases_comes_back_and_may_be_missing() {
    let mut record = record();
    assert!(!record.encode().unwrap().contains("stands_for"), "what says nothing is not written");
    record.gaps[0].stands_for = 7;
    record.gaps[0].acknowledged_at = Some("2024-01-16T00:00:00Z".to_owned());
    assert_eq!(Record::decode(record.encode().unwrap().as_bytes()).unwrap(), record);
}

/// Releases without the member read the others, and leave it out when they write.
#[test]
fn a_record_without_its_holder_s_process_is_read() {
    let mut record = record();
    let text = record.encode().unwrap();
    assert!(
        text.contains(r#""process":{"host":"host-a","boot_id":"b007","pid_namespace":"pid:[4026531836]","#)
    );
    assert!(text.contains(r#""pid":123,"started":4711,"since_ms":1700000000000},"checksum":"#), "{text}");
    record.process = None;
    let text = record.encode().unwrap();
    assert!(!text.contains("process"), "{text}");
    assert_eq!(Record::decode(text.as_bytes()).unwrap(), record);
}

/// The longest record that the bounds allow is far below what is read.
#[test]
fn a_record_with_as_many_gaps_as_there_may_be_is_read() {
    let mut record = record();
    record.open_gaps((0..500).map(|_| gap(None)));
    assert_eq!(record.gaps.len(), 100);
    assert_eq!(record.gaps.iter().map(|gap| gap.stands_for).sum::<u32>(), 501);
    assert!((record.encode().unwrap().len() as u64) < MAX_BYTES / 10);
}

#[test]
fn a_record_comes_back_and_begins_with_its_stamp() {
    let record = record();
    let text = record.encode().unwrap();
    assert!(text.starts_with(&record.stamp()), "{text}");
    assert_eq!(Record::decode(text.as_bytes()).unwrap(), record);

    let empty = Record { saved: None, holder: None, gaps: Vec::new(), process: None, ..record };
    assert_eq!(Record::decode(empty.encode().unwrap().as_bytes()).unwrap(), empty);
}

#[test]
fn the_text_is_as_documented() {
    let text = record().encode().unwrap();
    let start = r#"{"version":2,"incarnation":3,"owner":"9c","sequence":17,"holder":"host \"a\"","#;
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains(r#""cluster_time":{"t":9,"i":3},"lineage":4294967295,"#), "{text}");
    assert!(
        text.contains(r#""saved_at_ms":1700000000000,"event_time":{"t":7,"i":9},"position_lost""#),
        "{text}"
    );
}

#[test]
fn no_prefix_of_a_record_is_a_record() {
    let text = record().encode().unwrap();
    for end in 0..text.len() {
        assert!(matches!(Record::decode(&text.as_bytes()[..end]), Err(RecordError::Corrupt(_))), "{end}");
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let text = record().encode().unwrap();
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1 << bit;
            // The checksum's own digits may change case and mean the same.
            let same = flipped.eq_ignore_ascii_case(text.as_bytes());
            if !same || at < text.len() - DIGITS - 2 {
                assert!(Record::decode(&flipped).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn half_a_position_is_damage() {
    let mut wire = WireRecord::from(&record());
    wire.position = None;
    assert!(matches!(Record::try_from(wire), Err(RecordError::Corrupt(_))));
    for position in ["0", "zz", &"00".repeat(Position::MAX + 1)] {
        let mut wire = WireRecord::from(&record());
        wire.position = Some(position.to_owned());
        assert!(matches!(Record::try_from(wire), Err(RecordError::Corrupt(_))), "{position}");
    }
}
