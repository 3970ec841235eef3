//! The Watcher's state diagram and its state × input table, read off the code by exploring small machines.

mod inputs;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{EffectId, Explore, Fault, Retry, SeqNo, Signal, StateName, Transitions, explore};

use self::inputs::STORE_FAULTS;
use crate::facts::{Facts, Lease, Origin, Saving};
use crate::state::{Awaiting, Connecting, State};
use crate::{
    Config, Contents, Effect, Event, Input, Notice, OnHistoryLost, OnTooLarge, Payload, Retries, Saved,
    TimerKind, TopicState, Watcher,
};

/// Situations that one exploration visits at most; the small machines have fewer.
const SITUATIONS_MAX: usize = 200_000;

/// The state diagram for Mermaid.
#[must_use]
pub fn mermaid() -> String {
    transitions().mermaid()
}

/// The state diagram for Graphviz.
#[must_use]
pub fn dot() -> String {
    transitions().dot("watcher")
}

/// The state × input table in Markdown.
#[must_use]
pub fn table() -> String {
    transitions().markdown()
}

/// A machine small enough to be explored to the end: messages are numbers, and so are tokens.
type Small = Watcher<u8, u32>;

/// Everything that small machines do, under each policy.
fn transitions() -> Transitions {
    let mut found = Transitions::new();
    for config in smalls() {
        explore(&config, Small::new(), SITUATIONS_MAX, &mut found);
    }
    found
}

/// One for each policy on what does not fit, and one that has gaps.
fn smalls() -> [Config; 4] {
    [small(OnTooLarge::DeadLetter), small(OnTooLarge::Skip), small(OnTooLarge::Stop), with_gaps()]
}

/// Room for one event, no retry of a save, a lease of one tick: gaps bring situations enough.
fn with_gaps() -> Config {
    let (once, never) = (Retry::times(1), Retry::times(0));
    Config {
        token_save_interval: 1,
        max_replay_events: 1,
        max_pull_events: 1,
        retries: Retries { mongodb: once, kafka: once, token_store: never },
        lease_ttl: Duration::from_secs(1),
        on_history_lost: OnHistoryLost::FromNow,
        ..small(OnTooLarge::DeadLetter)
    }
}

/// Room for two events, a save for each second one, one retry of anything, a lease of two ticks.
fn small(on_too_large: OnTooLarge) -> Config {
    let once = Retry::times(1);
    Config {
        token_save_interval: 2,
        max_replay_events: 2,
        max_pull_events: 2,
        retries: Retries { mongodb: once, kafka: once, token_store: once },
        lease_ttl: Duration::from_secs(2),
        lease_renew_every: Duration::from_secs(1),
        on_too_large,
        ..Config::default()
    }
}

impl Explore for Small {
    type Shape = [u8; 22];

    /// Numbers are cut to a byte; none comes near it in a small machine.
    fn shape(&self) -> Self::Shape {
        let facts = &self.facts;
        let window = &facts.window;
        let [state, detail] = state_shape(&self.state);
        let [lease, unrenewed] = lease_shape(facts.lease);
        let in_flight =
            recent(window.next_seq()).fold(0, |bits, seq| (bits << 1) | u8::from(window.is_in_flight(seq)));
        [
            state,
            detail,
            lease,
            unrenewed,
            match facts.origin {
                Origin::Unknown => 0,
                Origin::Empty => 1,
                Origin::Recorded(_) => 2,
            },
            match facts.saving {
                Saving::No => 0,
                Saving::InFlight { .. } => 1,
                Saving::BackingOff => 2,
            },
            byte(window.unsaved_weight()),
            byte(window.savable_weight()),
            in_flight,
            u8::from(window.unsaved_prefix().is_some()),
            byte(facts.markers.len() as u64),
            TimerKind::ALL
                .into_iter()
                .fold(0, |bits, kind| (bits << 1) | u8::from(facts.timers.is_running(kind))),
            byte(u64::from(facts.retries.mongodb.retries())),
            byte(u64::from(facts.retries.kafka.retries())),
            byte(u64::from(facts.retries.lease.retries())),
            byte(u64::from(facts.retries.save.retries())),
            u8::from(facts.lost.is_some()),
            facts.reading as u8,
            u8::from(facts.has_start_to_record()) << 1 | u8::from(!facts.notes.is_empty()),
            u8::from(!facts.unannounced.is_empty()) << 1 | u8::from(facts.announcing.is_some()),
            known_shape(facts),
            u8::from(facts.batches.are_single()),
        ]
    }

