//! What befalls the servers.

use super::World;
use crate::sim::message::{Kind, Message, PARTITIONS};

impl World {
    pub(super) fn elect(&mut self) {
        self.mongo.elect();
        for process in self.watchers.iter_mut().flatten() {
            process.is_stream_broken = true;
        }
    }

    pub(super) fn forget_history(&mut self, kept: usize) {
        self.mongo.forget(kept);
        self.losses.history = true;
        for process in self.watchers.iter_mut().flatten() {
            process.is_stream_broken = true;
        }
    }

    pub(super) fn roll_back_store(&mut self, which: usize) {
        // Without a position the start is made anew, and what was before it is missed.
        let processes = self.watchers.iter().flatten();
        let memory = |life| {
            let process = processes.clone().find(|it| it.life == life && it.memory.is_any());
            process.map(|it| it.memory.has_position())
        };
        if self.store.roll_back(which, !self.options.exchanges, memory) {
            self.is_store_true = false;
            let incarnation = self.store.record().map_or(0, |record| record.incarnation);
            let has_position = self.store.saved().is_some();
            self.losses.record |= !has_position;
            self.oracles.delivery.store_lost(incarnation, has_position);
        }
    }

    /// True where nobody but the record's owner would write it again from memory, in a lineage of its own: an open
    /// boundary, see `specs/simulator.md`.
    pub(super) fn has_one_holder(&self) -> bool {
        let owner = self.store.record().map(|record| record.owner);
        let mut others = self.watchers.iter().flatten().filter(|process| Some(process.life) != owner);
        others.all(|process| !process.memory.is_any())
    }

    pub(super) fn flush_store(&mut self) {
        self.store.flush();
        self.losses.record = true;
        self.is_store_true = false;
        self.oracles.delivery.store_lost(0, false);
    }

    pub(super) fn damage_store(&mut self) {
        self.store.damage();
        self.losses.damage = true;
        self.is_store_true = false;
        self.oracles.delivery.store_lost(0, true);
    }

    /// The oldest records of a partition expire, whether or not anybody has read them.
    pub(super) fn expire(&mut self, arg: usize) {
        let log = &mut self.kafka.logs[arg % PARTITIONS];
        log.expire(arg / PARTITIONS % 6);
    }

    /// What a former producer had on the wire arrives.
    pub(super) fn append_late(&mut self, which: usize) {
        if let Some((partition, offset, message)) = self.kafka.append_late(which) {
            self.appended(partition, offset, message);
        }
    }

    /// The log of a partition has got a message.
    pub(super) fn appended(&mut self, partition: usize, offset: i64, message: Message) {
        self.oracles.offsets.appended(partition, offset, message);
        if message.kind != Kind::Gap {
            self.oracles.delivery.arrived(message.token);
        }
        self.coverage.appended += 1;
    }

    pub(super) fn save_late(&mut self, which: usize) {
        let at = which % self.late_saves.len();
        let late = self.late_saves.swap_remove(at);
        if let Some((token, incarnation, change)) = self.store.swap_late(late) {
            self.on_record(token, incarnation, &change);
        }
    }
}
