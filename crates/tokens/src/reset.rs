//! Moving the position by hand, while nobody holds the lease.

use std::time::Duration;

use cdc_event::ResumeToken;
use cdc_machine::{Fault, Lineage};
use cdc_ports::{Failure, GapRecord, Holder, RecordedCollection, TokenRecord};
use cdc_watcher::{Contents, Known};

use crate::clock::rfc3339;
use crate::earlier::Elsewhere;
use crate::record::{Record, RecordError, Saved, VERSION};
use crate::register::Register;
use crate::store::LeasedStore;

const OPERATION: &str = "token_reset";

/// What stands in a store, for somebody who wants to move the position.
#[derive(Debug)]
pub enum Look {
    /// No position.
    Empty,
    /// This one.
    Position(Box<TokenRecord>),
    /// Nothing that can be read; the text says why.
    Damaged(String),
}

/// Where to move the position.
#[derive(Clone, Debug)]
pub struct Reset {
    /// The new position.
    pub token: ResumeToken,
    /// Its lineage.
    pub lineage: Lineage,
    /// The watched collections at that time, in the identity's order.
    pub contents: Vec<Contents>,
    /// The record may belong to another source or topic: it is bound to ours.
    pub new_source: bool,
}

/// What a reset came to.
#[derive(Debug)]
pub enum ResetOutcome {
    /// The position is moved; with the gap that this leaves, where the new one is not behind the old one.
    Done(Option<GapRecord>),
    /// A Watcher holds the lease for this much longer.
    Held {
        /// Which one.
        holder: Holder,
        /// At most this long.
        expires_in: Duration,
    },
    /// The record belongs to another source or topic; the text says which, and the way out.
    Foreign(String),
}

impl<R: Register> LeasedStore<R> {
    /// Looks at what there is.
    ///
    /// # Errors
    /// Whatever the register says; `Poison` for a record of a newer release, which is not ours to move.
    pub async fn look(&mut self) -> Result<Look, Failure> {
        match self.settle(OPERATION).await? {
            Elsewhere::Nothing => {}
            Elsewhere::Damaged(text) => return Ok(Look::Damaged(text)),
            Elsewhere::Newer(text) => return Err(Failure::new(Fault::Poison, OPERATION, text)),
        }
        let reading = self.cell.read(OPERATION).await?;
        match self.cell.decode(&reading) {
            Ok(found) => Ok(found
                .and_then(|found| found.to_token_record(reading.now_ms))
                .map_or(Look::Empty, |found| Look::Position(Box::new(found)))),
            Err((RecordError::Corrupt(_), text)) => Ok(Look::Damaged(text)),
            Err((error, text)) => Err(Failure::new(Fault::Poison, OPERATION, text).because(error)),
        }
    }

    /// Moves the position in one compare-and-set, with the gap that this leaves.
    ///
    /// # Errors
    /// Whatever the register says; `Transient` where somebody wrote in between.
    pub async fn reset(&mut self, reset: Reset) -> Result<ResetOutcome, Failure> {
        // A record that is damaged elsewhere is left as it is; the new one stands where it is looked for first.
        if let Elsewhere::Newer(text) = self.settle(OPERATION).await? {
            return Err(Failure::new(Fault::Poison, OPERATION, text));
        }
        let reading = self.cell.read(OPERATION).await?;
        let now_ms = reading.now_ms;
        let found = match self.cell.decode(&reading) {
            Ok(found) => found,
            Err((RecordError::Corrupt(_), _)) => None,
            Err((error, text)) => return Err(Failure::new(Fault::Poison, OPERATION, text).because(error)),
        };
        if let Some(found) = &found {
            if let Some((holder, expires_in)) = self.claimant.held_by(found, now_ms) {
                return Ok(ResetOutcome::Held { holder, expires_in });
            }
            if !reset.new_source
                && let Some(text) = self.refuse(found)
            {
                return Ok(ResetOutcome::Foreign(text));
            }
        }
        let (next, gap) = self.moved(found.as_ref(), &reset, now_ms);
        self.cell.replace(OPERATION, &reading, &next).await?;
        Ok(ResetOutcome::Done(gap))
    }

    fn moved(&self, found: Option<&Record>, reset: &Reset, now_ms: i64) -> (Record, Option<GapRecord>) {
        let before = found.and_then(|found| found.saved.as_ref()).map(|saved| saved.token.position);
        let same = found.filter(|_| !reset.new_source);
        let known_before = same.map(|found| found.known_of(&self.claimant.identity)).unwrap_or_default();
        let collections = self.claimant.identity.collections.iter().zip(&reset.contents).enumerate();
        let collections = collections.map(|(index, (watched, contents))| {
            let before = known_before.get(index).copied().flatten();
            RecordedCollection {
                name: watched.name.clone(),
                topic: Some(watched.topic.clone()),
                known: Known {
                    contents: *contents,
                    partitions: before.and_then(|known| known.partitions),
                    holds_messages: before.is_some_and(|known| known.holds_messages),
                },
            }
        });
        let gap = GapRecord {
            from: before,
            to: reset.token.position,
            cause: "token_reset".to_owned(),
            stands_for: 1,
            collections: self
                .claimant
                .identity
                .collections
                .iter()
                .map(|watched| watched.name.clone())
                .collect(),
            opened_at: rfc3339(now_ms),
            announced: false,
            healed_at: None,
            acknowledged_at: None,
        };
        // Behind the old position everything is read again: nothing is missing.
        let gap = Some(gap).filter(|gap| before.is_none_or(|before| before < gap.to));
        let mut next = Record {
            version: VERSION,
            incarnation: found.map_or(0, |found| found.incarnation) + 1,
            owner: self.cell.owner.clone(),
            sequence: found.map_or(0, |found| found.sequence) + 1,
            holder: None,
            lease_expires_at_ms: now_ms,
            taken_over_at_ms: None,
            saved: Some(Saved { token: reset.token.clone(), lineage: reset.lineage, saved_at_ms: now_ms }),
            position_lost: false,
            source: self.claimant.identity.source.clone(),
            collections: collections.collect(),
            topics: Vec::new(),
            gaps: found.map_or_else(Vec::new, |found| found.gaps.clone()),
            process: None,
        };
        next.open_gaps(gap.clone());
        (next, gap)
    }
}
