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

use super::breaker::Breaker;
use crate::context::Context;
use crate::hold::Holds;
use crate::partitions::Partitions;
use crate::{HoldReason, Reject, Row, StopAfter, TimerKind, Topic};

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

impl TopicBreaker {
    /// Takes one record; true where there are too many bad ones.
    fn note(&mut self, reason: Option<Reject>, bytes: u64, limit: StopAfter, bytes_max: u64) -> bool {
        let is_tripped = self.last.note(reason, limit);
        let Some(probe) = &mut self.probe else { return is_tripped };
        probe.bytes += if reason.is_some() { bytes } else { 0 };
        let enough = limit.at_least.clamp(1, limit.window.max(1)) as usize;
        let is_large = probe.bytes > bytes_max;
        // Too many already, whatever the rest of them is.
        let is_due = self.last.exceeds(enough, limit) || self.last.len() >= enough || is_large;
        is_due && self.judge(limit)
    }

    /// Ends the probe by what it has shown.
    fn judge(&mut self, limit: StopAfter) -> bool {
        let is_tripped = self.last.exceeds(self.last.len(), limit);
        if !is_tripped {
            self.probe = None;
        }
        is_tripped
    }

    /// True where a record was counted since the topic is tried again.
    const fn is_probed(&self) -> bool {
        self.probe.is_some() && self.last.len() > 0
    }
}

impl Breakers {
    /// Counts a record for its topic's breaker. The topic is held before any dead letter of the answer that was one
    /// too many is ordered; what has not settled by then is read again.
    pub(super) fn note<R>(
        &mut self,
        row: &Row<R>,
        reason: Option<Reject>,
        holds: &mut Holds,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let limit = cx.config.stop_after;
        let Some(topic) = partitions.topic(row.partition) else { return Ok(()) };
        let new = || TopicBreaker { last: Breaker::new(limit), probe: None };
        let breaker = self.of.entry(topic).or_insert_with(new);
        let bytes_max = cx.config.max_buffered_bytes / HELD_BACK_PART;
        if breaker.note(reason, u64::from(row.bytes), limit, bytes_max) {
            self.trip(topic, holds, partitions, cx)
        } else {
            Ok(())
        }
    }

    /// Sees that the timer runs exactly while a topic is tried again and has shown a record.
    pub(crate) fn time_probes<R>(&self, cx: &mut Context<'_, R>) {
        cx.run_timer_while(self.is_any_probed(), TimerKind::Probe, PROBE_WAIT);
    }

    /// Topics that have shown all their records are judged by those.
    pub(crate) fn on_probe_due<R>(
        &mut self,
        holds: &mut Holds,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let limit = cx.config.stop_after;
        let mut tripped = Vec::new();
        for (topic, breaker) in self.of.iter_mut().filter(|(_, it)| it.is_probed()) {
            match &mut breaker.probe {
                Some(probe @ Probe { is_seasoned: false, .. }) => probe.is_seasoned = true,
                Some(_) | None => {
                    if breaker.judge(limit) {
                        tripped.push(*topic);
                    }
                }
            }
        }
        tripped.into_iter().try_for_each(|topic| self.trip(topic, holds, partitions, cx))
    }

    /// True while the topic is tried again.
    pub(super) fn is_probing(&self, topic: Topic) -> bool {
        self.of.get(&topic).is_some_and(|breaker| breaker.probe.is_some())
    }

    /// True where a topic has shown a record since it is tried again.
    pub(super) fn is_any_probed(&self) -> bool {
        self.of.values().any(TopicBreaker::is_probed)
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        self.of.values().try_for_each(|breaker| breaker.last.check())
    }

    /// Of one topic: what it remembers counts only while it is tried again.
    pub(super) fn situation(&self, topic: Topic) -> u64 {
        let probed = self.of.get(&topic).and_then(|breaker| Some((breaker, breaker.probe?)));
        probed.map_or(0, |(breaker, probe)| {
            let (bad, len) = (breaker.last.bad() as u64, breaker.last.len() as u64);
            1 + u64::from(probe.is_seasoned) + 2 * (bad + 4 * len)
        })
    }

    /// Too many of the topic's records are bad. From now on it is tried again before it is read on.
    fn trip<R>(
        &mut self,
        topic: Topic,
        holds: &mut Holds,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let last = Breaker::new(cx.config.stop_after);
        let new = TopicBreaker { last, probe: Some(Probe::default()) };
        let Some(TopicBreaker { last, .. }) = self.of.insert(topic, new) else { return Ok(()) };
        let detail = Arc::from(words(&last));
        holds.hold_topic(topic, HoldReason::TooManyBadRecords, &detail, partitions, cx)
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
