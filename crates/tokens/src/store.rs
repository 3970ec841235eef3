use std::time::{Duration, Instant};

use cdc_event::ResumeToken;
use cdc_machine::{Fault, Lineage};
use cdc_ports::{
    Acquisition, Failure, GapRecord, Holder, Recorded, RecordedCollection, StoreIdentity, TokenRecord,
    TokenStore,
};
use cdc_ports::{Life, ProcessId};
use cdc_watcher::{Amendment, Gap};

use crate::earlier::Elsewhere;
use crate::identity::{self, Place};
use crate::lease::{Claim, LEASE_TTL, Sighting, Verdict, decide};
use crate::record::{Record, RecordError, Saved, VERSION};
use crate::register::{Expected, Reading, Register, Swap};

/// How often one call tries again after somebody else wrote in between. More than two writers at once do
/// not happen; a store that keeps changing under us is reported instead.
const SWAP_ATTEMPTS: u32 = 4;

/// A leased and fenced token store over a [`Register`].
///
/// Every write replaces the whole record, renews the lease, and succeeds only over the record that this
/// process knows: its stamp is (incarnation, owner, sequence).
pub struct LeasedStore<R> {
    pub(crate) register: R,
    /// Where else the record may be, as long as it is not known; see [`earlier`](crate::earlier).
    pub(crate) earlier: Vec<R>,
    /// The place was not chosen by a person.
    is_by_default: bool,
    pub(crate) identity: StoreIdentity,
    instance: String,
    /// This process, for the record and to tell who lives beside it.
    process: Option<ProcessId>,
    pub(crate) owner: String,
    ttl: Duration,
    /// What the register holds, as far as we know: our last confirmed write.
    mine: Option<Record>,
    /// The newest sequence that was ever tried; a write whose fate is unknown keeps its number to itself.
    sequence: u64,
    /// The holder's trace when the lease was refused to us.
    seen: Option<Sighting>,
    /// Since when, by the register's clock, the record of that holder is gone or damaged. It lives as long as
    /// its lease could, and writes the record again from memory.
    missed_since_ms: Option<i64>,
    clock: RegisterClock,
}

/// The register's clock, carried on by the machine's own steady one between two answers.
struct RegisterClock {
    read_ms: i64,
    read_at: Instant,
}

impl RegisterClock {
    fn new(now_ms: i64) -> Self {
        Self { read_ms: now_ms, read_at: Instant::now() }
    }

