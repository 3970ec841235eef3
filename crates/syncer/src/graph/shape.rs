//! What tells one situation of a small machine from another.

use alloc::vec::Vec;

use cdc_machine::Backoff;

use super::{Small, WORKER};
use crate::facts::{BadRow, Origin, Polling};
use crate::parked::Phase;
use crate::partitions::Stage;
use crate::state::{Connecting, Draining, Group, State};
use crate::worker::Writer;

impl Small {
    pub(super) const fn polling_shape(&self) -> u64 {
        match self.facts.polling {
            Polling::Idle => 0,
            Polling::Stalled => 1,
            Polling::Paused => 2,
            Polling::Fetching { asked } => 3 + asked as u64,
        }
    }

    pub(super) fn partition_shape(&self) -> [u64; 4] {
        let Some(assignment) = self.assignment() else { return [0; 4] };
        let stage = match assignment.stage {
            Stage::Waiting => 1,
            Stage::Acquiring => 2,
            Stage::Serving(_) => 3,
            Stage::Revoking(_) => 4,
            Stage::Moving => 5,
            Stage::Held => 6,
            Stage::Full => 7,
        };
        let Some(window) = assignment.window() else { return [stage, 0, 0, 0] };
        [stage, window.records(), window.unsettled(), u64::from(window.unsaved().is_some())]
    }

    pub(super) fn worker_shape(&self) -> Vec<u64> {
        let mut shape = Vec::new();
        for worker in &self.facts.workers {
            let (tag, piece) = match &worker.writer {
                Writer::Idle => (0, None),
                Writer::Writing { piece, .. } => (1, Some(piece)),
                Writer::BackingOff(piece) => (2, Some(piece)),
                Writer::Retrying { .. } => (3, None),
                Writer::OutOfReach(piece) => (4, Some(piece)),
            };
            shape.extend([
                tag,
                retries_shape(worker.retries),
                worker.due as u64,
                worker.waiting.len() as u64,
            ]);
            for piece in piece.into_iter().chain(&worker.pieces) {
                let rows = piece.batch.rows();
                let live = rows.iter().filter(|row| self.is_current(row.epoch)).count();
                shape.extend([rows.len() as u64, live as u64, u64::from(piece.parks)]);
            }
            shape.push(u64::MAX);
        }
        shape
    }

    pub(super) fn parked_shape(&self) -> [u64; 5] {
        let parked = &self.facts.parked;
        let phase = parked.retry(WORKER).map_or(0, |retry| match retry.phase {
            Phase::Later => 1,
            Phase::Soon => 2,
            Phase::Due => 3,
            Phase::InFlight { is_stirred: false } => 4,
            Phase::InFlight { is_stirred: true } => 5,
            Phase::OutOfReach => 6,
        });
        // How often a retry was fruitless changes only how long the next one waits.
        let live = parked.entries().filter(|(_, _, epoch, _)| self.is_current(*epoch)).count();
        let is_live = |bad: &&BadRow<()>| bad.origin != Origin::Read && self.is_current(bad.row.epoch);
        let put_aside = self.facts.bad_rows().filter(is_live).count();
        [phase, parked.rows(), live as u64, put_aside as u64, parked.given_up_rows() as u64]
    }

    /// Which requests under way belong to the try before, of a PostgreSQL that is out of reach.
    pub(super) fn late_shape(&self) -> u64 {
        let is_late = |id| u64::from(self.facts.outage.is_late(id));
        let written = self.facts.workers.iter().map(|worker| match worker.writer {
            Writer::Writing { id, .. } | Writer::Retrying { id, .. } => is_late(id),
            Writer::Idle | Writer::BackingOff(_) | Writer::OutOfReach(_) => 0,
        });
        let asked = self.facts.ledger_check.iter().map(|check| 2 * is_late(check.id));
        written.chain(asked).sum()
    }

    /// Those of assignments that are gone all behave alike.
    pub(super) fn dead_letters_shape(&self) -> u64 {
        let in_flight = &self.facts.dead_letters.in_flight;
        let live = in_flight.iter().filter(|(_, bad)| self.is_current(bad.row.epoch)).count();
        2 * live as u64 + u64::from(in_flight.len() > live)
    }
}

pub(super) const fn state_shape(state: State) -> u64 {
    match state {
        State::Connecting(Connecting::NotStarted) => 0,
        State::Connecting(Connecting::Database { .. }) => 1,
        State::Connecting(Connecting::DatabaseDue) => 2,
        State::Connecting(Connecting::Group { .. }) => 3,
        State::Connecting(Connecting::GroupDue) => 4,
        State::Streaming => 5,
        State::AwaitingAck => 6,
        State::SavingToken => 7,
        State::Draining(Draining { group: Group::Outside, .. }) => 8,
        State::Draining(Draining { group: Group::Member, .. }) => 9,
        State::Draining(Draining { group: Group::Leaving { .. }, .. }) => 10,
        State::Stopped(_) => 11,
    }
}

pub(super) const fn retries_shape(used: Backoff) -> u64 {
    used.retries() as u64
}
