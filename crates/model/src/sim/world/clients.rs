//! Clients of MongoDB, and what a majority comes to have.

use super::World;

impl World {
    pub(super) fn write(&mut self, arg: u16) {
        self.written += 1;
        let [shape, rest] = arg.to_le_bytes();
        let shape = match shape % 20 {
            1..=3 if !self.options.exchanges => 8,
            shape => shape,
        };
        self.mongo.write(shape, rest & 1, rest >> 1 & 7, rest >> 4 & 7);
    }

    pub(super) fn replicate(&mut self, entries: usize) {
        for change in self.mongo.replicate(entries).iter().filter(|change| change.is_told()) {
            self.oracles.delivery.happened(change.token);
            self.oracles.rows.happened((change.table, change.key), change.token, change.name());
            self.coverage.changes += 1;
        }
    }
}
