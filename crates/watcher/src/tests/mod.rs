//! One state, one input: the exact effects in order, and the exact next state.

extern crate std;

mod acks;
mod connecting;
mod draining;
mod gaps;
mod lease;
mod lineages;
mod recreated;
mod saving;
mod streaming;

use std::string::{String, ToString as _};
use std::time::Duration;
use std::vec::Vec;
use std::{assert_eq, format, vec};

use cdc_machine::{
    Cause, EffectId, Effects, Epoch, Fault, Lineage, Machine, SeqNo, Signal, StateName, TimerId,
};

use crate::{
    Batch, Checkpoint, CollectionId, Config, Contents, Effect, Event, Input, Known, LeaseRefusal, Opened,
    Payload, Saved, Taken, TimerKind, TopicState, Watcher,
};

type Order = Effect<&'static str, u32>;
type Fact = Input<&'static str, u32>;

/// A machine, its configuration, and the timers that it has set.
struct Bench {
    machine: Watcher<&'static str, u32>,
    config: Config,
    out: Effects<Order>,
    timers: Vec<TimerId<TimerKind>>,
}

/// Credit for four events, a save for each second one.
fn small() -> Config {
    Config { max_replay_events: 4, token_save_interval: 2, max_in_flight_bytes: 100, ..Config::default() }
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { machine: Watcher::new(), config, out: Effects::new(), timers: Vec::new() }
    }

    /// One step; checks the invariants and returns the effects, one line each.
    fn step(&mut self, input: Fact) -> Vec<String> {
        self.machine.step(&self.config, input, &mut self.out);
        assert_eq!(self.machine.check_invariants(&self.config), Ok(()));
        let mut lines = Vec::new();
        for effect in self.out.drain() {
            if let Effect::SetTimer { timer, .. } = effect {
                self.timers.retain(|set| set.kind != timer.kind);
                self.timers.push(timer);
            }
            // Handles are texts here; what they are is plain without the quotes.
            lines.push(effect.to_string().replace('"', ""));
        }
        lines
    }

    /// Begins, and hears who the source is.
    fn start(&mut self) -> Vec<String> {
        assert_eq!(self.step(Input::Start), ["IdentifySource"]);
        self.step(Input::SourceIdentified { result: Ok(()) })
    }

    /// The state that the machine is in, with the cause of its end.
    fn at(&self) -> (StateName, Option<Cause>) {
        (self.machine.state(), self.machine.cause())
    }

    /// The expiry of the timer of this kind that was set last.
    fn expiry(&self, kind: TimerKind) -> Fact {
        let generation = self.timers.iter().find(|timer| timer.kind == kind).map_or(0, |t| t.generation);
        Input::Timer(TimerId { kind, generation })
    }

    /// Resumed after token 10, with the first fetch outstanding.
    fn streaming(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.start();
        bench.step(acquired(0, Some(10)));
        bench.step(ready(1, true));
        bench.step(opened(0, 10));
        assert_eq!(bench.machine.state(), StateName::Streaming);
        bench
    }

    /// The same with these tokens read and in flight; one byte each.
    fn reading(config: Config, tokens: &[u32]) -> Self {
        let mut bench = Self::streaming(config);
        bench.step(batch(0, tokens));
        bench
    }
}

/// The one watched collection.
const PLAYERS: CollectionId = CollectionId(0);

const UUID: Contents = Contents::Uuid([1; 16]);

const KNOWN: Known = Known { contents: UUID, partitions: Some(2), holds_messages: true };

const TOPIC: TopicState = TopicState { partitions: 2, was_made: false, holds_messages: true, lineage: None };

fn acquired(id: u64, saved: Option<u32>) -> Fact {
    let saved = saved.map_or(Saved::Nothing, |token| {
        Saved::Position(Checkpoint { token, lineage: Lineage(7), known: vec![Some(KNOWN)] })
    });
    Input::LeaseTaken {
        id: EffectId(id),
        result: Ok(Taken { saved, unannounced: vec![], fresh: Lineage(9) }),
    }
}

fn ready(id: u64, holds_messages: bool) -> Fact {
    Input::ProducerPrepared { id: EffectId(id), result: Ok(vec![TopicState { holds_messages, ..TOPIC }]) }
}

fn opened(epoch: u64, at: u32) -> Fact {
    Input::StreamOpened {
        epoch: Epoch(epoch),
        result: Ok(Opened { at, contents: vec![UUID], looked_at: at }),
    }
}

fn message(token: u32) -> Event<&'static str, u32> {
    Event { token, payload: Payload::Message { record: "body", bytes: 1, collection: PLAYERS } }
}

fn batch(epoch: u64, tokens: &[u32]) -> Fact {
    let events = tokens.iter().copied().map(message).collect();
    Input::Fetched { epoch: Epoch(epoch), result: Ok(Batch { events, idle: None }) }
}

fn idle(epoch: u64, token: u32) -> Fact {
    Input::Fetched { epoch: Epoch(epoch), result: Ok(Batch { events: vec![], idle: Some(token) }) }
}

fn delivered(seqs: &[u64]) -> Fact {
    Input::Delivered { seqs: seqs.iter().copied().map(SeqNo).collect() }
}

fn failed(seq: u64, fault: Fault) -> Fact {
    Input::DeliveryFailed { seq: SeqNo(seq), fault }
}

fn saved(id: u64) -> Fact {
    Input::TokenSaved { id: EffectId(id), result: Ok(vec![]) }
}

fn drain() -> Fact {
    Input::Signal(Signal::Drain)
}

const NOTHING: [&str; 0] = [];

const CONNECTING: (StateName, Option<Cause>) = (StateName::Connecting, None);
const STREAMING: (StateName, Option<Cause>) = (StateName::Streaming, None);
const AWAITING_ACK: (StateName, Option<Cause>) = (StateName::AwaitingAck, None);
const SAVING_TOKEN: (StateName, Option<Cause>) = (StateName::SavingToken, None);
const DRAINING: (StateName, Option<Cause>) = (StateName::Draining, None);

const fn stopped(cause: Cause) -> (StateName, Option<Cause>) {
    (StateName::Stopped, Some(cause))
}

/// A wait that the tests below have no interest in keeping exact.
const SECOND: Duration = Duration::from_secs(1);
