//! Who asks for the lease, for which pipeline, and what it has seen of the holder.

use std::time::Duration;

use cdc_ports::{Acquisition, Holder, Life, ProcessId, RecordedCollection, StoreIdentity};

use crate::clock::millis;
use crate::identity::{self, Place};
use crate::lease::{Claim, HolderSighting, LeaseVerdict, decide};
use crate::record::Record;

/// A process that wants to work on a pipeline's record.
pub(crate) struct Claimant {
    pub(crate) identity: StoreIdentity,
    pub(crate) instance: String,
    /// This process, for the record and to tell who lives beside it.
    pub(crate) process: Option<ProcessId>,
    pub(crate) ttl: Duration,
    /// The record's place was not chosen by a person.
    pub(crate) is_place_by_default: bool,
    /// The holder's trace when the lease was refused to us.
    seen: Option<HolderSighting>,
    /// Since when, by the register's clock, the record of that holder is gone or damaged. It lives as long as
    /// its lease could, and writes the record again from memory.
    missed_since_ms: Option<i64>,
}

impl Claimant {
    pub(crate) const fn new(identity: StoreIdentity, instance: String, ttl: Duration) -> Self {
        Self {
            identity,
            instance,
            process: None,
            ttl,
            is_place_by_default: false,
            seen: None,
            missed_since_ms: None,
        }
    }

    /// Says why a record is not this pipeline's. In a place that a person has chosen its collections may all have been
    /// replaced; in the default one, such a record is another pipeline's.
    pub(crate) fn refuse(&self, found: &Record, place: Place<'_>) -> Option<String> {
        identity::refuse(found, &self.identity, place).or_else(|| {
            identity::refuse_stranger(found, &self.identity, place).filter(|_| self.is_place_by_default)
        })
    }

    /// Who holds the lease of a record, and for how much longer; `None` where it is free, has run out, or its holder is
    /// seen to be gone.
    pub(crate) fn held_by(&self, found: &Record, now_ms: i64) -> Option<(Holder, Duration)> {
        let left_ms = found.lease_expires_at_ms.saturating_sub(now_ms);
        let holder = found.holder().filter(|_| left_ms > 0 && self.life_of_holder(found) != Life::Gone)?;
        Some((holder, Duration::from_millis(left_ms.unsigned_abs())))
    }

    /// What can be told of the process that holds the lease.
    fn life_of_holder(&self, found: &Record) -> Life {
        found.process.as_ref().map_or(Life::Unknown, |holder| holder.life_seen_by(self.process.as_ref()))
    }

    /// Asks for the lease of a record.
    ///
    /// # Errors
    /// The answer where the lease is refused: the record is another pipeline's, or another process holds it.
    pub(crate) fn claim(
        &mut self,
        found: &Record,
        place: Place<'_>,
        owner: &str,
        now_ms: i64,
    ) -> Result<LeaseVerdict, Box<Acquisition>> {
        self.missed_since_ms = None;
        if let Some(text) = self.refuse(found, place) {
            return Err(Box::new(Acquisition::Foreign(text)));
        }
        let life = self.life_of_holder(found);
        let claim = Claim {
            instance: &self.instance,
            owner,
            now_ms,
            ttl_ms: millis(self.ttl),
            seen: self.seen.as_ref(),
            holder_life: life,
        };
        let verdict = decide(found, claim);
        let (LeaseVerdict::Held(expires_in), Some(mut holder)) = (verdict, found.holder()) else {
            return Ok(verdict);
        };
        // Whoever holds it is not stood in for by somebody who watches something else.
        if let Some(text) = identity::refuse_stranger(found, &self.identity, place) {
            return Err(Box::new(Acquisition::Foreign(text)));
        }
        // Kept from the first refusal on: any later change of the same holder shows that it lives.
        if self.seen.as_ref().is_none_or(|seen| !seen.is_of(found)) {
            self.seen = Some(HolderSighting::of(found));
        }
        holder.is_living_namesake = life == Life::Lives && holder.instance == self.instance;
        let saved_ago = found.to_token_record(now_ms).map(|record| record.age());
        Err(Box::new(Acquisition::Held { holder, expires_in, saved_ago }))
    }

    /// Gives a holder that was seen time to write again what the register holds no more, or not readably.
    ///
    /// # Errors
    /// What to answer as long as it has time.
    pub(crate) fn await_holder(&mut self, now_ms: i64) -> Result<(), Box<Acquisition>> {
        if self.seen.is_none() {
            return Ok(());
        }
        let since_ms = *self.missed_since_ms.get_or_insert(now_ms);
        let left_ms = since_ms.saturating_add(millis(self.ttl)).saturating_sub(now_ms);
        if left_ms <= 0 {
            return Ok(());
        }
        let instance = "an instance whose record is gone or damaged".to_owned();
        Err(Box::new(Acquisition::Held {
            holder: Holder { instance, process: None, is_living_namesake: false },
            expires_in: Duration::from_millis(left_ms.unsigned_abs()),
            saved_ago: None,
        }))
    }

    /// The lease is ours: no other holder is waited for.
    pub(crate) fn forget_holder(&mut self) {
        self.seen = None;
        self.missed_since_ms = None;
    }

    /// A record's collections. One of the first version does not say whose topic is whose; that it was not
    /// refused does.
    pub(crate) fn with_topics(&self, record: &Record) -> Vec<RecordedCollection> {
        let ours = |name: &str| self.identity.collections.iter().find(|watched| watched.name == name);
        let mut collections = record.collections.clone();
        for collection in collections.iter_mut().filter(|collection| collection.topic.is_none()) {
            collection.topic = ours(&collection.name).map(|watched| watched.topic.clone());
        }
        collections
    }
}
