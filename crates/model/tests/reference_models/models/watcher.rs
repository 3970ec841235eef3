//! The world around one Watcher, as plain as it can be: a source that counts, a broker that takes messages in order, one
//! record. It answers what is outstanding in any order and with any fault, and tells the shared invariants what happened.

use std::fmt;

use cdc_machine::{Effects, Fault, Lineage, Machine as _, Plant, planted};
use cdc_model::invariants::{Delivery, Invariant, Topics, Violation, demand};
use cdc_model::sim::kafka::{DEAD_LETTERS, Producer, Stage};
use cdc_model::sim::message::{KEYS, Kind, Message, TABLES, Token};
use cdc_model::sim::watching::{Save, Stream, Watching};
use cdc_watcher::{
    Batch, Checkpoint, CollectionId, Config, Contents, Event, GapCause, Input, Known, LeaseRefusal, Notice,
    Opened, Payload, Saved, StartAt, Taken,
};

use super::harness::{End, digest, of_itself};

mod moves;

/// What a compare-and-set replaces as a whole.
#[derive(Clone, Debug, Default)]
struct Record {
    incarnation: u64,
    saved: Option<(Token, Lineage)>,
    known: Vec<Option<Known>>,
    /// Where each gap ends, and whether Kafka was told.
    gaps: Vec<(Token, bool)>,
}

/// All of it.
#[derive(Clone)]
pub(crate) struct World {
    config: Config,
    process: Watching,
    incarnation: u64,
    log: Token,
    oldest: Token,
    record: Record,
    late: Option<(u64, Save)>,
    holds_messages: bool,
    delivery: Delivery,
    topics: Topics,
    trace: u64,
    violation: Option<Violation>,
}

/// What a stream is not told of: its position moves past it.
const fn is_filtered(token: Token) -> bool {
    token % 4 == 3
}

/// Each fifth change carries nothing to deliver.
fn message(token: Token) -> Option<Message> {
    let (table, key) = ((token % TABLES as u64) as u8, (token % KEYS as u64) as u8);
    let message =
        Message { kind: Kind::Upsert, table, key, name: 0, is_poison: false, token, version: token };
    (!token.is_multiple_of(5)).then_some(message)
}

