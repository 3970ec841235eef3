//! A breaker for each topic. Tripped, it holds its topic, and what was one too many stays there. When the topic is looked
//! at again it is tried: the bad ones among its first records are held back until it shows whether they still are too
//! many. Then the topic is held again, with all of them in it; or they go to the dead letters, and it goes on.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::Cause;

use crate::breaker::Breaker;
use crate::facts::BadRow;
use crate::partitions::Stage;
use crate::state::State;
use crate::turn::Turn;
use crate::{HoldReason, Partition, Reject, Row, StopAfter, TimerKind, Topic};

/// A topic that is tried again, and has no more records to show, has a verdict after twice this at most.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// The share of the buffer that one topic's bad records may take while they are held back: the others need the rest.
const HELD_BACK_PART: u64 = 4;

/// The topics' breakers, of those that have settled a record: as many as there are topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Breakers {
    of: BTreeMap<Topic, TopicBreaker>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TopicBreaker {
    last: Breaker,
    /// While the topic is tried again.
    probe: Option<Probe>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Probe {
    /// Of the bad records that are held back.
    bytes: u64,
    /// The timer has run out once since its first record.
    is_seasoned: bool,
}

/// What a record comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// Nothing.
    Fine,
    /// There are too many bad ones.
    Trips,
}

impl TopicBreaker {
    fn note(&mut self, reason: Option<Reject>, bytes: u64, limit: StopAfter, bytes_max: u64) -> Noted {
        let is_tripped = self.last.note(reason, limit);
        let Some(probe) = &mut self.probe else {
            return if is_tripped { Noted::Trips } else { Noted::Fine };
        };
        probe.bytes += if reason.is_some() { bytes } else { 0 };
        let enough = limit.at_least.clamp(1, limit.window.max(1)) as usize;
        let is_large = probe.bytes > bytes_max;
        // Too many already, whatever the rest of them is.
        if self.last.exceeds(enough, limit) || self.last.len() >= enough || is_large {
            return self.judge(limit);
        }
        Noted::Fine
    }

    /// Ends the probe by what it has shown.
    fn judge(&mut self, limit: StopAfter) -> Noted {
        if self.last.exceeds(self.last.len(), limit) {
            return Noted::Trips;
        }
        self.probe = None;
        Noted::Fine
    }

    /// True where a record was noted since the topic is tried again.
    const fn is_probed(&self) -> bool {
        self.probe.is_some() && self.last.len() > 0
    }
}

impl Breakers {
    /// True while the topic is tried again.
    fn is_probing(&self, topic: Topic) -> bool {
        self.of.get(&topic).is_some_and(|breaker| breaker.probe.is_some())
    }

    /// True where a topic has shown a record since it is tried again.
    pub(crate) fn is_any_probed(&self) -> bool {
        self.of.values().any(TopicBreaker::is_probed)
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.of.values().try_for_each(|breaker| breaker.last.check())
    }

    /// What tells one situation from another, of one topic: what it remembers counts only while it is tried again.
    pub(crate) fn shape(&self, topic: Topic) -> u64 {
        let probed = self.of.get(&topic).and_then(|breaker| Some((breaker, breaker.probe?)));
        probed.map_or(0, |(breaker, probe)| {
            let (bad, len) = (breaker.last.bad() as u64, breaker.last.len() as u64);
            1 + u64::from(probe.is_seasoned) + 2 * (bad + 4 * len)
        })
    }
}

