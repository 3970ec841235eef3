//! The cell behind its fence: a write replaces only the record that this process knows.

use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::Failure;

use crate::clock::{RegisterClock, millis};
use crate::record::{Record, RecordError, VERSION};
use crate::register::{Expected, Reading, Register, Swap};

/// The most compare-and-sets of one call. More than two writers at once do not happen; a store that keeps changing is
/// reported instead.
pub(crate) const SWAP_ATTEMPTS: u32 = 4;

/// A register, and what this process knows of its content.
pub(crate) struct FencedCell<R> {
    pub(crate) register: R,
    /// This process's random id.
    pub(crate) owner: String,
    clock: RegisterClock,
    /// What the register holds, as far as we know: our last confirmed write.
    mine: Option<Record>,
    /// The newest sequence that was ever tried; a write whose fate is unknown keeps its number to itself.
    sequence: u64,
}

impl<R: Register> FencedCell<R> {
    /// A cell of which nothing is known yet.
    pub(crate) fn new(register: R, owner: String) -> Self {
        Self { register, owner, clock: RegisterClock::new(0), mine: None, sequence: 0 }
    }

    /// By the register's clock, Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) const fn mine(&self) -> Option<&Record> {
        self.mine.as_ref()
    }

    /// A confirmed write is ours.
    pub(crate) fn keep(&mut self, record: Record) {
        self.mine = Some(record);
    }

    /// The record is no longer ours.
    pub(crate) fn forget(&mut self) {
        self.mine = None;
    }

    /// What the register holds.
    ///
    /// # Errors
    /// The register's, under the name of what it is read for.
    pub(crate) async fn read(&mut self, operation: &'static str) -> Result<Reading, Failure> {
        let reading = self.register.read().await.map_err(|failure| Failure { operation, ..failure })?;
        self.clock = RegisterClock::new(reading.now_ms);
        Ok(reading)
    }

    /// What stands in the register; the text says why it cannot be read, and the way out.
    pub(crate) fn decode(&self, reading: &Reading) -> Result<Option<Record>, (RecordError, String)> {
        let Some(content) = &reading.content else { return Ok(None) };
        Record::decode(content).map(Some).map_err(|error| {
            let way_out = match &error {
                RecordError::NewerVersion(_) => {
                    "run the newer release, or give this one a token store of its own".to_owned()
                }
                RecordError::Corrupt(_) => {
                    let way_back = self.register.way_back();
                    format!(
                        "{way_back}, or run `cdc token reset --to now` to begin anew with a gap on record"
                    )
                }
            };
            let place = self.register.place();
            let text = format!("the token record in {place} cannot be read: {error}; {way_out}");
            (error, text)
        })
    }

    /// The record to go on from: what the register holds, unless the register was flushed or rolled back
    /// under this very process. Then memory knows better.
    pub(crate) fn base<'a>(&'a self, found: Option<&'a Record>) -> Option<&'a Record> {
        match (found, &self.mine) {
            (None, Some(mine)) => Some(mine),
            (Some(found), Some(mine)) if found.owner == self.owner && found.sequence < mine.sequence => {
                Some(mine)
            }
            (found, _) => found,
        }
    }

    /// A number above all that were ever tried or found.
    pub(crate) fn next_sequence(&mut self, found: Option<&Record>) -> u64 {
        self.sequence = self.sequence.max(found.map_or(0, |record| record.sequence)) + 1;
        self.sequence
    }

    /// One compare-and-set. `None` where it was done, else what stands there.
    pub(crate) async fn swap(
        &mut self,
        operation: &'static str,
        expected: &Expected,
        next: &Record,
    ) -> Result<Option<Reading>, Failure> {
        let content = next.encode().map_err(|error| {
            Failure::new(Fault::Fatal, operation, "the token record cannot be written as JSON").because(error)
        })?;
        let swap = self.register.swap(expected, &content).await;
        let swap = swap.map_err(|failure| Failure { operation, ..failure })?;
        Ok(match swap {
            Swap::Done { now_ms } => {
                self.clock = RegisterClock::new(now_ms);
                None
            }
            Swap::Refused(reading) => {
                self.clock = RegisterClock::new(reading.now_ms);
                Some(reading)
            }
        })
    }

    /// Writes over exactly what was read, while nobody holds the lease.
    ///
    /// # Errors
    /// Whatever the register says; `Transient` where somebody wrote in between.
    pub(crate) async fn replace(
        &mut self,
        operation: &'static str,
        read: &Reading,
        next: &Record,
    ) -> Result<(), Failure> {
        if self.swap(operation, &Expected::exactly(read), next).await?.is_none() {
            return Ok(());
        }
        let place = self.register.place();
        let text = format!("the token record in {place} was written in between; try again");
        Err(Failure::new(Fault::Transient, operation, text))
    }

    /// Writes what `change` makes of our record with a lease of this length, if the record is still ours. One that is
    /// gone, damaged or rolled back is written again from memory.
    ///
    /// # Errors
    /// `Fenced` where the record is another's, or the lease was never ours.
    pub(crate) async fn rewrite(
        &mut self,
        operation: &'static str,
        ttl: Duration,
        change: impl Fn(&mut Record, i64),
    ) -> Result<(), Failure> {
        let Some(mine) = self.mine.clone() else {
            return Err(Failure::new(
                Fault::Fenced,
                operation,
                format!("the lease in {} is not held by this process", self.register.place()),
            ));
        };
        let mut expected = Expected::Stamp(mine.stamp());
        for _ in 0..SWAP_ATTEMPTS {
            let now_ms = self.now_ms();
            let mut next = mine.clone();
            next.version = VERSION;
            next.sequence = self.next_sequence(None);
            next.lease_expires_at_ms = now_ms.saturating_add(millis(ttl));
            change(&mut next, now_ms);
            match self.swap(operation, &expected, &next).await? {
                None => {
                    self.keep(next);
                    return Ok(());
                }
                Some(reading) => expected = self.still_mine(operation, &reading)?,
            }
        }
        Err(self.unsettled(operation))
    }

    /// Looks at a record that stands where ours was expected. Returns what to write over.
    fn still_mine(&self, operation: &'static str, reading: &Reading) -> Result<Expected, Failure> {
        let place = self.register.place();
        let found = match self.decode(reading) {
            Ok(found) => found,
            Err((error @ RecordError::NewerVersion(_), text)) => {
                return Err(Failure::new(Fault::Poison, operation, text).because(error));
            }
            Err((error, _)) => {
                tracing::warn!(operation, place, %error, "the token record is damaged; writing it again from memory");
                return Ok(Expected::exactly(reading));
            }
        };
        match found {
            None => {
                tracing::warn!(operation, place, "the token record is gone; writing it again from memory");
                Ok(Expected::Absent)
            }
            Some(found) if found.owner == self.owner => {
                tracing::warn!(
                    operation,
                    place,
                    found_sequence = found.sequence,
                    "the token record is another of our own writes; writing it again from memory"
                );
                Ok(Expected::Stamp(found.stamp()))
            }
            Some(found) => Err(Failure::new(
                Fault::Fenced,
                operation,
                format!(
                    "the token record in {place} belongs to {} now (incarnation {}); this process stops so \
                     that only one writes. If two processes were given one `instance`, give each its own",
                    found.holder().map_or_else(|| "another process".to_owned(), |holder| holder.to_string()),
                    found.incarnation
                ),
            )),
        }
    }

    /// The failure of a cell that changed with each try.
    pub(crate) fn unsettled(&self, operation: &'static str) -> Failure {
        let place = self.register.place();
        Failure::new(
            Fault::Transient,
            operation,
            format!(
                "the token record in {place} changed {SWAP_ATTEMPTS} times under this write; trying again"
            ),
        )
    }
}
