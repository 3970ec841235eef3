use std::time::Duration;

use cdc_event::ResumeToken;
use cdc_machine::{Fault, Lineage};
use cdc_ports::{
    Acquisition, Failure, GapRecord, ProcessId, Recorded, RecordedCollection, StoreIdentity, TokenRecord,
    TokenStore,
};
use cdc_watcher::{Gap, LEASE_TTL, RecordChange};

use crate::claimant::Claimant;
use crate::clock::{millis, rfc3339};
use crate::earlier::{self, Elsewhere};
use crate::fence::{FencedCell, SWAP_ATTEMPTS};
use crate::identity::Place;
use crate::lease::LeaseVerdict;
use crate::record::{Record, RecordError, Saved, VERSION};
use crate::register::{Expected, Reading, Register};

/// A leased and fenced token store over a [`Register`].
///
/// Every write replaces the whole record, renews the lease, and succeeds only over the record that this
/// process knows: its stamp is (incarnation, owner, sequence).
pub struct LeasedStore<R> {
    pub(crate) cell: FencedCell<R>,
    /// Where else the record may be, as long as it is not known; see [`earlier`](crate::earlier).
    earlier: Vec<R>,
    pub(crate) claimant: Claimant,
}

/// A lease that is to be had.
struct Claimed {
    /// The record that it is taken from; `None` where there is none, or none that can be read.
    found: Option<Record>,
    verdict: LeaseVerdict,
    /// What to write over.
    expected: Expected,
}

impl<R: Register> LeasedStore<R> {
    /// A store for `instance`, whose records belong to `identity`. Nothing is read or written yet.
    ///
    /// # Errors
    /// `Fatal` where the system has no randomness to name this process with.
    pub fn over(register: R, identity: StoreIdentity, instance: impl Into<String>) -> Result<Self, Failure> {
        Ok(Self {
            cell: FencedCell::new(register, random_owner()?),
            earlier: Vec::new(),
            claimant: Claimant::new(identity, instance.into(), LEASE_TTL),
        })
    }

    /// The same for a process that can be looked up. Without one, what runs beside it is judged by its name and by what
    /// it writes.
    #[must_use]
    pub fn of_process(mut self, process: Option<ProcessId>) -> Self {
        self.claimant.process = process;
        self
    }

    /// The same in a place that was not chosen by a person but named after what is watched. Where nothing stands there,
    /// a record of this pipeline that stands in one of the `earlier` places is gone on with there.
    #[must_use]
    pub fn by_default(mut self, earlier: Vec<R>) -> Self {
        self.claimant.is_place_by_default = true;
        self.earlier = earlier;
        self
    }

    /// The same with leases of another length. All instances of one pipeline have to agree on it.
    #[must_use]
    pub fn with_lease_ttl(mut self, ttl: Duration) -> Self {
        self.claimant.ttl = ttl;
        self
    }

    /// Goes over to the place where the record is.
    ///
    /// # Errors
    /// Whatever a register says: as long as one has not answered, nobody knows.
    pub(crate) async fn settle(&mut self, operation: &'static str) -> Result<Elsewhere, Failure> {
        let Self { cell, earlier, claimant } = self;
        earlier::settle(&mut cell.register, earlier, &claimant.identity, operation).await
    }

    /// Says why a record is not this pipeline's.
    pub(crate) fn refuse(&self, found: &Record) -> Option<String> {
        self.claimant.refuse(found, place(&self.cell.register))
    }

    // ---- lease

    /// Asks for the lease of what was read.
    ///
    /// # Errors
    /// What to answer where the lease is not to be had.
    fn claim(&mut self, reading: &Reading, over_damage: bool) -> Result<Claimed, Box<Acquisition>> {
        let now_ms = reading.now_ms;
        match self.cell.decode(reading) {
            Ok(Some(found)) => {
                let (place, owner) = (place(&self.cell.register), &*self.cell.owner);
                let verdict = self.claimant.claim(&found, place, owner, now_ms)?;
                let expected = Expected::Stamp(found.stamp());
                Ok(Claimed { found: Some(found), verdict, expected })
            }
            Ok(None) => {
                self.claimant.await_holder(now_ms)?;
                Ok(Claimed { found: None, verdict: LeaseVerdict::Take, expected: Expected::Absent })
            }
            Err((RecordError::NewerVersion(_), text)) => Err(Box::new(Acquisition::Unreadable(text))),
            Err((RecordError::Corrupt(_), text)) => {
                self.claimant.await_holder(now_ms)?;
                // Our own memory knows better.
                if !over_damage && self.cell.mine().is_none() {
                    return Err(Box::new(Acquisition::Damaged(text)));
                }
                let expected = Expected::exactly(reading);
                Ok(Claimed { found: None, verdict: LeaseVerdict::Take, expected })
            }
        }
    }

    /// The record that takes the lease over `found`, or over a damaged one. What the position belongs to stays
    /// as it was: the save that records a change records its gap with it.
    fn claimed(
        &mut self,
        found: Option<&Record>,
        verdict: LeaseVerdict,
        now_ms: i64,
        over_damage: bool,
    ) -> Record {
        let sequence = self.cell.next_sequence(found);
        let base = self.cell.base(found);
        let highest = |record: &Record| record.incarnation;
        let incarnation = base.map_or(0, highest).max(found.map_or(0, highest)) + 1;
        let lost = over_damage && base.is_none();
        Record {
            version: VERSION,
            incarnation,
            owner: self.cell.owner.clone(),
            sequence,
            holder: Some(self.claimant.instance.clone()),
            lease_expires_at_ms: now_ms.saturating_add(millis(self.claimant.ttl)),
            taken_over_at_ms: match verdict {
                LeaseVerdict::TakeOver => Some(now_ms),
                LeaseVerdict::Take | LeaseVerdict::Held(_) => None,
            },
            saved: base.and_then(|record| record.saved.clone()),
            position_lost: lost || base.is_some_and(|record| record.position_lost),
            source: self.claimant.identity.source.clone(),
            collections: base.map_or_else(Vec::new, |record| self.claimant.with_topics(record)),
            topics: Vec::new(),
            gaps: base.map_or_else(Vec::new, |record| record.gaps.clone()),
            process: self.claimant.process.clone(),
        }
    }

