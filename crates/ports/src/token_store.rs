use std::fmt;
use std::future::Future;
use std::time::Duration;

use cdc_event::{Position, ResumeToken};
use cdc_machine::Lineage;
use cdc_watcher::{Known, RecordChange};

use crate::Failure;
use crate::ProcessId;

/// What a token record belongs to. A record made for something else is never used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The replica set's name and the database: `rs0/game_db`.
    pub source: String,
    /// The watched collections, sorted by name.
    pub collections: Vec<Watched>,
}

/// A watched collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
}

/// A collection in a token record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCollection {
    /// Its name.
    pub name: String,
    /// Its topic; `None` in a record of the first version, which does not say whose topic is whose.
    pub topic: Option<String>,
    /// What the position knows of both.
    pub known: Known,
}

/// Part of the history that was not delivered, and why. The last twenty are kept, and of those that are open one for
/// every one: beyond a hundred, one may stand for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// The position before it; `None` where nobody knows.
    pub from: Option<Position>,
    /// The position behind it: everything after this is delivered.
    pub to: Position,
    /// Why.
    pub cause: String,
    /// Where.
    pub collections: Vec<String>,
    /// How many gaps it stands for.
    pub stands_for: u32,
    /// RFC 3339.
    pub opened_at: String,
    /// True once every partition has its control message.
    pub announced: bool,
    /// RFC 3339, once a snapshot has closed it.
    pub healed_at: Option<String>,
    /// RFC 3339, once a person has said that it was seen.
    pub acknowledged_at: Option<String>,
}

impl GapRecord {
    /// True where it is neither healed nor acknowledged.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.healed_at.is_none() && self.acknowledged_at.is_none()
    }

    /// How many of these are open, each counted as often as it stands for.
    #[must_use]
    pub fn count_open(gaps: &[Self]) -> u64 {
        gaps.iter().filter(|gap| gap.is_open()).map(|gap| u64::from(gap.stands_for)).sum()
    }
}

/// What a store holds, as `cdc token show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Where to go on.
    pub token: ResumeToken,
    /// When the record was first made.
    pub lineage: Lineage,
    /// The source that it belongs to.
    pub source: String,
    /// What it knows of the collections and their topics.
    pub collections: Vec<RecordedCollection>,
    /// Unix milliseconds of the last save, by the store's clock.
    pub saved_at_ms: i64,
    /// The same clock, when the record was read or written.
    pub read_at_ms: i64,
    /// How often the lease has changed hands.
    pub incarnation: u64,
    /// The instance that holds or last held the lease; `None` when it was given back.
    pub holder: Option<String>,
    /// What was not delivered.
    pub gaps: Vec<GapRecord>,
}

impl TokenRecord {
    /// How long ago the position was saved when the record was read.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.read_at_ms.saturating_sub(self.saved_at_ms)).unwrap_or(0))
    }
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The instance's name.
    pub instance: String,
    /// Its process, where the record says so.
    pub process: Option<ProcessId>,
    /// It was seen alive beside the process that asks, and has the same name: two processes were given one.
    pub is_living_namesake: bool,
}

impl Holder {
    /// Why somebody waits, and what there is to do about it.
    #[must_use]
    pub fn why_waiting(&self) -> String {
        let Self { instance, process, is_living_namesake } = self;
        match process {
            Some(process) if *is_living_namesake => format!(
                "standby: instance {instance:?} already runs on this machine as pid {} (since {}); set `instance` \
                 per process",
                process.pid,
                process.since()
            ),
            Some(_) | None => format!("standby: {self} holds the lease"),
        }
    }
}

/// `host-a (pid 123 on host-a)`
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "{} ({process})", self.instance),
            None => f.write_str(&self.instance),
        }
    }
}

/// What came of the attempt to take the lease.
#[derive(Debug)]
pub enum Acquisition {
    /// It is ours, and the store has never held a position.
    Empty,
    /// It is ours, with a position.
    Position {
        /// The record.
        record: Box<TokenRecord>,
        /// What it knows of the identity's collections, in their order; `None` for one that it does not name.
        known: Vec<Option<Known>>,
    },
    /// It is ours; there was a position, which a damaged record has lost.
    Lost,
    /// Somebody else has it for this much longer.
    Held {
        /// Who.
        holder: Holder,
        /// At most this long.
        expires_in: Duration,
        /// How long ago they saved a position, where there is one.
        saved_ago: Option<Duration>,
    },
    /// The record was made for another source or topic; the text says which, and the way out.
    Foreign(String),
    /// The record is damaged, and was left as it is; the text says where and how.
    Damaged(String),
    /// The record was written by a newer release, and was left as it is; the text says so.
    Unreadable(String),
}

/// What a save did beside recording the position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The gaps that it opened.
    pub opened: Vec<GapRecord>,
    /// Gaps in the record that are open.
    pub open_gaps: u64,
}

/// A leased and fenced place for the resume token. One task owns it.
pub trait TokenStore: Send + 'static {
    /// Says which source the record has to belong to, as [`SourceIdentity`](crate::SourceIdentity) names it. Called before
    /// the lease is taken.
    fn set_source(&mut self, source: &str);

    /// Takes the lease and reads the record. A process that lives beside this one is never evicted, and one that is
    /// gone is replaced at once. Elsewhere the same instance takes its own lease over at once, unless it did so within
    /// the last TTL. With `over_damage` the lease is taken over a damaged record too, which
    /// loses what that held; the loss is recorded.
    ///
    /// # Errors
    /// `Transient` where the store does not answer, and never an empty record for that.
    fn acquire(&mut self, over_damage: bool) -> impl Future<Output = Result<Acquisition, Failure>> + Send;

    /// Extends the lease.
    ///
    /// # Errors
    /// `Fenced` where somebody else owns it.
    fn renew(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Records the position and what changes with it, if the lease is still ours (compare-and-set on
    /// incarnation, owner and save sequence).
    ///
    /// # Errors
    /// `Fenced` where somebody else owns the record.
    fn save(
        &mut self,
        token: &ResumeToken,
        lineage: Lineage,
        change: &RecordChange<ResumeToken>,
    ) -> impl Future<Output = Result<Recorded, Failure>> + Send;

    /// Gives the lease back.
    ///
    /// # Errors
    /// Whatever the store says. The lease then runs out by itself.
    fn release(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads the record without taking anything.
    ///
    /// # Errors
    /// `Transient` where the store does not answer, `Fatal` where the record cannot be read, and never an
    /// empty record for either.
    fn peek(&mut self) -> impl Future<Output = Result<Option<TokenRecord>, Failure>> + Send;
}