fn notice(to: Token) -> Notice<Message> {
    let record =
        Message { kind: Kind::Gap, table: 0, key: 0, name: 0, is_poison: false, token: to, version: 0 };
    Notice { record, bytes: 0 }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("World").field(&self.config).finish()
    }
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let process = Watching::new(0, 0);
        let (delivery, topics, record) = (Delivery::default(), Topics::default(), Record::default());
        let [log, oldest, trace, incarnation] = [0; 4];
        let (holds_messages, late, violation) = (false, None, None);
        Self {
            config,
            process,
            incarnation,
            log,
            oldest,
            record,
            late,
            holds_messages,
            delivery,
            topics,
            trace,
            violation,
        }
    }

    fn fail(&mut self, checked: Result<(), Violation>) {
        self.violation = self.violation.take().or(checked.err());
    }

    fn write(&mut self) {
        self.log += 1;
        if message(self.log).is_some() && !is_filtered(self.log) {
            self.delivery.happened(self.log);
        }
    }

    fn start(&mut self) {
        self.process = Watching::new(self.process.life + 1, 0);
        self.tell(Input::Start);
    }

    /// The process is gone: the next one goes on from what is saved.
    fn end(&mut self) {
        let saved = self.record.saved.map(|(token, _)| token);
        let bound = self.config.max_replay_events;
        let checked = Delivery::replayed(&mut std::mem::take(&mut self.process.published), saved, bound);
        self.fail(checked);
    }

    /// One step of the machine, what it orders, and what has to hold then.
    fn tell(&mut self, fact: Input<Message, Token>) {
        let was_stopped = self.process.is_stopped();
        let mut orders = Effects::new();
        self.process.machine.step(&self.config, fact, &mut orders);
        for order in orders.drain() {
            self.trace = digest(self.trace, &order);
            self.process.carry_out(order, std::time::Duration::ZERO);
        }
        let checked = self.check();
        self.fail(checked);
        if self.process.is_stopped() && !was_stopped {
            self.process.producer = Producer::default();
            self.end();
        }
    }

    fn check(&self) -> Result<(), Violation> {
        let (machine, config) = (&self.process.machine, &self.config);
        let (events, bytes) = (machine.unsaved_events(), machine.in_flight());
        let are_few = events <= config.max_replay_events && bytes <= config.max_in_flight_bytes + 1;
        demand(are_few, Invariant::MemoryBound, || format!("{events} events and {bytes} bytes in hand"))?;
        of_itself(machine.check_invariants(config), machine.cause(), machine.unexpected_inputs())
    }

    fn lease(&mut self, end: End) {
        let Some((id, _)) = self.process.lease.take() else { return };
        if !matches!(end, End::Failed(_)) {
            self.record.incarnation += 1;
            let wrote = self.delivery.wrote(self.record.incarnation);
            self.fail(wrote);
        }
        let record = &self.record;
        let saved = record.saved.map_or(Saved::Nothing, |(token, lineage)| {
            Saved::Position(Checkpoint { token, lineage, known: record.known.clone() })
        });
        let unannounced =
            record.gaps.iter().filter(|(_, is_told)| !is_told).map(|(to, _)| notice(*to)).collect();
        let taken = Taken { saved, unannounced, fresh: Lineage(1) };
        if end == End::Good {
            self.incarnation = self.record.incarnation;
            if self.record.saved.is_some() {
                self.delivery.known();
            }
        }
        self.tell(Input::LeaseTaken { id, result: end.done().map(|()| taken).map_err(LeaseRefusal::Failed) });
    }

    fn open(&mut self, end: End) {
        let Some(opening) = self.process.opening.take() else { return };
        let found = match opening.from {
            StartAt::After(token) if token < self.oldest => Err(Fault::HistoryLost),
            StartAt::After(token) => Ok(token),
            StartAt::Now => Ok(self.log),
        };
        let result = end.done().and(found);
        if let (Ok(after), epoch, lineage) = (result, opening.epoch, opening.lineage) {
            if opening.from == StartAt::Now {
                self.delivery.born(after);
            }
            self.process.stream = Some(Stream { epoch, after, lineage });
        }
        let opened = |at| Opened { at, contents: vec![Contents::Uuid([1; 16]); TABLES], looked_at: self.log };
        let fact = Input::StreamOpened { epoch: opening.epoch, result: result.map(opened) };
        self.tell(fact);
    }

    fn fetch(&mut self, at_most: u8, end: End) {
        let Some((epoch, max_events, max_bytes)) = self.process.fetch.take() else { return };
        let is_started = demand(self.record.saved.is_some(), Invariant::StartRecorded, || {
            "changes are read, and no position is on record to come back to".to_owned()
        });
        self.fail(is_started);
        let Some(stream) = self.process.stream.as_mut() else { return };
        let mut result = end.done().map(|()| Batch { events: Vec::new(), idle: None });
        if let Ok(batch) = &mut result {
            let through = self.log.min(stream.after + max_bytes.min(max_events.min(at_most.into()).into()));
            let told = (stream.after + 1..=through).filter(|token| !is_filtered(*token));
            batch.events.extend(told.map(|token| Event {
                token,
                payload: message(token).map_or(Payload::Skip, |record| Payload::Message {
                    record,
                    bytes: 1,
                    collection: CollectionId(record.table.into()),
                }),
            }));
            batch.idle = batch.events.is_empty().then_some(through);
            stream.after = through;
        }
        self.tell(Input::Fetched { epoch, result });
    }

    fn append(&mut self, queue: usize, end: End) {
        let (life, is_single) = (self.process.life, self.process.producer.is_single);
        let Some(sent) = self.process.producer.next_sent(queue) else { return };
        let (message, stream, seq) = (sent.message, sent.stream, sent.seq);
        let is_event = message.kind == Kind::Upsert;
        if end == End::Failed(Fault::TooLarge) && is_event && is_single {
            self.process.producer.queues[queue].retain(|it| it.seq != seq);
            return self
                .tell(Input::DeliveryTooLarge { seq, marker: Message { kind: Kind::Marker, ..message } });
        }
        sent.stage = match end {
            End::Good => Stage::Appended,
            End::Failed(Fault::TooLarge) if is_event => Stage::BatchTooLarge,
            End::Failed(_) | End::Unheard => Stage::Failed,
        };
        if matches!(end, End::Failed(_)) {
            return;
        }
        self.holds_messages |= queue != DEAD_LETTERS;
        if message.kind != Kind::Gap {
            self.delivery.arrived(message.token);
        }
        if is_event {
            let in_order = self.topics.appended((life, stream), queue, message.token);
            self.fail(in_order);
        }
    }

    fn report(&mut self, queue: usize, fault: Fault) {
        let answered = self.process.producer.queues[queue].pop_front_if(|it| it.stage != Stage::Sent);
        let Some(answered) = answered else { return };
        let seq = answered.seq;
        self.tell(match answered.stage {
            Stage::BatchTooLarge => Input::DeliveryFailed { seq, fault: Fault::TooLarge },
            Stage::Failed => Input::DeliveryFailed { seq, fault },
            Stage::Appended | Stage::Sent => Input::Delivered { seqs: vec![seq] },
        });
    }

    /// A save gets to the store; true where it is carried out.
    fn put(&mut self, incarnation: u64, save: &Save) -> bool {
        if incarnation != self.record.incarnation && !planted(Plant::StoreIgnoresIncarnation) {
            return false;
        }
        let (token, change) = (*save.token.position(), &save.change);
        for gap in &change.gaps {
            let is_lost = gap.cause == GapCause::HistoryLost && self.oldest > 0;
            self.delivery.excuse(gap.from.unwrap_or(0), gap.to);
            let explained = demand(is_lost, Invariant::GapsExplained, || format!("{gap:?} is on record"));
            self.fail(explained);
        }
        let saved = self.delivery.saved(token, incarnation);
        self.fail(saved);
        self.record.saved = Some((token, save.lineage));
        self.record.known = change.known.iter().copied().map(Some).collect();
        self.record.gaps.iter_mut().for_each(|(_, is_told)| *is_told |= change.announced);
        self.record.gaps.extend(change.gaps.iter().map(|gap| (gap.to, gap.announced)));
        true
    }

    fn save(&mut self, end: End) {
        let Some(save) = self.process.save.take() else { return };
        let is_done = !matches!(end, End::Failed(_)) && self.put(self.incarnation, &save);
        let mut result = end.done().map(|()| Vec::new());
        if let (Ok(unannounced), true) = (&mut result, is_done) {
            self.process.forget_published(*save.token.position());
            self.delivery.known();
            unannounced
                .extend(save.change.gaps.iter().filter(|gap| !gap.announced).map(|gap| notice(gap.to)));
        } else if result.is_ok() {
            result = Err(Fault::Fenced);
        }
        self.tell(Input::TokenSaved { id: save.id, result });
    }
}
