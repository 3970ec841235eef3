//! `examples/decode.py`, written from `docs/message-format.md` alone, against the same documents as the crate.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use cdc_event::{Documents, Encoder, Envelope};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::back_to_bson::draws;
use crate::common::LINEAGE;
use crate::drawn_event::{Event, message};

const DECODER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/decode.py");

const DOCUMENTS: usize = 2_000;

/// What the decoder prints of these messages, one a line.
fn decoded(messages: Vec<u8>) -> String {
    let started = Command::new("python3").arg(DECODER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = match started {
        Ok(python) => python,
        Err(error) => panic!("python3 runs {DECODER}, and cannot be started: {error}; run scripts/setup.sh"),
    };
    let mut stdin = python.stdin.take().unwrap();
    // It answers while it reads.
    let writing = thread::spawn(move || stdin.write_all(&messages));
    let output = python.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn hex(document: Option<&Vec<u8>>) -> String {
    document.map_or("-".to_owned(), |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Feature: cdc-pipeline, Property 9: Message Serialization Round-Trip
///
/// Validates: Requirements 3.5, 4.3
#[test]
fn a_decoder_made_from_the_page_alone_gives_the_same_bytes() {
    let (mut runner, mut encoder) = (TestRunner::default(), Encoder::new(LINEAGE));
    let mut messages = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..DOCUMENTS {
        let bytes = draws().new_tree(&mut runner).unwrap().current();
        let (key, value) = message(&Event::draw(&bytes), &mut encoder);
        let Documents { document_key, full_document, update_description } =
            Documents::decode(&key, &Envelope::parse(&value).unwrap()).unwrap();
        let parts = [Some(&document_key), full_document.as_ref(), update_description.as_ref()];
        expected.push(parts.map(hex).join(" "));
        messages.extend_from_slice(&value);
        messages.push(b'\n');
    }
    let printed = decoded(messages.clone());
    assert_eq!(printed.lines().count(), DOCUMENTS);
    let messages = messages.split(|byte| *byte == b'\n');
    for ((printed, expected), message) in printed.lines().zip(&expected).zip(messages) {
        assert_eq!(printed, expected, "{}", String::from_utf8_lossy(message));
    }
}
