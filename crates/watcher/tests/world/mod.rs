//! A tiny world around one Watcher: a source log, a broker, a token store. It carries out every effect,
//! remembers what is owed, and checks each order against plain lists that share no code with the machine.

pub(crate) mod drawn;
mod fair;
mod moves;
mod orders;

use std::collections::{BTreeMap, BTreeSet};

use cdc_machine::{Cause, EffectId, Effects, Epoch, Machine, SeqNo, StateName, TimerId};
use cdc_watcher::{
    AckedToken, Config, Effect, Input, Known, Reading, RecordChange, StartAt, TimerKind, Watcher,
};

pub(crate) use moves::{Move, Outcome};

/// Events are numbered from 1; an event's number is its token, and its message's handle.
pub(crate) type Token = u32;

/// Each fifth event carries nothing to deliver.
pub(crate) fn is_skipped(token: Token) -> bool {
    token.is_multiple_of(5)
}

/// Each seventh tells of a drop, and each fourteenth of a rename that replaces the documents.
pub(crate) fn is_control(token: Token) -> bool {
    token.is_multiple_of(7) && !is_skipped(token)
}

/// Each eleventh does not fit a reply.
pub(crate) fn is_large(token: Token) -> bool {
    token.is_multiple_of(11) && !is_skipped(token) && !is_control(token)
}

/// The topic's partitions.
pub(crate) const PARTITIONS: u32 = 2;

/// A gap's control message is this much above the position at which it ends.
pub(crate) const GAP: Token = 1_000_000;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Event,
    Marker,
    /// One copy of an event's control messages.
    Control,
    /// One copy of the control messages of recorded gaps.
    Announcement,
}

/// A message on its way to Kafka.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    seq: SeqNo,
    token: Token,
    sort: Sort,
    is_purged: bool,
}

/// A gap in the token record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordedGap {
    /// Everything after this, up to and including `to`, is excused; `None`: from the beginning.
    from: Option<Token>,
    to: Token,
    announced: bool,
}

/// What a compare-and-set replaces as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    saved: Option<Token>,
    known: Option<Known>,
    gaps: Vec<RecordedGap>,
    /// The position was lost by a damaged record.
    is_lost: bool,
}

/// The world. What outlives a crash stands first.
pub(crate) struct World {
    pub(crate) config: Config,
    /// The newest event of the source.
    log: Token,
    /// The position of the very first start; nothing before it has to arrive.
    birth: Option<Token>,
    /// What Kafka has told that it has.
    acked: BTreeSet<Token>,
    /// Gaps of which Kafka has told that every partition has them, by the positions at which they end.
    told: BTreeSet<Token>,
    record: Record,
    is_damaged: bool,
    /// The topic was deleted and not made since.
    is_topic_gone: bool,
    /// Everything handed to Kafka above the saved token, in any life: what a crash makes be sent again.
    pub(crate) unsaved: BTreeSet<Token>,