impl<R: Clone> Turn<'_, R> {
    /// Counts a record for its topic's breaker. The topic is held before any dead letter of the answer that was one
    /// too many is ordered; what has not settled by then is read again.
    pub(crate) fn note(&mut self, state: State, row: &Row<R>, reason: Option<Reject>) -> Result<(), Cause> {
        let limit = self.config.stop_after;
        let Some(topic) = self.facts.partitions.topic(row.partition) else { return Ok(()) };
        let new = || TopicBreaker { last: Breaker::new(limit), probe: None };
        let breaker = self.facts.breakers.of.entry(topic).or_insert_with(new);
        let bytes_max = self.config.max_buffered_bytes / HELD_BACK_PART;
        match breaker.note(reason, u64::from(row.bytes), limit, bytes_max) {
            Noted::Fine => Ok(()),
            Noted::Trips => self.trip(state, topic),
        }
    }

    /// True where the verdict on its topic decides what becomes of a bad row.
    pub(crate) fn is_held_back(&self, bad: &BadRow<R>) -> bool {
        let topic = self.facts.partitions.topic(bad.row.partition);
        topic.is_some_and(|topic| self.facts.breakers.is_probing(topic))
    }

    /// Sees that the timer runs exactly while a topic is tried again and has shown a record.
    pub(crate) fn time_probes(&mut self) {
        if !self.facts.breakers.is_any_probed() {
            self.cancel_timer(TimerKind::Probe);
        } else if !self.facts.timers.is_running(TimerKind::Probe) {
            self.set_timer(TimerKind::Probe, PROBE_WAIT);
        }
    }

    /// Topics that have shown all their records are judged by those.
    pub(crate) fn on_probe_due(&mut self, state: State) -> Result<(), Cause> {
        let limit = self.config.stop_after;
        let mut tripped = Vec::new();
        for (topic, breaker) in self.facts.breakers.of.iter_mut().filter(|(_, it)| it.is_probed()) {
            match &mut breaker.probe {
                Some(probe @ Probe { is_seasoned: false, .. }) => probe.is_seasoned = true,
                Some(_) | None => {
                    if breaker.judge(limit) == Noted::Trips {
                        tripped.push(*topic);
                    }
                }
            }
        }
        tripped.into_iter().try_for_each(|topic| self.trip(state, topic))
    }

    /// Neither a drain nor a revocation waits for a verdict: what is held back stays in the topic, for the next owner.
    pub(crate) fn let_go_of_probed(&mut self, state: State) {
        if !self.facts.breakers.is_any_probed() {
            return;
        }
        let is_draining = matches!(state, State::Draining(_));
        let waiting = self.facts.dead_letters.waiting.iter();
        let held_back: Vec<Partition> =
            waiting.filter(|bad| self.is_held_back(bad)).map(|bad| bad.row.partition).collect();
        let mut is_any_gone = false;
        for partition in held_back {
            let stage = self.facts.partitions.get(partition).map(|assignment| &assignment.stage);
            let is_going = matches!(stage, Some(Stage::Revoking(_)));
            if is_going || (is_draining && matches!(stage, Some(Stage::Serving(_)))) {
                self.facts.partitions.remove(partition);
                is_any_gone = true;
            }
        }
        if is_any_gone {
            self.facts.drop_stale_rows();
        }
    }

    /// Too many of the topic's records are bad. From now on it is tried again before it is read on.
    fn trip(&mut self, state: State, topic: Topic) -> Result<(), Cause> {
        let new = TopicBreaker { last: Breaker::new(self.config.stop_after), probe: Some(Probe::default()) };
        let Some(TopicBreaker { last, .. }) = self.facts.breakers.of.insert(topic, new) else {
            return Ok(());
        };
        let detail = Arc::from(words(&last));
        self.hold_topic(state, topic, HoldReason::TooManyBadRecords, &detail)
    }
}

/// How many, for which reasons, and the way out.
fn words(last: &Breaker) -> String {
    let mut reasons = last.reasons();
    reasons.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
    let by_reason: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{} {count}", reason.as_str())).collect();
    format!(
        "{} of the last {} records cannot be written ({}): correct the table or what fills the topic. The records stay \
         in the topic. To give them up, raise dead_letter.stop_after.share (1: never) or set on_bad_record: skip",
        last.bad(),
        last.len(),
        by_reason.join(", ")
    )
}
