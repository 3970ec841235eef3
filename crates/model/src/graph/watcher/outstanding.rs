//! What a small machine has ordered, and waits for: its inputs are the answers.

use cdc_machine::{EffectId, Epoch, SeqNo};
use cdc_watcher::{Batch, Effect, Input, Opened, Saved, TimerKind};

use crate::graph::asked::{Running, take};

/// Requests that are not answered, messages in flight, and timers that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    pub(super) lease: Option<EffectId>,
    pub(super) renewal: Option<EffectId>,
    pub(super) release: Option<EffectId>,
    pub(super) producer: Option<EffectId>,
    /// The stream that is open, or being opened.
    pub(super) stream: Option<Epoch>,
    /// The events that were asked for.
    pub(super) fetch: Option<u32>,
    /// The save, and whether it opens gaps.
    pub(super) save: Option<(EffectId, bool)>,
    /// Reports that are still to come.
    pub(super) reports: Vec<Awaited>,
    /// The newest token that the machine has seen.
    pub(super) newest: u32,
    pub(super) timers: Running<TimerKind>,
}

/// A report on one message, or on one copy of the control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Awaited {
    pub(super) seq: SeqNo,
    /// Nothing can stand in the place of a control message that does not fit.
    pub(super) is_control: bool,
}

impl Outstanding {
    pub(super) fn answered(&mut self, input: &Input<u8, u32>) {
        match input {
            Input::LeaseTaken { id, result } => {
                take(&mut self.lease, *id);
                if let Ok(taken) = result
                    && let Saved::Position(checkpoint) = &taken.saved
                {
                    self.newest = self.newest.max(checkpoint.token);
                }
            }
            Input::LeaseRenewed { id, .. } => take(&mut self.renewal, *id),
            Input::LeaseReleased { id, .. } => take(&mut self.release, *id),
            Input::ProducerPrepared { id, .. } => take(&mut self.producer, *id),
            Input::StreamOpened { result: Ok(Opened { at, .. }), .. } => self.newest = self.newest.max(*at),
            Input::StreamOpened { result: Err(_), .. } => self.stream = None,
            Input::Fetched { result: Ok(Batch { events, idle }), .. } => {
                self.fetch = None;
                let tokens = events.iter().map(|event| event.token).chain(*idle);
                self.newest = tokens.fold(self.newest, u32::max);
            }
            Input::Fetched { result: Err(_), .. } => self.fetch = None,
            Input::TokenSaved { id, .. } => drop(self.save.take_if(|(asked, _)| asked == id)),
            Input::Delivered { seqs } => seqs.iter().for_each(|seq| self.report(*seq)),
            Input::DeliveryFailed { seq, .. } | Input::DeliveryTooLarge { seq, .. } => self.report(*seq),
            Input::ProducerLost { .. } => self.reports.clear(),
            Input::Timer(timer) => self.timers.end(*timer),
            Input::Start | Input::SourceIdentified { .. } | Input::Signal(_) => {}
        }
    }

    pub(super) fn ordered(&mut self, effect: &Effect<u8, u32>) {
        match effect {
            Effect::AcquireLease { id, .. } => self.lease = Some(*id),
            Effect::RenewLease { id } => self.renewal = Some(*id),
            Effect::ReleaseLease { id } => self.release = Some(*id),
            Effect::PrepareProducer { id, .. } => self.producer = Some(*id),
            Effect::OpenStream { epoch, .. } => self.stream = Some(*epoch),
            Effect::Fetch { max_events, .. } => self.fetch = Some(*max_events),
            Effect::CloseStream { .. } => (self.stream, self.fetch) = (None, None),
            Effect::SaveToken { id, change, .. } => self.save = Some((*id, !change.gaps.is_empty())),
            Effect::Publish { seq, .. } | Effect::PublishMarker { seq, .. } => {
                self.reports.push(Awaited { seq: *seq, is_control: false });
            }
            Effect::PublishControl { seq, records, copies } => {
                let reports = records.len() * *copies as usize;
                self.reports.extend(std::iter::repeat_n(Awaited { seq: *seq, is_control: true }, reports));
            }
            Effect::SetTimer { timer, .. } => self.timers.set(*timer),
            Effect::CancelTimer { timer } => self.timers.end(*timer),
            Effect::IdentifySource {} | Effect::PurgeQueued | Effect::Stop { .. } => {}
        }
    }

    fn report(&mut self, seq: SeqNo) {
        if let Some(place) = self.reports.iter().position(|awaited| awaited.seq == seq) {
            self.reports.remove(place);
        }
    }
}