    pub(crate) machine: Watcher<Token, Token>,
    out: Effects<Effect<Token, Token>>,
    is_identity_asked: bool,
    acquisition: Option<(EffectId, bool)>,
    renewal: Option<EffectId>,
    release: Option<EffectId>,
    preparation: Option<EffectId>,
    producer_is_ready: bool,
    /// The producer sends each message alone.
    is_single: bool,
    /// The last message of a batch that was refused: up to it none may share one again.
    refused_through: Option<Token>,
    opening: Option<(Epoch, StartAt<Token>, Reading)>,
    stream: Option<(Epoch, Token, Reading)>,
    /// Where a stream began at the present although it was not the first one: a gap has to say so.
    jumped_to: Option<Token>,
    /// Gaps told in this stream before its events.
    announced: BTreeSet<Token>,
    /// Slots of announcements of this stream that not every partition has: nothing behind them is settled in order.
    announcing: BTreeSet<SeqNo>,
    /// Where each event stands that was published in this life.
    slots: BTreeMap<Token, SeqNo>,
    /// Copies of each slot that Kafka has, and whether one was refused.
    copies: BTreeMap<SeqNo, (u32, bool)>,
    fetch: Option<(Epoch, u32)>,
    /// A fetch of a stream that was closed since; its answer may still come.
    late: Option<Epoch>,
    in_flight: Vec<Sent>,
    save: Option<(EffectId, AckedToken<Token>, RecordChange<Token>)>,
    timers: BTreeMap<TimerKind, TimerId<TimerKind>>,
    /// Acknowledged in this life, and not to be read again since.
    acked_and_past: BTreeSet<Token>,
    is_draining: bool,
    failed_saves: u32,
    pub(crate) stop: Option<Cause>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let mut world = Self {
            config,
            log: 3,
            birth: None,
            acked: BTreeSet::new(),
            told: BTreeSet::new(),
            record: Record::default(),
            is_damaged: false,
            is_topic_gone: false,
            unsaved: BTreeSet::new(),
            machine: Watcher::new(),
            out: Effects::new(),
            is_identity_asked: false,
            acquisition: None,
            renewal: None,
            release: None,
            preparation: None,
            producer_is_ready: false,
            is_single: false,
            refused_through: None,
            opening: None,
            stream: None,
            jumped_to: None,
            announced: BTreeSet::new(),
            announcing: BTreeSet::new(),
            slots: BTreeMap::new(),
            copies: BTreeMap::new(),
            fetch: None,
            late: None,
            in_flight: Vec::new(),
            save: None,
            timers: BTreeMap::new(),
            acked_and_past: BTreeSet::new(),
            is_draining: false,
            failed_saves: 0,
            stop: None,
        };
        world.feed(Input::Start);
        world
    }

    /// The process dies, and another one starts.
    pub(crate) fn crash(&mut self) {
        *self = Self {
            log: self.log,
            birth: self.birth,
            acked: std::mem::take(&mut self.acked),
            told: std::mem::take(&mut self.told),
            record: self.record.clone(),
            is_damaged: self.is_damaged,
            is_topic_gone: self.is_topic_gone,
            unsaved: std::mem::take(&mut self.unsaved),
            ..Self::new(self.config.clone())
        };
    }

    /// One step, its effects, and every check that holds at all times.
    pub(crate) fn feed(&mut self, input: Input<Token, Token>) {
        let was_stopped = self.stop.is_some();
        self.machine.step(&self.config, input, &mut self.out);
        let effects: Vec<_> = self.out.drain().collect();
        assert!(!was_stopped || effects.is_empty(), "a stopped machine orders {effects:?}");
        for effect in effects {
            self.carry_out(effect);
        }
        assert_eq!(self.machine.check_invariants(&self.config), Ok(()));
        assert_eq!(self.machine.unexpected_inputs(), 0, "the world answers only what it was asked");
        assert_eq!(self.machine.state() == StateName::Stopped, self.stop.is_some());
        assert!(!matches!(self.stop, Some(Cause::Invariant(_))), "{:?}", self.stop);
    }

    /// Everything up to `token` that had to be delivered has been, or stands in a recorded gap or in one that
    /// is being recorded with it.
    fn is_covered(&self, token: Token, more: &[RecordedGap]) -> bool {
        let first = self.birth.map_or(token, |birth| birth + 1);
        let is_excused = |token| {
            let holds = |gap: &RecordedGap| gap.from.is_none_or(|from| from < token) && token <= gap.to;
            self.record.gaps.iter().chain(more).any(holds)
        };
        (first..=token).all(|token| is_skipped(token) || self.acked.contains(&token) || is_excused(token))
    }

    /// Every event since the first start is in Kafka and under the saved token, or on record as given up; and
    /// Kafka knows of that.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.birth.is_some()
            && self.is_covered(self.log, &[])
            && self.record.saved == Some(self.log)
            && self.record.gaps.iter().all(|gap| gap.announced && self.told.contains(&gap.to))
    }

    /// The first event that is not saved, if there is one, is one that is still to be read or acknowledged, or stands
    /// behind an announcement that is.
    fn is_prefix_saved(&self) -> bool {
        let is_behind = |event| {
            self.slots.get(event).zip(self.announcing.first()).is_some_and(|(slot, first)| first < slot)
        };
        self.unsaved.first().is_none_or(|first| !self.acked_and_past.contains(first) || is_behind(first))
    }
}