    /// What the record's position knows of our collections, in the configuration's order.
    fn owned(&self, record: &Record) -> Acquisition {
        match record.to_token_record(self.cell.now_ms()) {
            Some(found) => Acquisition::Position {
                record: Box::new(found),
                known: record.known_of(&self.claimant.identity),
            },
            None if record.position_lost => Acquisition::Lost,
            None => Acquisition::Empty,
        }
    }

    // ---- save

    fn recorded(&self, gap: &Gap<ResumeToken>, now_ms: i64) -> GapRecord {
        let name = |id: &cdc_watcher::CollectionId| self.claimant.identity.collections.get(usize::from(id.0));
        GapRecord {
            from: gap.from.as_ref().map(|from| from.position),
            to: gap.to.position,
            cause: gap.cause.as_str().to_owned(),
            stands_for: 1,
            collections: gap
                .collections
                .iter()
                .filter_map(name)
                .map(|watched| watched.name.clone())
                .collect(),
            opened_at: rfc3339(now_ms),
            announced: gap.announced,
            healed_at: None,
            acknowledged_at: None,
        }
    }
}

impl<R: Register> TokenStore for LeasedStore<R> {
    fn set_source(&mut self, source: &str) {
        source.clone_into(&mut self.claimant.identity.source);
    }

    async fn acquire(&mut self, over_damage: bool) -> Result<Acquisition, Failure> {
        const OPERATION: &str = "lease_acquire";
        let is_lost_elsewhere = match self.settle(OPERATION).await? {
            Elsewhere::Nothing => false,
            Elsewhere::Newer(text) => return Ok(Acquisition::Unreadable(text)),
            Elsewhere::Damaged(text) if !over_damage => return Ok(Acquisition::Damaged(text)),
            Elsewhere::Damaged(_) => true,
        };
        let mut reading = self.cell.read(OPERATION).await?;
        for _ in 0..SWAP_ATTEMPTS {
            let Claimed { found, verdict, expected } = match self.claim(&reading, over_damage) {
                Ok(claimed) => claimed,
                Err(answer) => return Ok(*answer),
            };
            let is_damaged = is_lost_elsewhere || matches!(expected, Expected::Exactly(_));
            let next = self.claimed(found.as_ref(), verdict, reading.now_ms, is_damaged);
            match self.cell.swap(OPERATION, &expected, &next).await? {
                None => {
                    let acquisition = self.owned(&next);
                    self.cell.keep(next);
                    self.claimant.forget_holder();
                    self.earlier.clear();
                    return Ok(acquisition);
                }
                Some(refused) => reading = refused,
            }
        }
        Err(self.cell.unsettled(OPERATION))
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        self.cell.rewrite("lease_renew", self.claimant.ttl, |_, _| {}).await
    }

    async fn peek(&mut self) -> Result<Option<TokenRecord>, Failure> {
        const OPERATION: &str = "token_show";
        if let Some(text) = self.settle(OPERATION).await?.in_words() {
            return Err(Failure::new(Fault::Poison, OPERATION, text));
        }
        let reading = self.cell.read(OPERATION).await?;
        let found = self.cell.decode(&reading);
        let found =
            found.map_err(|(error, text)| Failure::new(Fault::Poison, OPERATION, text).because(error))?;
        Ok(found.and_then(|record| record.to_token_record(reading.now_ms)))
    }

    async fn save(
        &mut self,
        token: &ResumeToken,
        lineage: Lineage,
        change: &RecordChange<ResumeToken>,
    ) -> Result<Recorded, Failure> {
        let watched = self.claimant.identity.collections.iter().zip(&change.known);
        let collections: Vec<RecordedCollection> = watched
            .map(|(watched, known)| RecordedCollection {
                name: watched.name.clone(),
                topic: Some(watched.topic.clone()),
                known: *known,
            })
            .collect();
        let now_ms = self.cell.now_ms();
        let opened: Vec<GapRecord> = change.gaps.iter().map(|gap| self.recorded(gap, now_ms)).collect();
        let saving = self.cell.rewrite("token_save", self.claimant.ttl, |record, now_ms| {
            record.saved = Some(Saved { token: token.clone(), lineage, saved_at_ms: now_ms });
            record.position_lost = false;
            record.collections.clone_from(&collections);
            record.topics.clear();
            if change.announced {
                record.gaps.iter_mut().for_each(|gap| gap.announced = true);
            }
            record.open_gaps(opened.iter().cloned());
        });
        saving.await?;
        let open_gaps = self.cell.mine().map_or(0, |record| GapRecord::count_open(&record.gaps));
        Ok(Recorded { opened, open_gaps })
    }

    async fn release(&mut self) -> Result<(), Failure> {
        self.cell
            .rewrite("lease_release", self.claimant.ttl, |record, _| {
                record.holder = None;
                record.process = None;
                record.taken_over_at_ms = None;
            })
            .await?;
        self.cell.forget();
        Ok(())
    }
}

fn place<R: Register>(register: &R) -> Place<'_> {
    Place { words: register.place(), setting: register.setting() }
}

/// 128 random bits in hex: no two processes share them, whatever they are called.
fn random_owner() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Fault::Fatal, "lease_acquire", "the system gives no random bytes for the owner's id")
            .because(error.to_string())
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
