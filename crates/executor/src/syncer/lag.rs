//! How far the Syncer is behind, partition by partition: the age of the oldest record that is not written, and how many
//! are not. Both are true also while PostgreSQL or a topic stands still.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_syncer::{FetchStart, Partition, StartOffset};
use metrics::{Gauge, gauge};
use tokio::time::Instant;

use crate::health::TopicLag;
use crate::metrics::{PARTITION_LAG_RECORDS, PARTITION_LAG_SECONDS};
use cdc_ports::{PolledRecord, TopicPartition, TopicRows};

/// How often the logs' ends are asked for. What arrives meanwhile is known as it is read.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// An end that was seen longer ago than this says nothing of the present: two looks were in vain.
const SEEN_WITHIN: Duration = Duration::from_secs(25);

/// The share of the newest half second in the rate of rows.
const NEWEST_SHARE: f64 = 0.2;

/// What is known of a partition.
struct Lag {
    name: TopicPartition,
    /// The first offset that is not written.
    written: Option<i64>,
    /// The first offset and the time stamp of each run of records in hand, oldest first: one for each answer that
    /// brought some.
    in_hand: VecDeque<(i64, i64)>,
    /// The first offset that was not read.
    read: Option<i64>,
    /// The log's end, and when it was seen.
    end: Option<(i64, Instant)>,
    /// When nothing was behind last.
    even: Instant,
    seconds: Gauge,
    records: Gauge,
}

impl Lag {
    fn new(name: TopicPartition) -> Self {
        let labels = [("topic", name.topic.to_string()), ("partition", name.partition.to_string())];
        Self {
            written: None,
            in_hand: VecDeque::new(),
            read: None,
            end: None,
            even: Instant::now(),
            seconds: gauge!(PARTITION_LAG_SECONDS, &labels),
            records: gauge!(PARTITION_LAG_RECORDS, &labels),
            name,
        }
    }

    /// Somebody else tells of it from now on.
    fn end(&self) {
        self.seconds.set(0.0);
        self.records.set(0.0);
    }

    fn wrote(&mut self, written: i64) {
        self.written = Some(written);
        if self.read.is_some_and(|read| read <= written) {
            self.in_hand.clear();
        }
        while self.in_hand.get(1).is_some_and(|(first, _)| *first <= written) {
            self.in_hand.pop_front();
        }
    }

    /// Its age in seconds and its records; `None` until it is known what is written.
    fn now(&mut self, unix_ms: i64) -> Option<(f64, u64)> {
        let written = self.written?;
        let end = self.end.map_or(written, |(end, _)| end).max(self.read.unwrap_or(written));
        let behind = u64::try_from(end - written).unwrap_or(0);
        let is_seen = self.end.is_some_and(|(_, at)| at.elapsed() <= SEEN_WITHIN);
        if behind == 0 && is_seen {
            self.even = Instant::now();
            return Some((0.0, 0));
        }
        // Of what was not read, and of an end that nobody tells, it is known how long it has been so.
        let stamp = self.in_hand.front().map(|(_, stamp)| *stamp).filter(|stamp| *stamp > 0);
        let age = match stamp {
            Some(stamp) => Duration::from_millis(u64::try_from(unix_ms - stamp).unwrap_or(0)).as_secs_f64(),
            None => self.even.elapsed().as_secs_f64(),
        };
        Some((age, behind))
    }
}

/// Rows of a topic, as they come.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    rows: u64,
    per_second: f64,
}

/// The partitions in hand.
pub(super) struct Lags {
    partitions: BTreeMap<Partition, Lag>,
    /// Those from before the group was joined anew. Their gauges stand until it is known who has them.
    before: BTreeMap<Partition, Lag>,
    rates: BTreeMap<Arc<str>, Rate>,
    counted: Instant,
    /// Since when there is none.
    none_since: Instant,
}

impl Default for Lags {
    fn default() -> Self {
        let now = Instant::now();
        let (partitions, before, rates) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { partitions, before, rates, counted: now, none_since: now }
    }
}

impl Lags {
    /// The group has given these. What it gave before it was joined anew, and has not given again, is somebody else's.
    pub(super) fn assigned(&mut self, given: impl Iterator<Item = (Partition, TopicPartition)>) {
        for (partition, name) in given {
            self.before.remove(&partition);
            self.partitions.insert(partition, Lag::new(name));
        }
        for lag in std::mem::take(&mut self.before).into_values() {
            lag.end();
        }
    }

