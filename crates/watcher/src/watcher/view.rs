//! What is to be seen of a Watcher from outside, and what holds after every step, whatever the world does.

use alloc::vec::Vec;

use cdc_machine::{Backoff, Cause, Ids, Lineage, Retry, SeqNo, StateName, Timers, Watermark, ensure};

use super::{Parts, WaitsFor, Watcher};
#[cfg(doc)]
use crate::Input;
use crate::credit::credit;
use crate::ending::Life;
use crate::identity::Identity;
use crate::lease::Lease;
use crate::origin::Origin;
use crate::publishing::Publishing;
use crate::record::Record;
use crate::saving::Saves;
use crate::stream::Stream;
use crate::{Config, Known, TimerKind};

impl<R: Clone, T: Clone + Ord> Watcher<R, T> {
    /// A Watcher that waits for [`Input::Start`].
    #[must_use]
    pub fn new() -> Self {
        let parts = Parts {
            identity: Identity::new(),
            lease: Lease::new(),
            publishing: Publishing::new(),
            stream: Stream::new(),
            origin: Origin::anew(Lineage::default(), None),
            window: Watermark::starting_at(SeqNo(0)),
            record: Record::new(),
            saves: Saves::new(),
            life: Life::NotStarted,
        };
        Self { waits_for: WaitsFor::Start, parts, timers: Timers::new(), ids: Ids::default() }
    }

    /// What the Watcher waits for, as far as everybody has to know.
    #[must_use]
    pub const fn state(&self) -> StateName {
        match self.parts.life {
            Life::Draining(_) => StateName::Draining,
            Life::NotStarted | Life::Running | Life::Stopped(_) => self.waits_for.state(),
        }
    }

    /// What it waits for, more exactly.
    #[must_use]
    pub const fn waits_for(&self) -> WaitsFor {
        self.waits_for
    }

