use std::time::{Duration, Instant};

use cdc_event::ResumeToken;
use cdc_executor::ports::{Acquisition, Failure, StoreIdentity, TokenRecord, TokenStore};
use cdc_machine::{Fault, Lineage};

use crate::identity;
use crate::lease::{Claim, LEASE_TTL, Sighting, Verdict, decide};
use crate::record::{Record, RecordError, Saved};
use crate::register::{Expected, Reading, Register, Swap};

/// How often one call tries again after somebody else wrote in between. More than two writers at once do
/// not happen; a store that keeps changing under us is reported instead.
const SWAP_ATTEMPTS: u32 = 4;

/// A leased and fenced token store over a [`Register`].
///
/// Every write replaces the whole record, renews the lease, and succeeds only over the record that this
/// process knows: its stamp is (incarnation, owner, sequence).
pub struct LeasedStore<R> {
    register: R,
    identity: StoreIdentity,
    instance: String,
    owner: String,
    ttl: Duration,
    /// What the register holds, as far as we know: our last confirmed write.
    mine: Option<Record>,
    /// The newest sequence that was ever tried; a write whose fate is unknown keeps its number to itself.
    sequence: u64,
    /// The holder's trace when the lease was refused to us.
    seen: Option<Sighting>,
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
            identity,
            instance: instance.into(),
            owner: random_owner()?,
            ttl: LEASE_TTL,
            mine: None,
            sequence: 0,
            seen: None,
            clock: RegisterClock::new(0),
        })
    }

    /// The same with leases of another length. All instances of one pipeline have to agree on it.
    #[must_use]
    pub fn with_lease_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    fn decode(&self, operation: &'static str, reading: &Reading) -> Result<Option<Record>, Failure> {
        let Some(content) = &reading.content else { return Ok(None) };
        Record::decode(content).map(Some).map_err(|error| self.unreadable(operation, &error))
    }

    /// A damaged record is a lost position: it is for the policy to say what comes of it. One of a newer
    /// release is not lost, and not ours to touch.
    fn unreadable(&self, operation: &'static str, error: &RecordError) -> Failure {
        let place = self.register.place();
        let (fault, way_out) = match error {
            RecordError::NewerVersion(_) => {
                (Fault::Fatal, "run the newer release, or give this one a token store of its own".to_owned())
            }
            RecordError::Corrupt(_) => {
                let way_back = self.register.way_back();
                let text = format!("{way_back}, or run `cdc token reset` to begin anew with a gap on record");
                (Fault::HistoryLost, text)
            }
        };
        Failure::new(
            fault,
            operation,
            format!("the token record in {place} cannot be read: {error}; {way_out}"),
        )
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

    fn next_sequence(&mut self, found: Option<&Record>) -> u64 {
        self.sequence = self.sequence.max(found.map_or(0, |record| record.sequence)) + 1;
        self.sequence
    }

    /// The record that takes the lease over `found`.
    fn claimed(&mut self, found: Option<&Record>, verdict: Verdict, now_ms: i64) -> Record {
        let sequence = self.next_sequence(found);
        let base = self.base(found);
        let highest = |record: &Record| record.incarnation;
        let incarnation = base.map_or(0, highest).max(found.map_or(0, highest)) + 1;
        Record {
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
            identity: self.identity.clone(),
            gaps: base.map_or_else(Vec::new, |record| record.gaps.clone()),
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
            next.sequence = self.next_sequence(None);
            next.lease_expires_at_ms = now_ms.saturating_add(millis(self.ttl));
            change(&mut next, now_ms);
            match self.swap(operation, &expected, &next).await? {
                None => {
                    self.mine = Some(next);
                    return Ok(());
                }
                Some(reading) => expected = self.still_mine(operation, reading)?,
            }
        }
        Err(self.unsettled(operation))
    }

    /// Looks at a record that stands where ours was expected. Returns what to write over.
    fn still_mine(&self, operation: &'static str, reading: Reading) -> Result<Expected, Failure> {
        let place = self.register.place();
        let Some(content) = reading.content else {
            tracing::warn!(operation, place, "the token record is gone; writing it again from memory");
            return Ok(Expected::Absent);
        };
        match Record::decode(&content) {
            Ok(found) if found.owner == self.owner => {
                tracing::warn!(
                    operation,
                    place,
                    found_sequence = found.sequence,
                    "the token record is another of our own writes; writing it again from memory"
                );
                Ok(Expected::Stamp(found.stamp()))
            }
            Ok(found) => Err(Failure::new(
                Fault::Fenced,
                operation,
                format!(
                    "the token record in {place} belongs to {} now (incarnation {}); this process stops so \
                     that only one writes. If two processes were given one `instance`, give each its own",
                    found.holder.as_deref().unwrap_or("another process"),
                    found.incarnation
                ),
            )),
            // As good as gone: whoever wrote it cannot read it either.
            Err(error @ RecordError::Corrupt(_)) => {
                tracing::warn!(operation, place, %error, "the token record is damaged; writing it again from memory");
                Ok(Expected::Exactly(content))
            }
            Err(error @ RecordError::NewerVersion(_)) => Err(self.unreadable(operation, &error)),
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
        let swap = self.register.swap(expected, &content).await.map_err(|mut failure| {
            failure.operation = operation;
            failure
        })?;
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
    async fn acquire(&mut self) -> Result<Acquisition, Failure> {
        const OPERATION: &str = "lease_acquire";
        let mut reading = self.register.read().await.map_err(|mut failure| {
            failure.operation = OPERATION;
            failure
        })?;
        for _ in 0..SWAP_ATTEMPTS {
            self.clock = RegisterClock::new(reading.now_ms);
            let found = self.decode(OPERATION, &reading)?;
            let verdict = match &found {
                None => Verdict::Take,
                Some(found) => {
                    if let Some(text) =
                        identity::refuse(&found.identity, &self.identity, self.register.place())
                    {
                        return Ok(Acquisition::Foreign(text));
                    }
                    let claim = Claim {
                        instance: &self.instance,
                        owner: &self.owner,
                        now_ms: reading.now_ms,
                        ttl_ms: millis(self.ttl),
                        seen: self.seen.as_ref(),
                    };
                    decide(found, claim)
                }
            };
            if let (Verdict::Held(expires_in), Some(found)) = (verdict, &found) {
                // Kept from the first refusal on: any later change of the same holder shows that it lives.
                if self.seen.as_ref().is_none_or(|seen| !seen.is_of(found)) {
                    self.seen = Some(Sighting::of(found));
                }
                let holder = found.holder.clone().unwrap_or_default();
                return Ok(Acquisition::Held { holder, expires_in });
            }
            let next = self.claimed(found.as_ref(), verdict, reading.now_ms);
            let expected = found.as_ref().map_or(Expected::Absent, |found| Expected::Stamp(found.stamp()));
            match self.swap(OPERATION, &expected, &next).await? {
                None => {
                    let record = next.to_token_record();
                    self.mine = Some(next);
                    self.seen = None;
                    return Ok(Acquisition::Owned(record));
                }
                Some(refused) => reading = refused,
            }
        }
        Err(self.unsettled(OPERATION))
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        self.rewrite("lease_renew", |_, _| {}).await
    }

    async fn save(&mut self, token: &ResumeToken, lineage: Lineage) -> Result<(), Failure> {
        self.rewrite("token_save", |record, now_ms| {
            record.saved = Some(Saved { token: token.clone(), lineage, saved_at_ms: now_ms });
        })
        .await
    }

    async fn release(&mut self) -> Result<(), Failure> {
        self.rewrite("lease_release", |record, _| {
            record.holder = None;
            record.taken_over_at_ms = None;
        })
        .await?;
        self.mine = None;
        Ok(())
    }

    async fn peek(&mut self) -> Result<Option<TokenRecord>, Failure> {
        const OPERATION: &str = "token_show";
        let reading = self.register.read().await.map_err(|mut failure| {
            failure.operation = OPERATION;
            failure
        })?;
        Ok(self.decode(OPERATION, &reading)?.and_then(|record| record.to_token_record()))
    }
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
