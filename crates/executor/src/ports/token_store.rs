use std::future::Future;
use std::time::Duration;

use cdc_event::ResumeToken;
use cdc_machine::Lineage;

use super::Failure;

/// What a token record belongs to. A record made for something else is never used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The replica set's name and the database: `rs0/game_db`.
    pub source: String,
    /// The watched collections, sorted.
    pub collections: Vec<String>,
    /// The topic template's topics, sorted.
    pub topics: Vec<String>,
}

/// Part of the history that was not delivered, and why. The last twenty are kept, open ones always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// Position before the gap, in hex.
    pub from: String,
    /// Position after the gap, in hex.
    pub to: String,
    /// Why.
    pub cause: String,
    /// Where.
    pub collections: Vec<String>,
    /// RFC 3339.
    pub opened_at: String,
    /// True once every partition has its control message.
    pub announced: bool,
    /// RFC 3339, once a snapshot has closed it.
    pub healed_at: Option<String>,
}

/// What a store holds, as `cdc token show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Where to go on.
    pub token: ResumeToken,
    /// When the record was first made.
    pub lineage: Lineage,
    /// What it belongs to.
    pub identity: StoreIdentity,
    /// Unix milliseconds of the last save.
    pub saved_at_ms: i64,
    /// How often the lease has changed hands.
    pub incarnation: u64,
    /// The instance that holds or last held the lease; `None` when it was given back.
    pub holder: Option<String>,
    /// What was not delivered.
    pub gaps: Vec<GapRecord>,
}

/// What came of the attempt to take the lease.
#[derive(Debug)]
pub enum Acquisition {
    /// It is ours. `None`: the store has never held a position.
    Owned(Option<TokenRecord>),
    /// Somebody else has it for this much longer.
    Held {
        /// Their instance name.
        holder: String,
        /// At most this long.
        expires_in: Duration,
    },
    /// The record was made for another source or topic; the text says which, and the way out.
    Foreign(String),
}

/// A leased and fenced place for the resume token. One task owns it.
pub trait TokenStore: Send + 'static {
    /// Takes the lease and reads the record. The same instance takes its own lease over at once, unless it
    /// did so within the last TTL.
    ///
    /// # Errors
    /// `Transient` where the store does not answer, `HistoryLost` where the record is damaged, `Fatal` where a
    /// newer release wrote it; never an empty record for any of these.
    fn acquire(&mut self) -> impl Future<Output = Result<Acquisition, Failure>> + Send;

    /// Extends the lease.
    ///
    /// # Errors
    /// `Fenced` where somebody else owns it.
    fn renew(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Records the position, if the lease is still ours (compare-and-set on incarnation, owner and save
    /// sequence).
    ///
    /// # Errors
    /// `Fenced` where somebody else owns the record.
    fn save(
        &mut self,
        token: &ResumeToken,
        lineage: Lineage,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Gives the lease back.
    ///
    /// # Errors
    /// Whatever the store says. The lease then runs out by itself.
    fn release(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads the record without taking anything.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    fn peek(&mut self) -> impl Future<Output = Result<Option<TokenRecord>, Failure>> + Send;
}