    /// These are somebody else's now, who tells of them.
    pub(super) fn lost(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(lag) = self.partitions.remove(partition).or(self.before.remove(partition)) {
                lag.end();
            }
        }
        if self.partitions.is_empty() {
            self.none_since = Instant::now();
        }
    }

    /// The group is joined anew. Nobody has caught up for that.
    pub(super) fn rejoin(&mut self) {
        self.before.append(&mut self.partitions);
        self.none_since = Instant::now();
    }

    /// True while any partition is ours, or was until the group was joined anew.
    pub(super) fn has_any(&self) -> bool {
        !self.partitions.is_empty() || !self.before.is_empty()
    }

    /// How long no partition was ours; zero while one is.
    pub(super) fn none_for(&self) -> Duration {
        if self.partitions.is_empty() { self.none_since.elapsed() } else { Duration::ZERO }
    }

    /// Where they stand in the ledger or the group, before anything is read; and where their logs end.
    pub(super) fn found(&mut self, places: &[(Partition, i64, i64)]) {
        for (partition, written, end) in places {
            if let Some(lag) = self.partitions.get_mut(partition) {
                lag.wrote(*written);
                lag.end = Some((*end, Instant::now()));
            }
        }
    }

    /// They are read from here on; what was in hand is read again.
    pub(super) fn started(&mut self, starts: &[FetchStart]) {
        for start in starts {
            let Some(lag) = self.partitions.get_mut(&start.partition) else { continue };
            lag.in_hand.clear();
            lag.read = None;
            if let StartOffset::At(offset) = start.offset {
                lag.written = Some(offset);
            }
        }
    }

    /// Records came. They come in runs of one partition.
    pub(super) fn read(&mut self, records: &[PolledRecord]) {
        for run in records.chunk_by(|a, b| a.partition == b.partition) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let Some(lag) = self.partitions.get_mut(&first.partition) else { continue };
            lag.written.get_or_insert(first.offset);
            lag.in_hand.push_back((first.offset, first.handle.timestamp_ms));
            lag.read = Some(last.offset + 1);
        }
    }

    /// Everything below this is written or settled otherwise.
    pub(super) fn wrote(&mut self, written: impl Iterator<Item = (Partition, i64)>) {
        for (partition, written) in written {
            if let Some(lag) = self.partitions.get_mut(&partition) {
                lag.wrote(written);
            }
        }
    }

    /// Rows were written.
    pub(super) fn rows(&mut self, topics: &[(Arc<str>, TopicRows)]) {
        for (topic, rows) in topics {
            match self.rates.get_mut(topic) {
                Some(rate) => rate.rows += rows.written(),
                None => {
                    let rate = Rate { rows: rows.written(), per_second: 0.0 };
                    self.rates.insert(Arc::clone(topic), rate);
                }
            }
        }
    }

    /// The logs' ends were seen.
    pub(super) fn saw_ends(&mut self, ends: &[(Partition, i64)]) {
        for (partition, end) in ends {
            if let Some(lag) = self.partitions.get_mut(partition) {
                lag.end = Some((*end, Instant::now()));
            }
        }
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.partitions.keys().copied().collect()
    }

    /// Sets the gauges. Returns the greatest age, where any is known, and what `/status` says of each topic.
    pub(super) fn tell(&mut self) -> (Option<f64>, Vec<TopicLag>) {
        let since = self.counted.elapsed().as_secs_f64();
        self.counted = Instant::now();
        for rate in self.rates.values_mut() {
            let newest = if since > 0.0 { std::mem::take(&mut rate.rows) as f64 / since } else { 0.0 };
            rate.per_second += (newest - rate.per_second) * NEWEST_SHARE;
        }
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let mut greatest: Option<f64> = None;
        let mut topics: BTreeMap<Arc<str>, TopicLag> = BTreeMap::new();
        for lag in self.partitions.values_mut() {
            let Some((seconds, records)) = lag.now(unix_ms) else { continue };
            lag.seconds.set(seconds);
            lag.records.set(records as f64);
            greatest = Some(greatest.unwrap_or(0.0).max(seconds));
            let topic = &lag.name.topic;
            let rate = self.rates.get(topic).map_or(0.0, |rate| rate.per_second);
            let told = topics.entry(Arc::clone(topic)).or_insert_with(|| TopicLag {
                topic: topic.to_string(),
                seconds: 0,
                records: 0,
                rows_per_second: rate.round() as u64,
            });
            told.seconds = told.seconds.max(seconds as u64);
            told.records += records;
        }
        self.rates.retain(|topic, _| topics.contains_key(topic));
        (greatest, topics.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use cdc_machine::Epoch;
    use cdc_syncer::Record;

    use super::*;
    use cdc_ports::KafkaRecord;

    const P: Partition = Partition(0);

    fn given(partition: Partition) -> (Partition, TopicPartition) {
        (partition, TopicPartition { topic: Arc::from("t"), partition: partition.0 as i32 })
    }

    fn lags() -> Lags {
        let mut lags = Lags::default();
        lags.assigned([given(P)].into_iter());
        lags
    }

    fn record(offset: i64, seconds_ago: i64) -> PolledRecord {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let handle = KafkaRecord::new(b"", None, b"", now - seconds_ago * 1000);
        Record { partition: P, epoch: Epoch(0), offset, route: 0, bytes: 1, handle }
    }

    fn told(lags: &mut Lags) -> Option<(u64, u64)> {
        let (seconds, topics) = lags.tell();
        assert_eq!(seconds.map(|seconds| seconds as u64), topics.first().map(|topic| topic.seconds));
        topics.first().map(|topic| (topic.seconds, topic.records))
    }

    #[test]
    fn it_is_absent_until_known_and_zero_at_the_end() {
        let mut lags = lags();
        assert_eq!(told(&mut lags), None);
        lags.found(&[(P, 7, 7)]);
        assert_eq!(told(&mut lags), Some((0, 0)));
    }

    #[test]
    fn the_oldest_record_that_is_not_written_has_the_age() {
        let mut lags = lags();
        lags.found(&[(P, 0, 4)]);
        lags.read(&[record(0, 40), record(1, 39)]);
        lags.read(&[record(2, 20), record(3, 19)]);
        assert_eq!(told(&mut lags), Some((40, 4)));
        lags.wrote([(P, 1)].into_iter());
        assert_eq!(told(&mut lags), Some((40, 3)), "of a run it is the first one's");
        lags.wrote([(P, 2)].into_iter());
        assert_eq!(told(&mut lags), Some((20, 2)));
        lags.wrote([(P, 4)].into_iter());
        assert_eq!(told(&mut lags), Some((0, 0)));
    }

    #[test]
    fn what_is_not_read_counts_and_ages_from_when_nothing_was_behind() {
        let mut lags = lags();
        lags.found(&[(P, 3, 3)]);
        assert_eq!(told(&mut lags), Some((0, 0)));
        lags.saw_ends(&[(P, 10)]);
        let before = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
        lags.partitions.get_mut(&P).unwrap().even = before;
        assert_eq!(told(&mut lags), Some((90, 7)));
        // With nobody to tell where the log ends, being at an old end is no sign of being up to date.
        lags.partitions.get_mut(&P).unwrap().end = Some((3, before));
        assert_eq!(told(&mut lags), Some((90, 0)));
    }

    #[test]
    fn what_is_read_anew_is_counted_once_and_what_is_lost_no_more() {
        let mut lags = lags();
        lags.found(&[(P, 0, 2)]);
        lags.read(&[record(0, 9), record(1, 9)]);
        lags.started(&[FetchStart { partition: P, epoch: Epoch(1), offset: StartOffset::At(1) }]);
        assert_eq!(told(&mut lags).map(|(_, records)| records), Some(1));
        lags.none_since = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
        lags.lost(&[P]);
        assert_eq!(told(&mut lags), None);
        assert!(lags.none_for() < Duration::from_secs(5));
        assert!(!lags.has_any());
    }

    #[test]
    fn joining_the_group_anew_makes_nobody_even() {
        let mut lags = lags();
        lags.assigned([given(Partition(1))].into_iter());
        lags.found(&[(P, 0, 2)]);
        lags.rejoin();
        assert_eq!(told(&mut lags), None);
        assert!(lags.has_any(), "its gauges stand until somebody has it");
        lags.assigned([given(P)].into_iter());
        assert_eq!(told(&mut lags), None);
        assert!(lags.has_any());
        assert!(lags.before.is_empty(), "partition 1 is somebody else's now");
    }
}
