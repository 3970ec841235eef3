//! What holds after every step, whatever the world does. Tests, simulations and debug monitors ask. Each part answers for
//! its own; here is what holds between them.

use cdc_machine::{StateName, ensure};

use super::Parts;
use crate::context::Timers;
use crate::partitions::Assignment;
use crate::{Config, Syncer};

impl<R: Clone> Syncer<R> {
    /// Checks the machine's invariants. They hold as long as a fetch is answered with at most what it asked
    /// for.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check_invariants(&self, config: &Config) -> Result<(), &'static str> {
        if self.state == StateName::Stopped {
            return Ok(());
        }
        self.parts.check(config, &self.timers)?;
        let in_hand = self.parts.partitions.in_hand();
        ensure(
            in_hand.records <= config.buffered_records(),
            "records from poll to offset commit are bounded",
        )?;
        ensure(
            self.state != StateName::SavingToken || (in_hand.unsettled == 0 && in_hand.records > 0),
            "SavingToken has everything written and something to commit",
        )
    }
}

impl<R: Clone> Parts<R> {
    fn check(&self, config: &Config, timers: &Timers) -> Result<(), &'static str> {
        let Self { connection, partitions, parked, .. } = self;
        for window in partitions.iter().filter_map(|(_, assignment)| assignment.window()) {
            window.check()?;
        }
        connection.check(partitions, timers)?;
        for worker in config.worker_ids() {
            parked.check(worker, connection.is_draining(), partitions, timers)?;
        }
        self.writers.check(parked, config, timers)?;
        self.check_slots()?;
        self.bad_rows.check(timers)?;
        self.offsets.check(partitions)?;
        self.polling.check(timers)?;
        self.holds.check(partitions, timers)?;
        self.revocations.check(timers)
    }

    /// Each slot in flight has exactly one row: waiting, being written, or on its way to the dead letters.
    fn check_slots(&self) -> Result<(), &'static str> {
        let mut rows = 0;
        for row in self.bad_rows.read_rows().chain(self.writers.rows()) {
            let assignment = self.partitions.current(row.partition, row.epoch);
            if let Some(window) = assignment.and_then(Assignment::window) {
                ensure(window.is_in_flight(row.seq), "a row's slot is in flight")?;
                rows += 1;
            }
        }
        ensure(rows == self.partitions.in_hand().unsettled, "each slot in flight has its row")
    }
}
