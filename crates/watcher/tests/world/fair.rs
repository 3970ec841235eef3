//! A world in good health: everything that is owed is answered, every timer runs out.

use cdc_machine::{Cause, StateName};

use super::{Move, Outcome, World};

/// Rounds in which a healthy world must get done; a hundred or so do.
const ROUNDS_MAX: u32 = 5_000;

impl World {
    /// Everything owed is answered well, once; then every timer but the drain's runs out, once.
    fn heal_for_a_round(&mut self) {
        self.answer_lease(Outcome::Good);
        self.answer_producer(Outcome::Good);
        self.answer_source(Outcome::Good, 4);
        self.deliver_all();
        self.answer_save(Outcome::Good);
        for timer in 0..8 {
            self.make(&Move::Timer(timer));
        }
        self.answer_lease(Outcome::Good);
    }

    /// In good health the Watcher, started anew where it had stopped, catches up with the source.
    pub(crate) fn catch_up(&mut self) {
        if self.stop.is_some() || self.is_draining {
            self.crash();
        }
        for _ in 0..ROUNDS_MAX {
            if self.is_caught_up() && self.machine.state() == StateName::Streaming {
                return;
            }
            if self.stop.is_some() {
                // The retries had been used up before the world healed.
                self.crash();
            }
            self.heal_for_a_round();
        }
        panic!("the source is at {}, the store at {:?}: {:?}", self.log, self.record, self.machine);
    }

    /// In good health a drain that begins in the middle of anything ends.
    pub(crate) fn end_by_signal(&mut self) {
        if !self.is_draining {
            self.make(&Move::Drain);
        }
        for _ in 0..ROUNDS_MAX {
            if self.stop.is_some() {
                return;
            }
            self.heal_for_a_round();
        }
        panic!("the drain does not end: {:?}", self.machine);
    }

    /// In good health a drain ends, and ends cleanly.
    pub(crate) fn drain(&mut self) {
        self.make(&Move::Drain);
        for _ in 0..ROUNDS_MAX {
            if let Some(cause) = self.stop {
                assert_eq!(cause, Cause::Drained);
                assert!(self.unsaved.is_empty(), "a restart replays {:?}", self.unsaved);
                return;
            }
            self.heal_for_a_round();
        }
        panic!("the drain does not end: {:?}", self.machine);
    }
}
