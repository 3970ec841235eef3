//! Records of version 1: without topics beside their collections, and without what is known of those.

use cdc_ports::{GapRecord, RecordedCollection};
use cdc_watcher::{Contents, Known};
use serde::Deserialize;

use super::wire::{WireGap, saved_from};
use super::{Record, RecordError};

/// What a record of version 1 knows of a collection: nothing.
pub(super) const UNSEEN: Known =
    Known { contents: Contents::Unknown, partitions: None, holds_messages: false };

/// Version 1.
#[derive(Deserialize)]
pub(super) struct FirstWireRecord {
    version: u32,
    incarnation: u64,
    owner: String,
    sequence: u64,
    holder: Option<String>,
    lease_expires_at_ms: i64,
    taken_over_at_ms: Option<i64>,
    resume_token: Option<String>,
    position: Option<String>,
    lineage: Option<u32>,
    saved_at_ms: Option<i64>,
    source: String,
    collections: Vec<String>,
    topics: Vec<String>,
    gaps: Vec<WireGap>,
}

impl TryFrom<FirstWireRecord> for Record {
    type Error = RecordError;

    fn try_from(wire: FirstWireRecord) -> Result<Self, RecordError> {
        let collection = |name| RecordedCollection { name, topic: None, known: UNSEEN };
        Ok(Self {
            version: wire.version,
            incarnation: wire.incarnation,
            owner: wire.owner,
            sequence: wire.sequence,
            holder: wire.holder,
            lease_expires_at_ms: wire.lease_expires_at_ms,
            taken_over_at_ms: wire.taken_over_at_ms,
            saved: saved_from(wire.resume_token, wire.position, wire.lineage, wire.saved_at_ms)?,
            position_lost: false,
            source: wire.source,
            collections: wire.collections.into_iter().map(collection).collect(),
            topics: wire.topics,
            gaps: wire.gaps.into_iter().map(GapRecord::try_from).collect::<Result<_, _>>()?,
            process: None,
        })
    }
}
