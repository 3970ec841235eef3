//! Changing the recorded numbers of partitions by hand, and marking gaps as seen, while nobody holds the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::{Failure, GapRecord, Holder, TokenRecord};

use crate::clock::rfc3339;
use crate::gaps;
use crate::record::{Record, RecordError, VERSION};
use crate::register::{Reading, Register};
use crate::store::LeasedStore;

/// A record as it stood when it was looked at. What is changed is this one and no other.
#[derive(Debug)]
pub struct Examined {
    /// What it says.
    pub record: TokenRecord,
    found: Record,
    reading: Reading,
}

/// What there is to change.
#[derive(Debug)]
pub enum Examination {
    /// There is no position, so nothing to change.
    Empty,
    /// Nobody holds it.
    Free(Box<Examined>),
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
    /// Looks at a record in order to change it. `ours`: it has to belong to the store's identity.
    ///
    /// # Errors
    /// Whatever the register says; `Poison` for a record that cannot be read.
    pub async fn examine(&mut self, operation: &'static str, ours: bool) -> Result<Examination, Failure> {
        if let Some(text) = self.settle(operation).await?.in_words() {
            return Err(Failure::new(Fault::Poison, operation, text));
        }
        let reading = self.cell.read(operation).await?;
        let found = self.cell.decode(&reading).map_err(|(error, text): (RecordError, String)| {
            Failure::new(Fault::Poison, operation, text).because(error)
        })?;
        let now_ms = reading.now_ms;
        let Some((found, record)) =
            found.and_then(|found| Some((found.clone(), found.to_token_record(now_ms)?)))
        else {
            return Ok(Examination::Empty);
        };
        if let Some((holder, expires_in)) = self.claimant.held_by(&found, now_ms) {
            return Ok(Examination::Held { holder, expires_in });
        }
        if ours && let Some(text) = self.refuse(&found) {
            return Ok(Examination::Foreign(text));
        }
        Ok(Examination::Free(Box::new(Examined { record, found, reading })))
    }

    /// Records how many partitions each topic's keys are spread among from now on.
    ///
    /// # Errors
    /// Whatever the register says; `Transient` where somebody wrote in between.
    pub async fn repartition(
        &mut self,
        examined: Examined,
        partitions: &BTreeMap<String, u32>,
    ) -> Result<(), Failure> {
        self.change("token_repartition", examined, |record| {
            for collection in &mut record.collections {
                if let Some(count) = collection.topic.as_ref().and_then(|topic| partitions.get(topic)) {
                    collection.known.partitions = Some(*count);
                }
            }
        })
        .await
    }

    /// Marks every open gap as seen by a person. Returns how many that were.
    ///
    /// # Errors
    /// Whatever the register says; `Transient` where somebody wrote in between.
    pub async fn acknowledge_gaps(&mut self, examined: Examined) -> Result<u64, Failure> {
        let open = GapRecord::count_open(&examined.record.gaps);
        let now = rfc3339(examined.reading.now_ms);
        self.change("gaps_acknowledge", examined, |record| {
            record.gaps.iter_mut().filter(|gap| gap.is_open()).for_each(|gap| {
                gap.acknowledged_at = Some(now.clone());
            });
            gaps::bound(&mut record.gaps);
        })
        .await?;
        Ok(open)
    }

    async fn change(
        &mut self,
        operation: &'static str,
        examined: Examined,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), Failure> {
        let Examined { found, reading, .. } = examined;
        let mut next = Record {
            version: VERSION,
            incarnation: found.incarnation + 1,
            owner: self.cell.owner.clone(),
            sequence: found.sequence + 1,
            holder: None,
            process: None,
            lease_expires_at_ms: reading.now_ms,
            taken_over_at_ms: None,
            ..found
        };
        change(&mut next);
        self.cell.replace(operation, &reading, &next).await
    }
}
