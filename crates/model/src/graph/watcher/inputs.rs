//! What may come to a small machine, in each situation: late and doubled ones among them. Replies are made of samples of
//! what they carry, so that a request is answered as soon as it is in the machine's table.

use std::time::Duration;

use cdc_machine::{Fault, Lineage, Sampled, SeqNo, Signal};
use cdc_watcher::{
    Batch, Checkpoint, CollectionId, Config, Contents, Event, Input, Known, LeaseRefusal, Notice,
    OnHistoryLost, OnTooLarge, Opened, Payload, Saved, SourceRefusal, Taken, TimerKind, TopicState,
};

use super::Small;
use super::outstanding::Awaited;

/// The collection behind the name at the first start.
pub(super) const CONTENTS: Contents = Contents::Uuid([1; 16]);

/// A control message.
const NOTICE: Notice<u8> = Notice { record: 0, bytes: 1 };

/// What any neighbour may say.
const FAULTS: [Fault; 7] = [
    Fault::Transient,
    Fault::HistoryLost,
    Fault::TooLarge,
    Fault::Fenced,
    Fault::Auth,
    Fault::Unfit,
    Fault::Fatal,
];

/// A small machine under its policies: the world that the samples are of.
pub(super) struct Situation<'a> {
    pub(super) small: &'a Small,
    pub(super) config: &'a Config,
}

impl Situation<'_> {
    pub(super) fn inputs(&self) -> Vec<Input<u8, u32>> {
        let outstanding = &self.small.outstanding;
        let mut inputs = vec![Input::Start, Input::Signal(Signal::Drain), Input::Signal(Signal::Abort)];
        inputs.extend(TimerKind::all(0).map(|kind| Input::Timer(outstanding.timers.expiry(kind))));
        for request in outstanding.requests.oldest() {
            request.replies(self, |reply| inputs.push(reply));
        }
        Input::unasked(self, |request, reply| {
            if !outstanding.requests.is_out(request) {
                inputs.push(reply);
            }
        });
        // There is a topic for each collection that is watched.
        inputs.retain(
            |input| !matches!(input, Input::ProducerPrepared { result: Ok(topics), .. } if topics.is_empty()),
        );
        inputs.extend(FAULTS.map(|fault| Input::ProducerLost { fault }));
        self.push_reports(&mut inputs);
        inputs
    }

    fn push_reports(&self, inputs: &mut Vec<Input<u8, u32>>) {
        let mut reports = self.small.outstanding.reports.clone();
        reports.sort_unstable();
        reports.dedup();
        if reports.is_empty() {
            reports.push(Awaited { seq: SeqNo(u64::MAX), is_control: false });
        }
        for Awaited { seq, is_control } in reports {
            inputs.push(Input::Delivered { seqs: vec![seq] });
            if !is_control {
                inputs.push(Input::DeliveryTooLarge { seq, marker: 0 });
            }
            inputs.extend(FAULTS.map(|fault| Input::DeliveryFailed { seq, fault }));
        }
    }

    /// One machine alone has gaps, and another one what is too large for a reply: the situations of gaps and of all else
    /// multiply.
    fn has_gaps(&self) -> bool {
        self.config.on_history_lost == OnHistoryLost::FromNow
    }

    fn has_oversized(&self) -> bool {
        self.has_gaps() || self.config.on_too_large == OnTooLarge::Stop
    }
}

impl Sampled<Situation<'_>> for Fault {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let mut faults = FAULTS.to_vec();
        faults.retain(|fault| *fault != Self::TooLarge || situation.has_oversized());
        faults
    }
}

impl Sampled<Situation<'_>> for SourceRefusal {
    fn samples(_: &Situation<'_>) -> Vec<Self> {
        [Self::Unwatchable].into_iter().chain(FAULTS.map(Self::Failed)).collect()
    }
}

impl Sampled<Situation<'_>> for LeaseRefusal {
    fn samples(_: &Situation<'_>) -> Vec<Self> {
        let held = Self::Held { expires_in: Duration::from_secs(1) };
        let refusals = [Self::Damaged, Self::Unreadable, held, Self::OtherSource];
        refusals.into_iter().chain(FAULTS.map(Self::Failed)).collect()
    }
}

impl Sampled<Situation<'_>> for Taken<u8, u32> {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let known = Known { contents: CONTENTS, partitions: Some(1), holds_messages: true };
        let saved = Saved::Position(Checkpoint { token: 1, lineage: Lineage(1), known: vec![Some(known)] });
        let taken = |saved, unannounced| Self { saved, unannounced, fresh: Lineage(2) };
        let mut samples =
            [Saved::Nothing, Saved::Lost, saved.clone()].map(|saved| taken(saved, Vec::new())).to_vec();
        if situation.has_gaps() {
            samples.push(taken(saved, vec![NOTICE]));
        }
        samples
    }
}

/// The topic, where nobody knows of its partitions; else also one with others.
impl Sampled<Situation<'_>> for TopicState {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let topic = Self { partitions: 1, was_made: false, holds_messages: true, lineage: None };
        let empty = Self { holds_messages: false, ..topic };
        let mut samples = vec![topic, empty, Self { was_made: true, ..empty }];
        if matches!(situation.small.machine.known(), [Some(Known { partitions: Some(1), .. })]) {
            samples.extend([0, 2].map(|partitions| Self { partitions, ..topic }));
        }
        samples
    }
}

impl Sampled<Situation<'_>> for Opened<u32> {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let at = situation.small.outstanding.next_token();
        let contents: &[Contents] =
            if situation.has_gaps() { &[CONTENTS, Contents::Uuid([2; 16])] } else { &[CONTENTS] };
        contents.iter().map(|contents| Self { at, contents: vec![*contents], looked_at: at }).collect()
    }
}

impl Sampled<Situation<'_>> for Batch<u8, u32> {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let outstanding = &situation.small.outstanding;
        let token = outstanding.next_token();
        let event = |token, payload| Event { token, payload };
        let message =
            |token| event(token, Payload::Message { record: 0, bytes: 1, collection: CollectionId(0) });
        let mut batches = vec![
            vec![],
            vec![message(0)],
            vec![event(token, Payload::Skip)],
            vec![message(token)],
            vec![message(token), message(token + 1)],
        ];
        if situation.has_oversized() {
            batches.push(vec![event(token, Payload::Oversized { marker: 0 })]);
        }
        if situation.has_gaps() {
            let (notices, replaced) = (vec![NOTICE], vec![CollectionId(0)]);
            batches.push(vec![event(token, Payload::Control { notices, gone: Vec::new(), replaced })]);
        }
        let asked = outstanding.fetch.unwrap_or(1) as usize;
        batches.retain(|events| events.len() <= asked);
        let idle = Self { events: Vec::new(), idle: Some(token) };
        batches.into_iter().map(|events| Self { events, idle: None }).chain([idle]).collect()
    }
}

/// The gaps that a save opens are told of.
impl Sampled<Situation<'_>> for Notice<u8> {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        if situation.has_gaps() && situation.small.outstanding.opens_gaps() {
            vec![NOTICE]
        } else {
            Vec::new()
        }
    }
}
