use cdc_machine::Cause;

use crate::facts::Polling;
use crate::state::State;
use crate::turn::Turn;

impl<R: Clone> Turn<'_, R> {
    /// Orders what the facts call for and derives from them what the machine waits for next.
    pub(crate) fn settle(&mut self, state: State) -> Result<State, Cause> {
        self.let_go_of_probed(state);
        self.end_revocations();
        self.time_holds();
        self.time_probes();
        self.time_parked(state);
        self.write_batches();
        self.put_aside();
        self.commit_advanced(state);
        self.acquire_waiting();
        self.time_ledger_check(state);
        match state {
            State::Stopped(_) | State::Connecting(_) => Ok(state),
            State::Draining(draining) => self.go_on_draining(draining),
            State::Streaming | State::AwaitingAck | State::SavingToken => {
                self.poll();
                Ok(self.waiting_for())
            }
        }
    }

    fn waiting_for(&self) -> State {
        // A revocation of some partitions leaves the others streaming.
        let is_all_revoked = !self.facts.revocations.is_empty() && !self.facts.partitions.is_keeping_any();
        if is_all_revoked {
            State::AwaitingAck
        } else if matches!(self.facts.polling, Polling::Fetching { .. }) || self.room().is_some() {
            State::Streaming
        } else if self.is_anything_unwritten() {
            State::AwaitingAck
        } else {
            State::SavingToken
        }
    }

    /// Rows of assignments that are gone count too, as long as their writers hold them.
    fn is_anything_unwritten(&self) -> bool {
        self.facts.partitions.unsettled() > 0
            || self.facts.workers.iter().any(|worker| !worker.is_idle() || !worker.waiting.is_empty())
    }
}
