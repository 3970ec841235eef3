//! The Watcher's state diagram and its state × input table.

mod inputs;
mod outstanding;
#[cfg(test)]
mod tests;

use std::time::Duration;

use cdc_machine::{Effects, Machine, Retry, StateName};
use cdc_watcher::{
    Batch, Config, Effect, Event, Input, LeaseRefusal, OnHistoryLost, OnTooLarge, Payload, Retries, Saved,
    Taken, TimerKind, TopicState, Watcher,
};

use self::inputs::{CONTENTS, Situation};
use self::outstanding::Outstanding;
use crate::explore::{Explore, Transitions, explore};

/// Situations that one exploration visits at most; the small machines have fewer.
const SITUATIONS_MAX: usize = 200_000;

/// Everything that small machines do, under each policy.
#[must_use]
pub fn transitions() -> Transitions {
    let mut found = Transitions::new();
    for config in smalls() {
        explore(&config, Small::default(), SITUATIONS_MAX, &mut found);
    }
    found
}

/// A machine small enough to be explored to the end: messages are numbers, and so are tokens; and what it has ordered
/// that is still to be answered.
#[derive(Clone, Debug, Default)]
struct Small {
    machine: Watcher<u8, u32>,
    outstanding: Outstanding,
}

impl Machine for Small {
    type Config = Config;
    type Input = Input<u8, u32>;
    type Effect = Effect<u8, u32>;

    fn step(&mut self, config: &Config, input: Input<u8, u32>, out: &mut Effects<Effect<u8, u32>>) {
        self.outstanding.answered(&input);
        self.machine.step(config, input, out);
        out.as_slice().iter().for_each(|effect| self.outstanding.ordered(effect));
    }
}

/// One for each policy on what does not fit, and one that has gaps.
fn smalls() -> [Config; 4] {
    [small(OnTooLarge::DeadLetter), small(OnTooLarge::Skip), small(OnTooLarge::Stop), with_gaps()]
}

/// Credit for one event, no retry of a save, a lease of one tick: gaps bring situations enough.
fn with_gaps() -> Config {
    let (once, never) = (Retry::times(1), Retry::times(0));
    Config {
        token_save_interval: 1,
        max_replay_events: 1,
        max_fetch_events: 1,
        retries: Retries { mongodb: once, kafka: once, token_store: never },
        lease_ttl: Duration::from_secs(1),
        on_history_lost: OnHistoryLost::FromNow,
        ..small(OnTooLarge::DeadLetter)
    }
}

/// Credit for two events, a save for each second one, one retry of anything, a lease of two ticks.
fn small(on_too_large: OnTooLarge) -> Config {
    let once = Retry::times(1);
    Config {
        token_save_interval: 2,
        max_replay_events: 2,
        max_fetch_events: 2,
        retries: Retries { mongodb: once, kafka: once, token_store: once },
        lease_ttl: Duration::from_secs(2),
        lease_renew_every: Duration::from_secs(1),
        on_too_large,
        ..Config::default()
    }
}

impl Explore for Small {
    type Shape = Vec<u64>;

    fn shape(&self) -> Vec<u64> {
        let mut shape = self.machine.situation();
        shape.push(self.outstanding.timers.bits(TimerKind::all(0)));
        shape
    }

    fn state_name(&self) -> StateName {
        self.machine.state()
    }

    fn inputs(&self, config: &Config) -> Vec<Input<u8, u32>> {
        Situation { small: self, config }.inputs()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a new reply is told by its name and its failure")]
    fn input_label(input: &Input<u8, u32>) -> String {
        let detail = match input {
            Input::LeaseTaken { result: Ok(Taken { saved, unannounced, .. }), .. } => {
                match (saved, unannounced.as_slice()) {
                    (Saved::Nothing, _) => "nothing is saved",
                    (Saved::Lost, _) => "the position was lost",
                    (Saved::Position(_), []) => "a position is saved",
                    (Saved::Position(_), _) => "a position and a gap are saved",
                }
            }
            Input::LeaseTaken { result: Err(refusal), .. } => match refusal {
                LeaseRefusal::Held { .. } => "somebody else holds it",
                LeaseRefusal::OtherSource => "a record of another source",
                LeaseRefusal::Damaged => "a damaged record",
                LeaseRefusal::Unreadable => "a record of a newer release",
                LeaseRefusal::Failed(fault) => fault.as_str(),
            },
            Input::ProducerLost { fault } | Input::DeliveryFailed { fault, .. } => fault.as_str(),
            Input::ProducerPrepared { result: Ok(topics), .. } => match topics.as_slice() {
                [TopicState { was_made: true, .. }] => "the topic was made",
                [TopicState { partitions: 2, .. }] => "the topic has grown",
                [TopicState { partitions: 0, .. }] => "the topic has shrunk",
                [TopicState { holds_messages: true, .. }] => "the topic holds messages",
                _ => "the topic is empty",
            },
            Input::StreamOpened { result: Ok(opened), .. } if opened.contents == [CONTENTS] => {
                "the same collection"
            }
            Input::StreamOpened { result: Ok(_), .. } => "another collection",
            Input::TokenSaved { result: Ok(unannounced), .. } if unannounced.is_empty() => "no gap",
            Input::TokenSaved { result: Ok(_), .. } => "a gap",
            Input::Fetched { result: Ok(Batch { events, idle }), .. } => match (events.as_slice(), idle) {
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
            // Of what has no words of its own, why it failed is said.
            _ => match input.answers().and_then(|answered| answered.failure) {
                Some(failure) => failure,
                None => return String::from(input.name()),
            },
        };
        [input.name(), ": ", detail].concat()
    }

    fn effect_name(effect: &Effect<u8, u32>) -> &'static str {
        effect.name()
    }

    fn check(&self, config: &Config) -> Result<(), &'static str> {
        self.machine.check_invariants(config)
    }
}
