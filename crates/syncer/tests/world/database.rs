//! PostgreSQL, as far as the adapter's transactions go: the table with its unique name, the tombstones, the
//! parked rows, and who holds a partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use cdc_machine::Epoch;
use cdc_syncer::{Hold, HoldReason, ParkedRows, Parking, Partition, Row, WorkerId};

use super::{Message, route};

/// Parked rows of one retry.
const RETRIED_MAX: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Database {
    workers: u32,
    /// The assignment that each partition was last acquired for; none where somebody else has it.
    pub(crate) owners: BTreeMap<Partition, Option<Epoch>>,
    /// Partitions whose table cannot be written.
    pub(crate) broken: BTreeMap<Partition, HoldReason>,
    /// Position and name of each row.
    pub(crate) table: BTreeMap<u8, (u64, u16)>,
    tombstones: BTreeMap<u8, u64>,
    pub(crate) parked: BTreeMap<u8, Entry>,
    /// Rows ever parked, and older versions ever taken out of the table.
    pub(crate) parkings: u64,
    pub(crate) openings: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    message: Message,
    attempts: u32,
}

/// What a transaction comes to.
pub(crate) enum Committed {
    Written(Vec<ParkedRows>),
    Refused(Vec<Partition>),
    Held(Vec<Hold>),
    Blocked,
}

/// What a retry comes to.
pub(crate) enum Retried {
    Done { parked: Vec<ParkedRows>, is_changed: bool },
    Refused(Vec<Partition>),
    Held(Vec<Hold>),
}

impl Database {
    pub(crate) fn new(workers: u32) -> Self {
        Self {
            workers,
            owners: BTreeMap::new(),
            broken: BTreeMap::new(),
            table: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            parked: BTreeMap::new(),
            parkings: 0,
            openings: 0,
        }
    }

    /// What an acquisition learns of a partition's parked rows.
    pub(crate) fn parked_of(&self, partition: Partition) -> Vec<(WorkerId, u64)> {
        (0..self.workers)
            .map(WorkerId)
            .map(|worker| (worker, self.count(worker, partition)))
            .filter(|(_, rows)| *rows > 0)
            .collect()
    }

    fn count(&self, worker: WorkerId, partition: Partition) -> u64 {
        self.parked.values().filter(|entry| self.is_of(entry, worker, partition)).count() as u64
    }

    fn is_of(&self, entry: &Entry, worker: WorkerId, partition: Partition) -> bool {
        entry.message.partition == partition.0
            && route(entry.message.key) % u64::from(self.workers) == u64::from(worker.0)
    }

    fn refused(&self, of: impl Iterator<Item = (Partition, Epoch)>) -> Vec<Partition> {
        let mut refused: Vec<_> = of
            .filter(|(partition, epoch)| self.owners.get(partition) != Some(&Some(*epoch)))
            .map(|(partition, _)| partition)
            .collect();
        refused.dedup();
        refused
    }

    /// Those of these whose table cannot be written.
    pub(crate) fn held(&self, of: impl Iterator<Item = (Partition, Epoch)>) -> Vec<Hold> {
        let mut held: Vec<Hold> = of
            .filter_map(|(partition, epoch)| {
                let reason = *self.broken.get(&partition)?;
                Some(Hold { partition, epoch, reason, detail: Arc::from("the table is out of order") })
            })
            .collect();
        held.dedup_by_key(|hold| hold.partition);
        held
    }

