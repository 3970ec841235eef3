//! What tells one situation of the world from another, as a number: everything that decides what may happen next or
//! whether an invariant holds. What only counts or traces is left out.

use super::World;
use crate::sim::digest::digest;

impl World {
    /// The situation as a number, of which the order in which answers and transactions stand in their lists is no part:
    /// any of them may be the next.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0_u64, u64::wrapping_add);
        let servers = (&self.mongo, &self.kafka, &self.store, &self.group, self.now);
        let postgres =
            (&self.postgres.tables, &self.postgres.ledger, &self.postgres.parked, self.postgres.kept());
        let running = sum(&mut self.postgres.transactions.iter().map(digest));
        let answers = sum(&mut self.answers.iter().map(digest));
        let late = sum(&mut self.late_saves.iter().map(digest));
        let told = (&self.oracles, &self.marked, self.losses, self.is_store_true);
        let policy = self.options.watcher.on_history_lost == cdc_watcher::OnHistoryLost::FromNow;
        let counts = (self.lives, self.written, self.revocations, policy, self.unburied.len());
        digest((servers, postgres, running, answers, late, &self.watchers, &self.syncers, told, counts))
    }
}
