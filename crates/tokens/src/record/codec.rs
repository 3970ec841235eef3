//! A record to its text and back.

use serde::Deserialize;

use super::checksum;
use super::first::FirstWireRecord;
use super::wire::WireRecord;
use super::{Record, RecordError, VERSION};

impl Record {
    pub(crate) fn encode(&self) -> Result<String, RecordError> {
        let mut text = serde_json::to_string(&WireRecord::from(self))
            .map_err(|error| RecordError::Corrupt(error.to_string()))?;
        checksum::append(&mut text);
        Ok(text)
    }

    pub(crate) fn decode(content: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(content)
            .map_err(|_| RecordError::Corrupt("it is not text in UTF-8".to_owned()))?;
        // The version comes first: a newer one may have another checksum.
        let Version { version } = serde_json::from_str(text).map_err(corrupt)?;
        if version > VERSION {
            return Err(RecordError::NewerVersion(version));
        }
        checksum::verify(text)?;
        match version {
            1 => serde_json::from_str::<FirstWireRecord>(text).map_err(corrupt)?.try_into(),
            _ => serde_json::from_str::<WireRecord>(text).map_err(corrupt)?.try_into(),
        }
    }
}

/// serde_json's message names line, column and what was expected; for a type error it may quote a scalar,
/// which is one of ours and not a document's.
fn corrupt(error: serde_json::Error) -> RecordError {
    RecordError::Corrupt(error.to_string())
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}
