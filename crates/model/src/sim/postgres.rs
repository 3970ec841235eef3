//! PostgreSQL, as far as the adapter's transactions go: what a statement sees and what a commit shows are apart, row locks
//! and the shared locks on the ledger's rows are held until the end, and another transaction in the way is waited for.

use cdc_machine::{EffectId, Epoch, Plant, planted};
use cdc_syncer::{Batch, ParkedRows, Parking, Partition, WorkerId};

use super::group::{Set, each};
use super::message::{KEYS, Kind, Message, PARTITIONS, TABLES, Version, partition_of};
use super::store::Life;
use statements::Sheet;
pub use tables::{Place, Stored, Tables};

mod statements;
mod tables;

/// A parked row.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Entry {
    /// Its message.
    pub message: Message,
    /// The record that it came from.
    pub offset: i64,
    attempts: u32,
}

impl Entry {
    /// The partition that it came from.
    #[must_use]
    pub const fn partition(&self) -> usize {
        partition_of(self.message.table, self.message.key)
    }

    const fn place(&self) -> Place {
        (self.message.table, self.message.key)
    }
}

/// A row of the ledger.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct LedgerRow {
    /// How often it was taken.
    pub epoch: u32,
    /// By whom last.
    pub owner: (Life, Epoch),
    /// Everything below is written.
    pub next: Option<i64>,
}

/// What a process knows of a partition that it has taken.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Claim {
    /// For which assignment.
    pub epoch: Epoch,
    /// The lowest offset that its row may show.
    pub floor: Option<i64>,
    /// On which server.
    pub server: u32,
}

/// What a process knows of the partitions that it has taken.
pub type Claims = [Option<Claim>; PARTITIONS];

/// What a transaction is for.
#[derive(Clone, Debug, Hash)]
pub enum Work {
    /// Write a batch.
    Write {
        /// Its rows.
        batch: Batch<Message>,
        /// What to do about parked rows.
        parking: Parking,
    },
    /// Try parked rows again.
    Retry {
        /// Of these partitions.
        partitions: Vec<(Partition, Epoch)>,
        /// Those are to be removed.
        given_up: Vec<(Partition, i64)>,
    },
}

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its first statement is on its way.
    New,
    /// It holds its ledger rows.
    Holding,
    /// Its statements are done, and its locks held.
    Applied,
}

/// A transaction.
#[derive(Clone, Debug, Hash)]
pub struct Transaction {
    /// The process that began it.
    pub life: Life,
    /// The worker.
    pub worker: WorkerId,
    /// Its request.
    pub id: EffectId,
    /// What for.
    pub work: Work,
    /// How far it has come.
    pub stage: Stage,
    /// Nobody waits for it any more: it commits, or is rolled back.
    pub orphan: Option<bool>,
    held: Set,
    row_locks: u16,
    tombstone_locks: u16,
    after: Tables,
    /// Messages that took effect.
    pub written: Vec<(Place, Message)>,
    unparked: Vec<Place>,
    parked: Vec<Entry>,
    /// Rows that no table takes.
    pub rejected: Vec<usize>,
    /// True where a retry has changed something.
    pub is_changed: bool,
}

/// What a statement comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is done.
    Done,
    /// Another transaction is in the way.
    Waits,
    /// Somebody else owns these partitions.
    Refused(Vec<Partition>),
    /// Another row stands in the way.
    Blocked,
}

/// Tables, ledger and parked rows.
type Copied = (Tables, [LedgerRow; PARTITIONS], Vec<Entry>);

/// The server.
#[derive(Clone, Debug, Default, Hash)]
pub struct Postgres {
    /// What is committed.
    pub tables: Tables,
    /// The ledger.
    pub ledger: [LedgerRow; PARTITIONS],
    /// The parked rows.
    pub parked: Vec<Entry>,
    /// What runs.
    pub transactions: Vec<Transaction>,
    /// Which server this is: a copy comes up as another one.
    pub server: u32,
    copy: Option<Box<Copied>>,
}

fn bit((table, key): Place) -> u16 {
    1 << (usize::from(table) * KEYS + usize::from(key))
}

impl Transaction {
    /// One that begins.
    #[must_use]
    pub fn new(life: Life, worker: WorkerId, id: EffectId, work: Work) -> Self {
        Self {
            life,
            worker,
            id,
            work,
            stage: Stage::New,
            orphan: None,
            held: 0,
            row_locks: 0,
            tombstone_locks: 0,
            after: Tables::default(),
            written: Vec::new(),
            unparked: Vec::new(),
            parked: Vec::new(),
            rejected: Vec::new(),
            is_changed: false,
        }
    }

