//! What a small machine has ordered, and waits for: its inputs are the answers.

use cdc_syncer::{Effect, Input, Parking, TimerKind};

use crate::graph::asked::{Requests, Running};

/// Requests that are not answered, and timers that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    pub(super) requests: Requests<Effect<()>>,
    /// The records that were asked for.
    pub(super) fetch: Option<u32>,
    /// The group waits for an answer of the machine's.
    pub(super) is_revoking: bool,
    pub(super) timers: Running<TimerKind>,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a new request is one of `requests`")]
impl Outstanding {
    pub(super) fn answered(&mut self, input: &Input<()>) {
        let is_awaited = input.answers().is_some_and(|answered| self.requests.answer(answered.request));
        match input {
            Input::GroupJoined { result: Err(_), .. } if is_awaited => self.lose_group(),
            Input::ConsumerFailed { .. } => self.lose_group(),
            Input::Records { .. } => self.fetch = None,
            Input::Revoking { .. } => self.is_revoking = true,
            Input::Timer(timer) => self.timers.end(*timer),
            _ => {}
        }
    }

    fn lose_group(&mut self) {
        self.requests.forget(|request| matches!(request, Effect::JoinGroup { .. }));
        (self.fetch, self.is_revoking) = (None, false);
    }

    pub(super) fn ordered(&mut self, effect: &Effect<()>) {
        if let Effect::SetTimer { timer, .. } = effect {
            self.timers.set(*timer);
        } else if let Some(request) = effect.request() {
            self.requests.ask(request, effect.clone());
        }
        match effect {
            Effect::Fetch { max_records, .. } => self.fetch = Some(*max_records),
            Effect::Pause => self.fetch = None,
            Effect::ConfirmRevoked { .. } => self.is_revoking = false,
            Effect::CancelTimer { timer } => self.timers.end(*timer),
            _ => {}
        }
    }

    /// The batch that is being written may park rows.
    pub(super) fn may_park(&self) -> bool {
        self.requests.any(|request| matches!(request, Effect::WriteBatch { parking: Parking::Park, .. }))
    }
}