    fn now_ms(&self) -> i64 {
        self.read_ms.saturating_add(millis(self.read_at.elapsed()))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl<R: Register> LeasedStore<R> {
    /// A store for `instance`, whose records belong to `identity`. Nothing is read or written yet.
    ///
    /// # Errors
    /// `Fatal` where the system has no randomness to name this process with.
    pub fn over(register: R, identity: StoreIdentity, instance: impl Into<String>) -> Result<Self, Failure> {
        Ok(Self {
            register,
            earlier: Vec::new(),
            is_by_default: false,
            identity,
            instance: instance.into(),
            process: None,
            owner: random_owner()?,
            ttl: LEASE_TTL,
            mine: None,
            sequence: 0,
            seen: None,
            missed_since_ms: None,
            clock: RegisterClock::new(0),
        })
    }

    /// The same for a process that can be looked up. Without one, what runs beside it is judged by its name and by what
    /// it writes.
    #[must_use]
    pub fn of_process(mut self, process: Option<ProcessId>) -> Self {
        self.process = process;
        self
    }

    /// The same in a place that was not chosen by a person but named after what is watched. Where nothing stands there,
    /// a record of this pipeline that stands in one of the `earlier` places is gone on with there.
    #[must_use]
    pub fn by_default(mut self, earlier: Vec<R>) -> Self {
        self.is_by_default = true;
        self.earlier = earlier;
        self
    }

    fn place(&self) -> Place<'_> {
        Place { words: self.register.place(), setting: self.register.setting() }
    }

    /// Says why a record is not this pipeline's. In a place that a person has chosen its collections may all have been
    /// replaced; in the default one, such a record is another pipeline's.
    pub(crate) fn refuse(&self, found: &Record) -> Option<String> {
        identity::refuse(found, &self.identity, self.place()).or_else(|| {
            identity::refuse_stranger(found, &self.identity, self.place()).filter(|_| self.is_by_default)
        })
    }

    /// The same with leases of another length. All instances of one pipeline have to agree on it.
    #[must_use]
    pub fn with_lease_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// What the register holds.
    ///
    /// # Errors
    /// The register's, under the name of what it is read for.
    pub(crate) async fn read(&mut self, operation: &'static str) -> Result<Reading, Failure> {
        self.register.read().await.map_err(|failure| Failure { operation, ..failure })
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
    fn base<'a>(&'a self, found: Option<&'a Record>) -> Option<&'a Record> {
        match (found, &self.mine) {
            (None, Some(mine)) => Some(mine),
            (Some(found), Some(mine)) if found.owner == self.owner && found.sequence < mine.sequence => {
                Some(mine)
            }
            (found, _) => found,
        }
    }

    /// What can be told of the process that holds the lease.
    fn life_of_holder(&self, found: &Record) -> Life {
        found.process.as_ref().map_or(Life::Unknown, |holder| holder.life_seen_by(self.process.as_ref()))
    }

    /// Who holds the lease of a record, and for how much longer; `None` where it is free, has run out, or its holder is
    /// seen to be gone.
    pub(crate) fn held_by(&self, found: &Record, now_ms: i64) -> Option<(Holder, Duration)> {
        let left_ms = found.lease_expires_at_ms.saturating_sub(now_ms);
        let holder = found.holder().filter(|_| left_ms > 0 && self.life_of_holder(found) != Life::Gone)?;
        Some((holder, Duration::from_millis(left_ms.unsigned_abs())))
    }

    fn next_sequence(&mut self, found: Option<&Record>) -> u64 {
        self.sequence = self.sequence.max(found.map_or(0, |record| record.sequence)) + 1;
        self.sequence
    }

    /// The record that takes the lease over `found`, or over a damaged one. What the position belongs to stays
    /// as it was: the save that records a change records its gap with it.
    fn claimed(
        &mut self,
        found: Option<&Record>,
        verdict: Verdict,
        now_ms: i64,
        over_damage: bool,
    ) -> Record {
        let sequence = self.next_sequence(found);
        let base = self.base(found);
        let highest = |record: &Record| record.incarnation;
        let incarnation = base.map_or(0, highest).max(found.map_or(0, highest)) + 1;
        let lost = over_damage && base.is_none();
        Record {
            version: VERSION,
            incarnation,
            owner: self.owner.clone(),
            sequence,
            holder: Some(self.instance.clone()),
            lease_expires_at_ms: now_ms.saturating_add(millis(self.ttl)),
            taken_over_at_ms: match verdict {
                Verdict::TakeOver => Some(now_ms),
                Verdict::Take | Verdict::Held(_) => None,
            },
            saved: base.and_then(|record| record.saved.clone()),
            position_lost: lost || base.is_some_and(|record| record.position_lost),
            source: self.identity.source.clone(),
            collections: base.map_or_else(Vec::new, |record| self.with_topics(record)),
            topics: Vec::new(),
            gaps: base.map_or_else(Vec::new, |record| record.gaps.clone()),
            process: self.process.clone(),
        }
    }

    /// A record's collections. One of the first version does not say whose topic is whose; that it was not
    /// refused does.
    fn with_topics(&self, record: &Record) -> Vec<RecordedCollection> {
        let ours = |name: &str| self.identity.collections.iter().find(|watched| watched.name == name);
        let mut collections = record.collections.clone();
        for collection in collections.iter_mut().filter(|collection| collection.topic.is_none()) {
            collection.topic = ours(&collection.name).map(|watched| watched.topic.clone());
        }
        collections
    }

    /// What became of a position that the register holds no more, or not readably: a holder that was seen
    /// has time to write it again.
    fn await_holder(&mut self, now_ms: i64) -> Option<Acquisition> {
        self.seen.as_ref()?;
        let since_ms = *self.missed_since_ms.get_or_insert(now_ms);
        let left_ms = since_ms.saturating_add(millis(self.ttl)).saturating_sub(now_ms);
        (left_ms > 0).then(|| Acquisition::Held {
            holder: Holder {
                instance: "an instance whose record is gone or damaged".to_owned(),
                process: None,
                is_living_namesake: false,
            },
            expires_in: Duration::from_millis(left_ms.unsigned_abs()),
            saved_ago: None,
        })
    }

    /// What the record's position knows of our collections, in the configuration's order.
    fn owned(&self, record: &Record) -> Acquisition {
        match record.to_token_record(self.clock.now_ms()) {
            Some(found) => {
                Acquisition::Position { record: Box::new(found), known: record.known_of(&self.identity) }
            }
            None if record.position_lost => Acquisition::Lost,
            None => Acquisition::Empty,
        }
    }

    fn recorded(&self, gap: &Gap<ResumeToken>, now_ms: i64) -> GapRecord {
        let name = |id: &cdc_watcher::CollectionId| self.identity.collections.get(usize::from(id.0));
        let opened_at = bson::DateTime::from_millis(now_ms);
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
            // Years beyond 9999 have no such text, and no clock shows them.
            opened_at: opened_at.try_to_rfc3339_string().unwrap_or_default(),
            announced: gap.announced,
            healed_at: None,
            acknowledged_at: None,
        }
    }

    /// Writes what `change` makes of our record, if the record is still ours.
    async fn rewrite(
        &mut self,
        operation: &'static str,
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
            let now_ms = self.clock.now_ms();
            let mut next = mine.clone();
            next.version = VERSION;
            next.sequence = self.next_sequence(None);
            next.lease_expires_at_ms = now_ms.saturating_add(millis(self.ttl));
            change(&mut next, now_ms);
            match self.swap(operation, &expected, &next).await? {
                None => {
                    self.mine = Some(next);
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
                return Ok(exactly(reading));
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

    /// One compare-and-set. `None` where it was done, else what stands there.
    async fn swap(
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

    fn unsettled(&self, operation: &'static str) -> Failure {
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

impl<R: Register> TokenStore for LeasedStore<R> {
    async fn acquire(&mut self, over_damage: bool) -> Result<Acquisition, Failure> {
        const OPERATION: &str = "lease_acquire";
        let is_lost_elsewhere = match self.settle(OPERATION).await? {
            Elsewhere::Nothing => false,
            Elsewhere::Newer(text) => return Ok(Acquisition::Unreadable(text)),
            Elsewhere::Damaged(text) if !over_damage => return Ok(Acquisition::Damaged(text)),
            Elsewhere::Damaged(_) => true,
        };
        let mut reading = self.read(OPERATION).await?;
        for _ in 0..SWAP_ATTEMPTS {
            let now_ms = reading.now_ms;
            self.clock = RegisterClock::new(now_ms);
            let (found, expected) = match self.decode(&reading) {
                Ok(Some(found)) => {
                    let stamp = found.stamp();
                    (Some(found), Expected::Stamp(stamp))
                }
                Ok(None) => (None, Expected::Absent),
                Err((RecordError::NewerVersion(_), text)) => return Ok(Acquisition::Unreadable(text)),
                Err((RecordError::Corrupt(_), text)) => {
                    if let Some(held) = self.await_holder(now_ms) {
                        return Ok(held);
                    }
                    // Our own memory knows better.
                    if !over_damage && self.mine.is_none() {
                        return Ok(Acquisition::Damaged(text));
                    }
                    (None, exactly(&reading))
                }
            };
            if found.is_some() {
                self.missed_since_ms = None;
            } else if let Some(held) = self.await_holder(now_ms) {
                return Ok(held);
            }
            let mut life = Life::Unknown;
            let verdict = match &found {
                None => Verdict::Take,
                Some(found) => {
                    if let Some(text) = self.refuse(found) {
                        return Ok(Acquisition::Foreign(text));
                    }
                    life = self.life_of_holder(found);
                    let claim = Claim {
                        instance: &self.instance,
                        owner: &self.owner,
                        now_ms,
                        ttl_ms: millis(self.ttl),
                        seen: self.seen.as_ref(),
                        holder_life: life,
                    };
                    let verdict = decide(found, claim);
                    // Whoever holds it is not stood in for by somebody who watches something else.
                    if matches!(verdict, Verdict::Held(_))
                        && let Some(text) = identity::refuse_stranger(found, &self.identity, self.place())
                    {
                        return Ok(Acquisition::Foreign(text));
                    }
                    verdict
                }
            };
            if let (Verdict::Held(expires_in), Some(found)) = (verdict, &found)
                && let Some(mut holder) = found.holder()
            {
                // Kept from the first refusal on: any later change of the same holder shows that it lives.
                if self.seen.as_ref().is_none_or(|seen| !seen.is_of(found)) {
                    self.seen = Some(Sighting::of(found));
                }
                holder.is_living_namesake = life == Life::Lives && holder.instance == self.instance;
                let saved_ago = found.to_token_record(now_ms).map(|record| record.age());
                return Ok(Acquisition::Held { holder, expires_in, saved_ago });
            }
            let is_damaged = is_lost_elsewhere || matches!(expected, Expected::Exactly(_));
            let next = self.claimed(found.as_ref(), verdict, now_ms, is_damaged);
            match self.swap(OPERATION, &expected, &next).await? {
                None => {
                    let acquisition = self.owned(&next);
                    self.mine = Some(next);
                    self.seen = None;
                    self.missed_since_ms = None;
                    self.earlier.clear();
                    return Ok(acquisition);
                }
                Some(refused) => reading = refused,
            }
        }
        Err(self.unsettled(OPERATION))
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        self.rewrite("lease_renew", |_, _| {}).await
    }

    async fn save(
        &mut self,
        token: &ResumeToken,
        lineage: Lineage,
        amendment: &Amendment<ResumeToken>,
    ) -> Result<Recorded, Failure> {
        let watched = self.identity.collections.iter().zip(&amendment.known);
        let collections: Vec<RecordedCollection> = watched
            .map(|(watched, known)| RecordedCollection {
                name: watched.name.clone(),
                topic: Some(watched.topic.clone()),
                known: *known,
            })
            .collect();
        let now_ms = self.clock.now_ms();
        let opened: Vec<GapRecord> = amendment.gaps.iter().map(|gap| self.recorded(gap, now_ms)).collect();
        self.rewrite("token_save", |record, now_ms| {
            record.saved = Some(Saved { token: token.clone(), lineage, saved_at_ms: now_ms });
            record.position_lost = false;
            record.collections.clone_from(&collections);
            record.topics.clear();
            if amendment.announced {
                record.gaps.iter_mut().for_each(|gap| gap.announced = true);
            }
            record.open_gaps(opened.iter().cloned());
        })
        .await?;
        let open = |record: &Record| {
            let open = record.gaps.iter().filter(|gap| gap.is_open());
            open.map(|gap| u64::from(gap.stands_for)).sum()
        };
        let open_gaps = self.mine.as_ref().map_or(0, open);
        Ok(Recorded { opened, open_gaps })
    }

    async fn release(&mut self) -> Result<(), Failure> {
        self.rewrite("lease_release", |record, _| {
            record.holder = None;
            record.process = None;
            record.taken_over_at_ms = None;
        })
        .await?;
        self.mine = None;
        Ok(())
    }

    async fn peek(&mut self) -> Result<Option<TokenRecord>, Failure> {
        const OPERATION: &str = "token_show";
        if let Some(text) = self.settle(OPERATION).await?.in_words() {
            return Err(Failure::new(Fault::Poison, OPERATION, text));
        }
        let reading = self.read(OPERATION).await?;
        let found = self.decode(&reading);
        let found =
            found.map_err(|(error, text)| Failure::new(Fault::Poison, OPERATION, text).because(error))?;
        Ok(found.and_then(|record| record.to_token_record(reading.now_ms)))
    }
}

/// What stands there is no record and has no stamp.
fn exactly(reading: &Reading) -> Expected {
    reading.content.clone().map_or(Expected::Absent, Expected::Exactly)
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