    /// The partitions that it is about, with their assignments.
    #[must_use]
    pub fn partitions(&self) -> Vec<(Partition, Epoch)> {
        match &self.work {
            Work::Write { batch, .. } => {
                let mut of: Vec<_> = batch.rows().iter().map(|row| (row.partition, row.epoch)).collect();
                of.sort_unstable();
                of.dedup();
                of
            }
            Work::Retry { partitions, .. } => partitions.clone(),
        }
    }
}

impl Postgres {
    /// The newest version of a row that is committed, parked or deleted.
    #[must_use]
    pub fn version(&self, place: Place) -> Version {
        let (table, key) = (usize::from(place.0), usize::from(place.1));
        let is_it =
            |it: &&Entry| usize::from(it.message.table) == table && usize::from(it.message.key) == key;
        let parked = self.parked.iter().filter(is_it).map(|it| it.message.version).max().unwrap_or(0);
        self.row_version(place).max(parked)
    }

    /// The newest version of a row that is committed or deleted.
    #[must_use]
    pub fn row_version(&self, (table, key): Place) -> Version {
        let (table, key) = (usize::from(table), usize::from(key));
        let row = self.tables.rows[table][key].map_or(0, |row| row.version);
        row.max(self.tables.tombstones[table][key])
    }

    /// True where nobody holds the partition's row in the ledger.
    #[must_use]
    pub fn is_free(&self, partition: usize) -> bool {
        self.transactions.iter().all(|it| it.held & (1 << partition) == 0)
    }

    /// True where the ledger and the process agree that this assignment owns the partition, which was taken on this
    /// server, and the offset has not gone back behind what the process knows.
    #[must_use]
    pub fn is_owner(&self, partition: usize, owner: (Life, Epoch), claims: &Claims) -> bool {
        let row = &self.ledger[partition];
        let is_claimed = claims[partition].is_some_and(|claim| {
            claim.epoch == owner.1
                && (claim.server == self.server || planted(Plant::AnyServer))
                && row.next >= claim.floor
        });
        planted(Plant::NoLedgerEpoch) || (row.owner == owner && is_claimed)
    }

    /// How many of a partition's rows are parked for a worker.
    #[must_use]
    pub fn parked_rows(&self, worker: WorkerId, partition: Partition, workers: u32) -> u64 {
        self.parked.iter().filter(|it| is_of(it, worker, partition, workers)).count() as u64
    }

    /// A transaction takes its ledger rows.
    pub fn hold(&mut self, at: usize, claims: &Claims) -> Step {
        let transaction = &self.transactions[at];
        let (life, partitions) = (transaction.life, transaction.partitions());
        let is_foreign = |(partition, epoch): &(Partition, Epoch)| {
            let at = partition.0 as usize;
            !self.is_owner(at, (life, *epoch), claims)
        };
        let refused: Vec<_> = partitions.iter().filter(|it| is_foreign(it)).map(|(it, _)| *it).collect();
        if !refused.is_empty() {
            self.transactions.swap_remove(at);
            return Step::Refused(refused);
        }
        let transaction = &mut self.transactions[at];
        if !planted(Plant::NoLedgerEpoch) {
            transaction.held = partitions.iter().fold(0, |set, (it, _)| set | 1 << it.0);
        }
        transaction.stage = Stage::Holding;
        Step::Done
    }

