//! One state, one input: the exact effects in order, and the exact next state.

extern crate std;

mod acks;
mod connecting;
mod draining;
mod lease;
mod saving;
mod streaming;

use std::string::String;
use std::time::Duration;
use std::vec::Vec;
use std::{assert_eq, format, vec};

use cdc_machine::{
    Cause, EffectId, Effects, Epoch, Fault, Lineage, Machine, SeqNo, Signal, StateName, TimerId,
};

use crate::{Checkpoint, Config, Effect, Event, Input, Payload, StartAt, TimerKind, Watcher};

type Order = Effect<&'static str, u32>;
type Fact = Input<&'static str, u32>;

/// A machine, its configuration, and the timers that it has set.
struct Bench {
    machine: Watcher<&'static str, u32>,
    config: Config,
    out: Effects<Order>,
    timers: Vec<TimerId<TimerKind>>,
}

/// Room for four events, a save for each second one.
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
            lines.push(show(&effect));
        }
        lines
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

    /// Resumed after token 10, with the first pull outstanding.
    fn streaming(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.step(Input::Start);
        bench.step(acquired(0, Some(10)));
        bench.step(Input::ProducerReady { id: EffectId(1), holds_messages: true });
        bench.step(Input::Opened { epoch: Epoch(0), at: 10 });
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

fn show(effect: &Order) -> String {
    let name = effect.name();
    match effect {
        Effect::AcquireLease { id }
        | Effect::RenewLease { id }
        | Effect::ReleaseLease { id }
        | Effect::PrepareProducer { id } => format!("{name} {}", id.0),
        Effect::Publish { seq, record } | Effect::PublishMarker { seq, marker: record } => {
            format!("{name} {} {record}", seq.0)
        }
        Effect::PurgeQueued => String::from(name),
        Effect::OpenStream { epoch, from, lineage } => {
            let from = match from {
                StartAt::Now => String::from("now"),
                StartAt::After(token) => format!("after {token}"),
            };
            format!("{name} {} {from} in {}", epoch.0, lineage.0)
        }
        Effect::Pull { epoch, max_events, max_bytes } => {
            format!("{name} {} {max_events} events {max_bytes} bytes", epoch.0)
        }
        Effect::CloseStream { epoch } => format!("{name} {}", epoch.0),
        Effect::SaveToken { id, token, lineage } => {
            format!("{name} {} {} in {}", id.0, token.position(), lineage.0)
        }
        Effect::SetTimer { timer, after } => format!("{name}#{} {after:?}", timer.generation),
        Effect::CancelTimer { timer } => format!("{name}#{}", timer.generation),
        Effect::Stop { cause } => format!("{name} {cause:?}"),
    }
}

fn acquired(id: u64, saved: Option<u32>) -> Fact {
    let saved = saved.map(|token| Checkpoint { token, lineage: Lineage(7) });
    Input::LeaseAcquired { id: EffectId(id), saved, fresh: Lineage(9) }
}

fn message(token: u32) -> Event<&'static str, u32> {
    Event { token, payload: Payload::Message { record: "body", bytes: 1 } }
}

fn batch(epoch: u64, tokens: &[u32]) -> Fact {
    let events = tokens.iter().copied().map(message).collect();
    Input::Batch { epoch: Epoch(epoch), events, idle: None }
}

fn idle(epoch: u64, token: u32) -> Fact {
    Input::Batch { epoch: Epoch(epoch), events: vec![], idle: Some(token) }
}

fn delivered(seqs: &[u64]) -> Fact {
    Input::Delivered { seqs: seqs.iter().copied().map(SeqNo).collect() }
}

fn failed(seq: u64, fault: Fault) -> Fact {
    Input::DeliveryFailed { seq: SeqNo(seq), fault }
}

fn saved(id: u64) -> Fact {
    Input::Saved { id: EffectId(id) }
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
