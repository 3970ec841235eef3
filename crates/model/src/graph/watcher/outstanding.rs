//! What a small machine has ordered, and waits for: its inputs are the answers.

use cdc_machine::SeqNo;
use cdc_watcher::{Effect, Input, Saved, TimerKind};

use crate::graph::asked::{Requests, Running};

/// Requests that are not answered, messages in flight, and timers that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    pub(super) requests: Requests<Effect<u8, u32>>,
    /// The events that were asked for.
    pub(super) fetch: Option<u32>,
    /// Reports that are still to come.
    pub(super) reports: Vec<Awaited>,
    /// The newest token that the machine has seen.
    newest: u32,
    pub(super) timers: Running<TimerKind>,
}

/// A report on one message, or on one copy of the control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Awaited {
    pub(super) seq: SeqNo,
    /// Nothing can stand in the place of a control message that does not fit.
    pub(super) is_control: bool,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a new request is one of `requests`")]
impl Outstanding {
    pub(super) fn answered(&mut self, input: &Input<u8, u32>) {
        if let Some(answered) = input.answers() {
            self.requests.answer(answered.request);
        }
        match input {
            Input::LeaseTaken { result: Ok(taken), .. } => {
                if let Saved::Position(checkpoint) = &taken.saved {
                    self.newest = self.newest.max(checkpoint.token);
                }
            }
            Input::StreamOpened { result: Ok(opened), .. } => self.newest = self.newest.max(opened.at),
            Input::Fetched { result, .. } => {
                self.fetch = None;
                if let Ok(batch) = result {
                    let tokens = batch.events.iter().map(|event| event.token).chain(batch.idle);
                    self.newest = tokens.fold(self.newest, u32::max);
                }
            }
            Input::Delivered { seqs } => seqs.iter().for_each(|seq| self.report(*seq)),
            Input::DeliveryFailed { seq, .. } | Input::DeliveryTooLarge { seq, .. } => self.report(*seq),
            Input::ProducerLost { .. } => self.reports.clear(),
            Input::Timer(timer) => self.timers.end(*timer),
            _ => {}
        }
    }

    pub(super) fn ordered(&mut self, effect: &Effect<u8, u32>) {
        if let Effect::SetTimer { timer, .. } = effect {
            self.timers.set(*timer);
        } else if let Some(request) = effect.request() {
            self.requests.ask(request, effect.clone());
        }
        match effect {
            Effect::Fetch { max_events, .. } => self.fetch = Some(*max_events),
            Effect::CloseStream { epoch: closed } => {
                self.fetch = None;
                self.requests.forget(|request| {
                    matches!(request, Effect::OpenStream { epoch, .. } | Effect::Fetch { epoch, .. } if epoch == closed)
                });
            }
            Effect::Publish { seq, .. } | Effect::PublishMarker { seq, .. } => {
                self.reports.push(Awaited { seq: *seq, is_control: false });
            }
            Effect::PublishControl { seq, records, copies } => {
                let reports = records.len() * *copies as usize;
                self.reports.extend(std::iter::repeat_n(Awaited { seq: *seq, is_control: true }, reports));
            }
            Effect::CancelTimer { timer } => self.timers.end(*timer),
            _ => {}
        }
    }

    /// The save that is under way opens gaps.
    pub(super) fn opens_gaps(&self) -> bool {
        self.requests
            .any(|request| matches!(request, Effect::SaveToken { change, .. } if !change.gaps.is_empty()))
    }

    /// A token that the machine has not seen.
    pub(super) fn next_token(&self) -> u32 {
        self.newest.max(1) + 1
    }

    fn report(&mut self, seq: SeqNo) {
        if let Some(place) = self.reports.iter().position(|awaited| awaited.seq == seq) {
            self.reports.remove(place);
        }
    }
}