    /// A transaction's statements: all of them, or none as long as another one is in the way.
    pub fn apply(&mut self, at: usize, workers: u32) -> Step {
        let mut transaction = self.transactions.swap_remove(at);
        let mut sheet = Sheet {
            tables: self.tables,
            parked: &self.parked,
            rows: 0,
            tombstones: 0,
            written: Vec::new(),
            unparked: Vec::new(),
            newly_parked: Vec::new(),
        };
        let (mut is_blocked, mut rejected, mut is_changed) = (false, Vec::new(), false);
        match &transaction.work {
            Work::Write { batch, parking } => {
                is_blocked = !sheet.write(batch.rows(), *parking, &mut rejected);
            }
            Work::Retry { partitions, given_up } => {
                is_changed = sheet.retry(transaction.worker, partitions, given_up, workers);
            }
        }
        let Sheet { tables, rows, tombstones, written, unparked, newly_parked, .. } = sheet;
        let others = self.transactions.iter().filter(|it| it.stage == Stage::Applied);
        let is_in_the_way = |it: &Transaction| {
            it.row_locks & rows != 0
                || it.tombstone_locks & tombstones != 0
                || written.iter().any(|(place, message)| it.takes_name(*place, message))
        };
        if others.into_iter().any(is_in_the_way) {
            self.transactions.push(transaction);
            return Step::Waits;
        }
        if is_blocked {
            return Step::Blocked;
        }
        transaction.after = tables;
        (transaction.row_locks, transaction.tombstone_locks) = (rows, tombstones);
        (transaction.written, transaction.unparked, transaction.parked) = (written, unparked, newly_parked);
        (transaction.rejected, transaction.is_changed) = (rejected, is_changed);
        transaction.stage = Stage::Applied;
        self.transactions.push(transaction);
        Step::Done
    }

    /// A transaction is committed.
    pub fn commit(&mut self, at: usize) -> Transaction {
        let transaction = self.transactions.swap_remove(at);
        for table in 0..TABLES {
            for key in 0..KEYS {
                let locked = 1 << (table * KEYS + key);
                if transaction.row_locks & locked != 0 {
                    self.tables.rows[table][key] = transaction.after.rows[table][key];
                }
                if transaction.tombstone_locks & locked != 0 && !planted(Plant::TombstoneApart) {
                    self.tables.tombstones[table][key] = transaction.after.tombstones[table][key];
                }
            }
        }
        self.parked.retain(|it| !transaction.unparked.contains(&it.place()));
        self.parked.extend(&transaction.parked);
        transaction
    }

    /// Planted: the tombstones of a transaction follow, in another one.
    pub fn bury(&mut self, transaction: &Transaction) {
        for (place, message) in transaction.written.iter().filter(|(_, it)| it.kind == Kind::Delete) {
            let tombstone = self.tables.tombstone(*place);
            *tombstone = message.version.max(*tombstone);
        }
    }

    /// A transaction is rolled back.
    pub fn roll_back(&mut self, at: usize) -> Transaction {
        self.transactions.swap_remove(at)
    }

    /// Keeps a copy of all that is committed.
    pub fn back_up(&mut self) {
        self.copy = Some(Box::new((self.tables, self.ledger, self.parked.clone())));
    }

    /// The copy, and which server this is: they decide what a restore does.
    pub fn kept(&self) -> impl std::hash::Hash + '_ {
        (self.server, &self.copy)
    }

    /// True where there is a copy.
    #[must_use]
    pub const fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// The copy takes the server's place; what ran is gone.
    pub fn restore(&mut self) -> Vec<Transaction> {
        self.server += 1;
        if let Some(copy) = &self.copy {
            (self.tables, self.ledger, self.parked) = (**copy).clone();
        }
        std::mem::take(&mut self.transactions)
    }

    /// Every place.
    pub fn places() -> impl Iterator<Item = Place> {
        (0..TABLES * KEYS).map(|at| {
            let byte = |number: usize| u8::try_from(number).unwrap_or(0);
            (byte(at / KEYS), byte(at % KEYS))
        })
    }

    /// How many rows of each partition that a transaction was about are parked for its worker.
    #[must_use]
    pub fn parked_after(&self, transaction: &Transaction, workers: u32) -> Vec<ParkedRows> {
        let of = transaction.partitions().into_iter();
        of.map(|(partition, _)| ParkedRows {
            partition,
            rows: self.parked_rows(transaction.worker, partition, workers),
        })
        .collect()
    }
}

impl Transaction {
    fn takes_name(&self, (table, key): Place, message: &Message) -> bool {
        let is_same = |(place, other): &(Place, Message)| {
            place.0 == table && place.1 != key && other.kind == Kind::Upsert && other.name == message.name
        };
        message.kind == Kind::Upsert && self.written.iter().any(is_same)
    }

    /// The partitions whose ledger rows it holds.
    pub fn holds(&self) -> impl Iterator<Item = usize> {
        each(self.held)
    }
}

fn is_of(entry: &Entry, worker: WorkerId, partition: Partition, workers: u32) -> bool {
    let route = super::message::route(entry.message.key);
    entry.partition() == partition.0 as usize && route % u64::from(workers) == u64::from(worker.0)
}