    /// One batch, all of it or nothing.
    pub(crate) fn write(&mut self, worker: WorkerId, rows: &[Row<Message>], parking: Parking) -> Committed {
        let refused = self.refused(rows.iter().map(|row| (row.partition, row.epoch)));
        if !refused.is_empty() {
            return Committed::Refused(refused);
        }
        let held = self.held(rows.iter().map(|row| (row.partition, row.epoch)));
        if !held.is_empty() {
            return Committed::Held(held);
        }
        let before = self.clone();
        let mut winners: BTreeMap<u8, Message> = BTreeMap::new();
        for row in rows {
            assert_eq!(route(row.handle.key), row.route);
            assert_eq!(row.route % u64::from(self.workers), u64::from(worker.0));
            let winner = winners.entry(row.handle.key).or_insert(row.handle);
            if row.handle.position > winner.position {
                *winner = row.handle;
            }
        }
        if parking == Parking::Off {
            for row in rows {
                assert_eq!(self.count(worker, row.partition), 0, "parked rows are passed over");
            }
        } else {
            winners.retain(|key, winner| self.is_above_parked(*key, winner.position));
        }
        for (key, winner) in winners.iter().filter(|(_, winner)| winner.name.is_none()) {
            self.delete(*key, winner.position);
        }
        let upserts: Vec<Message> = winners.into_values().filter(|winner| winner.name.is_some()).collect();
        let blocked = self.upsert_around(upserts);
        if !blocked.is_empty() && parking != Parking::Park {
            *self = before;
            return Committed::Blocked;
        }
        self.parkings += blocked.len() as u64;
        self.parked.extend(blocked.into_iter().map(|message| (message.key, Entry { message, attempts: 0 })));
        let mut parked: Vec<ParkedRows> = Vec::new();
        for row in rows.iter().filter(|_| parking != Parking::Off) {
            if parked.iter().all(|known| known.partition != row.partition) {
                let rows = self.count(worker, row.partition);
                parked.push(ParkedRows { partition: row.partition, rows });
            }
        }
        Committed::Written(parked)
    }

    /// False where the parked version is not older.
    fn is_above_parked(&mut self, key: u8, position: u64) -> bool {
        if self.parked.get(&key).is_some_and(|entry| entry.message.position >= position) {
            return false;
        }
        self.parked.remove(&key);
        true
    }

    fn delete(&mut self, key: u8, position: u64) {
        if self.table.get(&key).is_some_and(|(at, _)| *at < position) {
            self.table.remove(&key);
        }
        let tombstone = self.tombstones.entry(key).or_default();
        *tombstone = position.max(*tombstone);
    }

    /// Writes what no other row's name blocks; returns the rest.
    fn upsert_around(&mut self, mut upserts: Vec<Message>) -> Vec<Message> {
        loop {
            let before = upserts.len();
            upserts.retain(|message| !self.upsert(*message));
            if upserts.len() == before || upserts.is_empty() {
                return upserts;
            }
        }
    }

    /// False where it is blocked.
    fn upsert(&mut self, message: Message) -> bool {
        let Message { key, position, name: Some(name), .. } = message else { return true };
        let is_newer = self.table.get(&key).is_none_or(|(at, _)| *at < position)
            && self.tombstones.get(&key).is_none_or(|at| *at < position);
        if is_newer && self.table.iter().any(|(other, (_, taken))| *other != key && *taken == name) {
            return false;
        }
        if is_newer {
            self.table.insert(key, (position, name));
        }
        true
    }

    /// One retry of parked rows, all of it or nothing.
    pub(crate) fn retry(&mut self, worker: WorkerId, partitions: &[(Partition, Epoch)]) -> Retried {
        let refused = self.refused(partitions.iter().copied());
        if !refused.is_empty() {
            return Retried::Refused(refused);
        }
        let held = self.held(partitions.iter().copied());
        if !held.is_empty() {
            return Retried::Held(held);
        }
        let mut entries: Vec<Entry> = self
            .parked
            .values()
            .filter(|entry| partitions.iter().any(|(partition, _)| self.is_of(entry, worker, *partition)))
            .copied()
            .collect();
        entries.sort_by_key(|entry| entry.attempts);
        entries.truncate(RETRIED_MAX);
        let tried: Vec<Message> = entries.iter().map(|entry| entry.message).collect();
        let mut blocked = self.upsert_around(tried.clone());
        let mut opened = 0;
        for message in &blocked {
            opened += u64::from(self.table.remove(&message.key).is_some());
        }
        if opened > 0 {
            blocked = self.upsert_around(blocked);
        }
        self.openings += opened;
        for message in &tried {
            self.parked.remove(&message.key);
        }
        let resolved = tried.len() - blocked.len();
        for message in blocked {
            let before = entries.iter().find(|entry| entry.message.key == message.key);
            let attempts = before.map_or(0, |entry| entry.attempts + 1);
            self.parked.insert(message.key, Entry { message, attempts });
        }
        let parked = partitions
            .iter()
            .map(|(partition, _)| ParkedRows { partition: *partition, rows: self.count(worker, *partition) })
            .collect();
        Retried::Done { parked, is_changed: opened > 0 || resolved > 0 }
    }
}
