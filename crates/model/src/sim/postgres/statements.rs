//! The statements of the adapter's transactions: the batch and the retry of parked rows.

use cdc_machine::{Epoch, Plant, planted};
use cdc_syncer::{Parking, Partition, Row, WorkerId};

use super::{Entry, Place, Stored, Tables, bit, is_of};
use crate::sim::message::{Kind, Message, Version};

/// Parked rows of one retry.
const RETRIED_MAX: usize = 3;

/// What the statements of one transaction work on.
pub(super) struct Sheet<'a> {
    pub(super) tables: Tables,
    pub(super) parked: &'a [Entry],
    pub(super) rows: u16,
    pub(super) tombstones: u16,
    pub(super) written: Vec<(Place, Message)>,
    pub(super) unparked: Vec<Place>,
    pub(super) newly_parked: Vec<Entry>,
}

impl Sheet<'_> {
    /// False where a row is blocked.
    pub(super) fn write(
        &mut self,
        rows: &[Row<Message>],
        parking: Parking,
        rejected: &mut Vec<usize>,
    ) -> bool {
        let mut winners: Vec<(Place, Message, i64)> = Vec::new();
        let table_of_first = rows.first().map_or(0, |row| row.handle.table);
        for (index, row) in rows.iter().enumerate() {
            let message = row.handle;
            if message.is_poison {
                rejected.push(index);
                continue;
            }
            if !matches!(message.kind, Kind::Upsert | Kind::Delete) {
                continue;
            }
            let table = if planted(Plant::OtherTable) { table_of_first } else { message.table };
            let place = (table, message.key);
            match winners.iter_mut().find(|(it, ..)| *it == place) {
                Some((_, winner, offset)) => {
                    if message.version > winner.version || planted(Plant::LastWins) {
                        (*winner, *offset) = (message, row.offset);
                    }
                }
                None => winners.push((place, message, row.offset)),
            }
        }
        if parking != Parking::Off {
            winners.retain(|(place, message, _)| self.is_above_parked(*place, message.version));
        }
        for (place, message, _) in winners.iter().filter(|(_, it, _)| it.kind == Kind::Delete) {
            self.delete(*place, *message);
        }
        let upserts = winners.into_iter().filter(|(_, it, _)| it.kind == Kind::Upsert).collect();
        let blocked = self.upsert_around(upserts);
        let is_blocked = !blocked.is_empty() && parking != Parking::Park;
        let entry = |(_, message, offset)| Entry { message, offset, attempts: 0 };
        self.newly_parked.extend(blocked.into_iter().map(entry));
        !is_blocked
    }

    fn is_above_parked(&mut self, place: Place, version: Version) -> bool {
        let Some(entry) = self.parked.iter().find(|it| it.place() == place) else { return true };
        // The entry is locked like a row: a retry of it that is under way is waited for.
        self.rows |= bit(place);
        if entry.message.version >= version {
            return false;
        }
        self.unparked.push(place);
        true
    }

    fn delete(&mut self, place: Place, message: Message) {
        let row = self.tables.row(place);
        if row.is_some() {
            self.rows |= bit(place);
        }
        row.take_if(|row| row.version < message.version);
        let is_gone = row.is_none();
        self.tombstones |= bit(place);
        let tombstone = self.tables.tombstone(place);
        if is_gone && *tombstone < message.version {
            self.written.push((place, message));
        }
        *tombstone = message.version.max(*tombstone);
    }

    fn upsert_around(&mut self, mut upserts: Vec<(Place, Message, i64)>) -> Vec<(Place, Message, i64)> {
        loop {
            let before = upserts.len();
            upserts.retain(|(place, message, _)| !self.upsert(*place, *message));
            if upserts.len() == before || upserts.is_empty() {
                return upserts;
            }
        }
    }

    fn upsert(&mut self, place: Place, message: Message) -> bool {
        self.rows |= bit(place);
        let is_newer = self.tables.row(place).is_none_or(|row| row.version < message.version)
            && *self.tables.tombstone(place) < message.version;
        if !is_newer && !planted(Plant::NoFence) {
            return true;
        }
        if self.tables.has_name(place, message.name) {
            return false;
        }
        *self.tables.row(place) = Some(Stored { version: message.version, name: message.name });
        self.written.push((place, message));
        true
    }

    pub(super) fn retry(
        &mut self,
        worker: WorkerId,
        partitions: &[(Partition, Epoch)],
        given_up: &[(Partition, i64)],
        workers: u32,
    ) -> bool {
        let of = |it: &&Entry| partitions.iter().any(|(partition, _)| is_of(it, worker, *partition, workers));
        let mut entries: Vec<Entry> = self.parked.iter().filter(of).copied().collect();
        let is_given_up = |it: &Entry| {
            given_up.iter().any(|(p, offset)| (p.0 as usize, *offset) == (it.partition(), it.offset))
        };
        self.unparked.extend(entries.iter().filter(|it| is_given_up(it)).map(Entry::place));
        entries.retain(|it| !is_given_up(it));
        entries.sort_by_key(|it| it.attempts);
        entries.truncate(RETRIED_MAX);
        let tried = entries.iter().map(|it| (it.place(), it.message, it.offset)).collect();
        let mut blocked = self.upsert_around(tried);
        let mut opened = 0;
        for (place, ..) in &blocked {
            opened += usize::from(self.tables.row(*place).take().is_some());
        }
        if opened > 0 {
            blocked = self.upsert_around(blocked);
        }
        let resolved = entries.len() - blocked.len();
        self.unparked.extend(entries.iter().map(Entry::place));
        for (place, message, offset) in blocked {
            let before = entries.iter().find(|it| it.place() == place);
            let attempts = before.map_or(0, |it| it.attempts + 1);
            self.newly_parked.push(Entry { message, offset, attempts });
        }
        opened > 0 || resolved > 0
    }
}
