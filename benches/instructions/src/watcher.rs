//! The Watcher machine, from the fetch to the saved token, in a world that does what it is told.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cdc_event::{ClusterTime, Message, Position, ResumeToken};
use cdc_machine::{Effects, Lineage, Machine as _, SeqNo, TimerId};
use cdc_watcher::{
    Batch, CollectionId, Config, Contents, Effect, Event, Input, Opened, Payload, Saved, Taken, TimerKind,
    TopicState, Watcher,
};

use crate::Failure;

/// Reports that Kafka's client gives at once.
const REPORTS: usize = 100;
/// The size of each message.
const BYTES: u32 = 1_000;

struct World {
    /// Events that the source still has.
    left: u64,
    /// Events read so far.
    read: u32,
    message: Message,
    token: ResumeToken,
    published: Vec<SeqNo>,
    timers: Vec<TimerId<TimerKind>>,
    inputs: VecDeque<Input<Message, ResumeToken>>,
    saves: u64,
}

pub(crate) fn run(events: u64) -> Result<(), Failure> {
    let config = Config::default();
    let mut machine = Watcher::new();
    let mut world = World::new(events)?;
    let mut out = Effects::new();
    let mut next = Some(Input::Start);
    while let Some(input) = next {
        machine.step(&config, input, &mut out);
        for effect in out.drain() {
            world.carry_out(effect);
        }
        next = world.next();
    }
    if machine.unsaved_events() > 0 || world.saves == 0 || world.left > 0 || machine.unexpected_inputs() > 0 {
        return Err(format!("{} events are not saved", machine.unsaved_events()).into());
    }
    Ok(())
}

fn token(read: u32) -> ResumeToken {
    let position = Position::before_all_of(1, ClusterTime { t: 1, i: read });
    ResumeToken { bson: Bytes::from_static(&[5, 0, 0, 0, 0]), position, rests_on: None }
}

impl World {
    fn new(left: u64) -> Result<Self, Failure> {
        let token = token(0);
        let content = Bytes::from_static(b"valuekey");
        let message =
            Message::of_content(Arc::from("cdc.game_db.players"), content, "value".len(), token.position);
        Ok(Self {
            left,
            read: 0,
            message,
            token,
            published: Vec::new(),
            timers: Vec::new(),
            inputs: VecDeque::new(),
            saves: 0,
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else a machine orders does not happen in this world"
    )]
    fn carry_out(&mut self, effect: Effect<Message, ResumeToken>) {
        match effect {
            Effect::IdentifySource {} => self.inputs.push_back(Input::SourceIdentified { result: Ok(()) }),
            Effect::AcquireLease { id, .. } => {
                let taken = Taken { saved: Saved::Nothing, unannounced: Vec::new(), fresh: Lineage(1) };
                self.inputs.push_back(Input::LeaseTaken { id, result: Ok(taken) });
            }
            Effect::PrepareProducer { id, .. } => {
                let topic =
                    TopicState { partitions: 8, was_made: true, holds_messages: false, lineage: None };
                self.inputs.push_back(Input::ProducerPrepared { id, result: Ok(vec![topic]) });
            }
            Effect::OpenStream { epoch, .. } => {
                let opened = Opened {
                    at: self.token.clone(),
                    contents: vec![Contents::Uuid([7; 16])],
                    looked_at: self.token.clone(),
                };
                self.inputs.push_back(Input::StreamOpened { epoch, result: Ok(opened) });
            }
            Effect::Fetch { epoch, max_events, max_bytes } => {
                let most = u64::from(max_events).min(max_bytes / u64::from(BYTES)).min(self.left);
                self.left -= most;
                let events: Vec<_> = (0..most).map(|_| self.event()).collect();
                if !events.is_empty() {
                    self.inputs.push_back(Input::Fetched { epoch, result: Ok(Batch { events, idle: None }) });
                }
            }
            Effect::Publish { seq, .. } => self.published.push(seq),
            Effect::SaveToken { id, .. } => {
                self.saves += 1;
                self.inputs.push_back(Input::TokenSaved { id, result: Ok(Vec::new()) });
            }
            Effect::SetTimer { timer, .. } => self.timers.push(timer),
            Effect::CancelTimer { timer } => self.timers.retain(|set| *set != timer),
            _ => {}
        }
        if self.published.len() >= REPORTS {
            self.deliver();
        }
    }

    fn event(&mut self) -> Event<Message, ResumeToken> {
        self.read += 1;
        Event {
            token: token(self.read),
            payload: Payload::Message {
                record: self.message.clone(),
                bytes: BYTES,
                collection: CollectionId(0),
            },
        }
    }

    fn deliver(&mut self) {
        self.inputs.push_back(Input::Delivered { seqs: std::mem::take(&mut self.published) });
    }

    /// What happens next: a reply, the last reports, or the save that is due.
    fn next(&mut self) -> Option<Input<Message, ResumeToken>> {
        if self.inputs.is_empty() && !self.published.is_empty() {
            self.deliver();
        }
        self.inputs.pop_front().or_else(|| {
            let is_of_saves = |timer: &TimerId<TimerKind>| {
                matches!(timer.kind, TimerKind::SaveSpacing | TimerKind::SaveDelay)
            };
            let due = self.timers.iter().position(is_of_saves)?;
            Some(Input::Timer(self.timers.remove(due)))
        })
    }
}