    fn state_name(&self) -> StateName {
        self.state()
    }

    fn inputs(&self, config: &Config) -> Vec<Input<u8, u32>> {
        let mut inputs = vec![Input::Start, Input::Signal(Signal::Drain), Input::Signal(Signal::Abort)];
        self.push_timers(&mut inputs);
        self.push_lease_replies(&mut inputs);
        self.push_producer_replies(&mut inputs);
        self.push_source_replies(&mut inputs);
        self.push_reports(&mut inputs);
        let save = match &self.facts.saving {
            Saving::InFlight { id, .. } => *id,
            Saving::No | Saving::BackingOff => NOBODY,
        };
        inputs.push(Input::Saved { id: save, unannounced: Vec::new() });
        if let Saving::InFlight { notes: 1.., .. } = self.facts.saving {
            inputs.push(Input::Saved { id: save, unannounced: vec![NOTICE] });
        }
        inputs.extend(STORE_FAULTS.map(|fault| Input::SaveFailed { id: save, fault }));
        if config.on_history_lost == OnHistoryLost::Stop {
            inputs.retain(|input| !brings_gaps(input));
            if config.on_too_large != OnTooLarge::Stop {
                inputs.retain(|input| !is_oversized(input));
            }
        }
        inputs
    }

    fn input_label(input: &Input<u8, u32>) -> String {
        let detail = match input {
            Input::LeaseAcquired { saved: Saved::Nothing, .. } => "nothing is saved",
            Input::LeaseAcquired { saved: Saved::Lost, .. } => "the position was lost",
            Input::LeaseAcquired { unannounced, .. } => {
                if unannounced.is_empty() {
                    "a position is saved"
                } else {
                    "a position and a gap are saved"
                }
            }
            Input::ProducerReady { topics, .. } => match topics.as_slice() {
                [TopicState { was_made: true, .. }] => "the topic was made",
                [TopicState { partitions: 2, .. }] => "the topic has grown",
                [TopicState { partitions: 0, .. }] => "the topic has shrunk",
                [TopicState { holds_messages: true, .. }] => "the topic holds messages",
                _ => "the topic is empty",
            },
            Input::Opened { contents, .. } => {
                if contents.as_slice() == [CONTENTS] {
                    "the same collection"
                } else {
                    "another collection"
                }
            }
            Input::Saved { unannounced, .. } => {
                if unannounced.is_empty() {
                    "no gap"
                } else {
                    "a gap"
                }
            }
            Input::Batch { events, idle, .. } => match (events.as_slice(), idle) {
                ([], None) => "empty",
                ([], Some(_)) => "an idle position",
                ([Event { token: 0, .. }, ..], _) => "tokens that do not increase",
                ([Event { payload: Payload::Skip, .. }, ..], _) => "nothing to deliver",
                ([Event { payload: Payload::Oversized { .. }, .. }, ..], _) => {
                    "an event without its documents"
                }
                ([Event { payload: Payload::Control { .. }, .. }, ..], _) => "a collection is replaced",
                _ => "events",
            },
            Input::LeaseFailed { fault, .. }
            | Input::LeaseRenewFailed { fault, .. }
            | Input::ProducerFailed { fault, .. }
            | Input::ProducerLost { fault }
            | Input::OpenFailed { fault, .. }
            | Input::SourceFailed { fault, .. }
            | Input::DeliveryFailed { fault, .. }
            | Input::SaveFailed { fault, .. } => fault.as_str(),
            Input::Start
            | Input::LeaseHeld { .. }
            | Input::LeaseRenewed { .. }
            | Input::LeaseReleased { .. }
            | Input::LeaseForeign { .. }
            | Input::LeaseDamaged { .. }
            | Input::LeaseUnreadable { .. }
            | Input::Delivered { .. }
            | Input::DeliveryTooLarge { .. }
            | Input::Timer(_)
            | Input::Signal(_) => return String::from(input.name()),
        };
        [input.name(), ": ", detail].concat()
    }