    /// Why it stopped, once it has.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self.parts.life {
            Life::Stopped(cause) => Some(cause),
            Life::NotStarted | Life::Running | Life::Draining(_) => None,
        }
    }

    /// The lineage of the positions that are given out.
    #[must_use]
    pub const fn lineage(&self) -> Lineage {
        self.parts.origin.lineage()
    }

    /// Events read and not yet covered by a saved token: what a crash now would replay.
    #[must_use]
    pub const fn unsaved_events(&self) -> u64 {
        self.parts.window.unsaved_weight()
    }

    /// Messages handed to Kafka and not yet answered.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.parts.window.unsettled()
    }

    /// The watched collections, as far as the position knows them; nothing before any was looked at.
    #[must_use]
    pub fn known(&self) -> &[Option<Known>] {
        self.parts.record.known()
    }

    /// Answers to what was gone by then: late or doubled ones, expiries of timers that were replaced.
    #[must_use]
    pub const fn stale_inputs(&self) -> u64 {
        self.ids.stale()
    }

    /// Answers to what was never asked for. Anything but 0 is a bug in whoever drives the machine.
    #[must_use]
    pub const fn unexpected_inputs(&self) -> u64 {
        self.ids.unexpected()
    }

    /// Retries of the source used since its last progress, and the most there may be (`None`: no
    /// limit).
    #[must_use]
    pub fn mongodb_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        let used = self.parts.identity.retries().unwrap_or(self.parts.stream.retries());
        attempt(used, config.retries.mongodb)
    }

    /// The same for Kafka.
    #[must_use]
    pub fn kafka_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        attempt(self.parts.publishing.retries(), config.retries.kafka)
    }

    /// The same for the token store: of the lease before it is held, of saves after.
    #[must_use]
    pub fn store_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        let used = self.parts.lease.retries().unwrap_or(self.parts.saves.retries());
        attempt(used, config.retries.token_store)
    }

    /// The machine without the numbers that only grow, for whoever explores it: of two machines in the same situation,
    /// the same inputs make the same.
    #[must_use]
    pub fn situation(&self) -> Vec<u64> {
        let Parts { identity, lease, publishing, stream, origin, window, record, saves, life } = &self.parts;
        let life = match life {
            Life::NotStarted => 0,
            Life::Running => 1,
            // Which fault a drain is for makes no difference to it; whether a person asked for it does.
            Life::Draining(Cause::Drained) => 2,
            Life::Draining(Cause::DrainIncomplete) => 3,
            Life::Draining(_) => 4,
            Life::Stopped(_) => return [5].into(),
        };
        [
            &[life][..],
            &identity.situation(),
            &lease.situation(),
            &publishing.situation(),
            &stream.situation(),
            &origin.situation(),
            &window.situation(),
            &record.situation(),
            &saves.situation(),
        ]
        .concat()
    }

    /// Checks the machine's invariants; tests, simulations and debug monitors ask.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check_invariants(&self, config: &Config) -> Result<(), &'static str> {
        let Parts { lease, publishing, stream, window, record, saves, .. } = &self.parts;
        window.check()?;
        let is_bounded = window.unsaved_weight() <= config.max_replay_events.max(1);
        ensure(is_bounded, "a crash replays at most max_replay_events")?;
        publishing.check(window)?;
        record.check(window.newest())?;
        saves.check(window, record, &self.timers)?;
        match self.state() {
            StateName::Connecting => self.check_connecting(),
            StateName::Streaming => {
                self.check_open()?;
                let asked = stream.asked().ok_or("Streaming waits for a fetch")?;
                ensure(asked > 0, "a fetch asks for something")?;
                ensure(!publishing.announcements().are_due(), "gaps are told before the next event")?;
                ensure(u64::from(asked) <= credit(window, config), "a fetch is within the credit")
            }
            StateName::AwaitingAck => {
                ensure(window.unsettled() > 0, "AwaitingAck waits for a report")?;
                if stream.trouble().is_some() { Ok(()) } else { self.check_open() }
            }
            StateName::SavingToken => {
                self.check_open()?;
                ensure(window.unsettled() == 0, "SavingToken has nothing in flight")?;
                ensure(saves.is_under_way(&self.timers), "SavingToken has a save under way")
            }
            StateName::Draining => {
                ensure(self.timers.is_running(TimerKind::Drain), "a drain has its time-out")?;
                let is_settled = window.unsettled() == 0 && window.unsaved_prefix().is_none();
                let is_done = is_settled && !saves.is_under_way(&self.timers);
                ensure(is_done || !lease.is_releasing(), "the lease is given back last")
            }
            StateName::Stopped => Ok(()),
        }
    }

    fn check_connecting(&self) -> Result<(), &'static str> {
        let Parts { lease, stream, window, saves, .. } = &self.parts;
        let waits =
            self.timers.is_running(TimerKind::Reconnect) || self.timers.is_running(TimerKind::LeaseWait);
        ensure(window.unsettled() == 0, "Connecting has nothing in flight")?;
        ensure(!waits || stream.epoch().is_none(), "nothing waits beside a stream")?;
        ensure(lease.is_held() || stream.epoch().is_none(), "nothing is connected without the lease")?;
        ensure(!stream.is_idle() || saves.is_under_way(&self.timers), "a start waits for its save")
    }

    fn check_open(&self) -> Result<(), &'static str> {
        let Parts { lease, origin, .. } = &self.parts;
        ensure(lease.is_held(), "nothing is read without the lease")?;
        ensure(!origin.is_lost(), "nothing is read from a position that is lost")?;
        ensure(
            !self.parts.has_start_to_record(),
            "nothing is read before a start, and the gaps before it, are recorded",
        )
    }
}

const fn attempt(used: Backoff, retry: Retry) -> (u32, Option<u32>) {
    (used.retries(), retry.max_retries)
}

impl<R: Clone, T: Clone + Ord> Default for Watcher<R, T> {
    fn default() -> Self {
        Self::new()
    }
}