    fn effect_name(effect: &Effect<u8, u32>) -> &'static str {
        effect.name()
    }
}

/// The collection behind the name at the first start.
const CONTENTS: Contents = Contents::Uuid([1; 16]);

/// A control message.
const NOTICE: Notice<u8> = Notice { record: 0, bytes: 1 };

/// What one machine alone is asked: the situations of gaps and of all else multiply.
fn brings_gaps(input: &Input<u8, u32>) -> bool {
    if let Input::LeaseAcquired { unannounced, .. } | Input::Saved { unannounced, .. } = input {
        return !unannounced.is_empty();
    }
    if let Input::Opened { contents, .. } = input {
        return contents.as_slice() != [CONTENTS];
    }
    matches!(input, Input::Batch { events, .. }
        if events.iter().any(|event| matches!(event.payload, Payload::Control { .. })))
}

/// The same for events that do not fit a reply.
fn is_oversized(input: &Input<u8, u32>) -> bool {
    if let Input::OpenFailed { fault, .. } | Input::SourceFailed { fault, .. } = input {
        return *fault == Fault::TooLarge;
    }
    matches!(input, Input::Batch { events, .. }
        if events.iter().any(|event| matches!(event.payload, Payload::Oversized { .. })))
}

/// A request that was never made: what answers it must be ignored.
const NOBODY: EffectId = EffectId(u64::MAX);

/// The last slots opened, as many as a small machine may have in flight, idle ones between them included.
fn recent(next: SeqNo) -> impl Iterator<Item = SeqNo> {
    (next.0.saturating_sub(5)..next.0).map(SeqNo)
}

fn byte(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn state_shape(state: &State) -> [u8; 2] {
    match state {
        State::Connecting(Connecting::NotStarted) => [0, 0],
        State::Connecting(Connecting::Lease) => [0, 1],
        State::Connecting(Connecting::ProducerDue) => [0, 2],
        State::Connecting(Connecting::Producer { .. }) => [0, 3],
        State::Connecting(Connecting::StreamDue) => [0, 4],
        State::Connecting(Connecting::Stream { .. }) => [0, 5],
        State::Connecting(Connecting::RecordingStart { .. }) => [0, 6],
        State::Streaming { asked, .. } => [1, byte(u64::from(*asked))],
        State::AwaitingAck(Awaiting::Room { .. }) => [2, 0],
        State::AwaitingAck(Awaiting::Rewind(trouble)) => [2, 1 + *trouble as u8],
        State::SavingToken { .. } => [3, 0],
        // Which fault a drain is for makes no difference to it; whether a person asked for it does.
        State::Draining { ending: cdc_machine::Cause::Drained } => [4, 0],
        State::Draining { ending: cdc_machine::Cause::DrainIncomplete } => [4, 1],
        State::Draining { .. } => [4, 2],
        State::Stopped(_) => [5, 0],
    }
}

/// Whether the one collection is known, as which one, and whether its topic holds messages.
fn known_shape(facts: &Facts<u8, u32>) -> u8 {
    let Some(Some(known)) = facts.known.first() else { return 0 };
    u8::from(facts.unexplained.is_some()) << 3
        | 1 << 2
        | u8::from(known.contents == CONTENTS) << 1
        | u8::from(known.holds_messages)
}

fn lease_shape(lease: Lease) -> [u8; 2] {
    match lease {
        Lease::Free => [0, 0],
        Lease::Acquiring { .. } => [1, 0],
        Lease::Held { renewal: None, unrenewed, .. } => [2, byte(unrenewed.as_secs())],
        Lease::Held { renewal: Some(_), unrenewed, .. } => [3, byte(unrenewed.as_secs())],
        Lease::Releasing { .. } => [4, 0],
    }
}
