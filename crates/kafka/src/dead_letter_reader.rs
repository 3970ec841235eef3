//! Reads dead letters back, for people: without a group, and no further than the topics' ends were at the start.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cdc_machine::Fault;
use cdc_ports::{Failure, KafkaRecord};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_64;

use crate::arena::Arena;
use crate::classify::failure_from;
use crate::client_errors::ClientErrors;
use crate::config;
use crate::dead_letter::{ATTEMPTS, FALLS, FIRST, LAST, MESSAGE, SOURCE_OFFSET, SOURCE_PARTITION, SQLSTATE};
use crate::headers::HeadersIter;
use crate::marker::{BODY_OMITTED, ERROR_REASON, POSITION, SOURCE_TOPIC};
use crate::settings::ConnectionSettings;
use crate::topics::listed;

const OPERATION: &str = "dead_letters_read";
/// The longest that one answer of the brokers may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for the next record of a partition that has more.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The longest wait of one poll.
const POLL: Duration = Duration::from_millis(200);
/// Records that are handed out at once, at most.
const BATCH_RECORDS: usize = 256;
/// No more are added to those once they have so many bytes.
const BATCH_BYTES: usize = 8 << 20;

/// A dead letter, as it stands in its topic.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The record that fell, with the headers that say why.
    pub record: KafkaRecord,
}

impl DeadLetter {
    /// A header's value as text; nothing where there is none, or none that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = HeadersIter::new(self.record.headers());
        let value = headers.find(|(key, _)| *key == name)?.1?;
        std::str::from_utf8(value).ok()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.header(name)?.parse().ok()
    }

    /// Why it fell; nothing for a message that is no dead letter of this pipeline.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.header(ERROR_REASON)
    }

    /// Column, type and limit; never a value.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.header(MESSAGE)
    }

    /// What PostgreSQL answered, where it was asked.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.header(SQLSTATE)
    }

    /// How often it had been tried when it fell.
    #[must_use]
    pub fn attempts(&self) -> Option<u32> {
        self.number(ATTEMPTS)
    }

    /// How often it has fallen, this time included.
    #[must_use]
    pub fn falls(&self) -> u32 {
        self.number(FALLS).unwrap_or(1)
    }

    /// When it fell for the first time, RFC 3339.
    #[must_use]
    pub fn first_fell_at(&self) -> Option<&str> {
        self.header(FIRST)
    }

    /// When it fell for the last time, RFC 3339.
    #[must_use]
    pub fn fell_at(&self) -> Option<&str> {
        self.header(LAST)
    }

    /// The topic that it was read from, or was meant for.
    #[must_use]
    pub fn source_topic(&self) -> Option<&str> {
        self.header(SOURCE_TOPIC)
    }

    /// The partition that it was read from; nothing for one that never was in its topic.
    #[must_use]
    pub fn source_partition(&self) -> Option<i32> {
        self.number(SOURCE_PARTITION)
    }

    /// The offset that it was read at; nothing for one that never was in its topic.
    #[must_use]
    pub fn source_offset(&self) -> Option<i64> {
        self.number(SOURCE_OFFSET)
    }

    /// The position of the event, in hex.
    #[must_use]
    pub fn position(&self) -> Option<&str> {
        self.header(POSITION)
    }

    /// What the body was, where it is left out.
    #[must_use]
    pub fn omitted_body(&self) -> Option<&str> {
        self.header(BODY_OMITTED)
    }

    /// What stands for the key where documents must not be shown: XXH3-64, in 16 hex digits.
    #[must_use]
    pub fn key_hash(&self) -> String {
        format!("{:016x}", xxh3_64(self.record.key()))
    }

    /// Bytes of its body as it stands here.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.record.value().map_or(0, <[u8]>::len)
    }
}

/// Without a group there is no rebalance to tell of.
impl ConsumerContext for ClientErrors {}

/// Where reading a topic ends: partitions, each with the offset that its next record will get.
type Ends = BTreeMap<i32, i64>;

/// Hands out dead letters, one topic after the other, each partition in order. Calls block.
pub struct DeadLetterReader {
    consumer: BaseConsumer<ClientErrors>,
    errors: ClientErrors,
    arena: Arena,
    /// What was found at the start.
    found: Vec<(Arc<str>, Ends)>,
    /// Topics that are not read yet.
    left: VecDeque<(Arc<str>, Ends)>,
    /// The topic at hand, with the partitions of which more is to come.
    at_hand: Option<(Arc<str>, Ends)>,
    firsts: Vec<(Arc<str>, i32, i64)>,
}

impl DeadLetterReader {
    /// Finds these topics and their ends. Those that are not there hold nothing.
    ///
    /// # Errors
    /// Whatever the brokers say, classified.
    pub fn open(connection: &ConnectionSettings, topics: &[String]) -> Result<Self, Failure> {
        let mut reader = Self::new(connection)?;
        reader.found = reader.find_ends(topics).map_err(|failed| reader.errors.explain(failed))?;
        reader.left = reader.found.clone().into();
        Ok(reader)
    }

    fn new(connection: &ConnectionSettings) -> Result<Self, Failure> {
        let errors = ClientErrors::default();
        let consumer = config::dead_letter_reader(connection)
            .create_with_context(errors.clone())
            .map_err(|error| failure_from(OPERATION, "a reader of dead letters could not be made", &error))?;
        Ok(Self {
            consumer,
            errors,
            arena: Arena::default(),
            found: Vec::new(),
            left: VecDeque::new(),
            at_hand: None,
            firsts: Vec::new(),
        })
    }

    /// The letter at this place of one of the topics; nothing where there was none at the start. To be asked while no
    /// topic is being read: both have one client.
    ///
    /// # Errors
    /// Whatever the brokers say, classified; `Bug` in the midst of a topic.
    pub fn at(&mut self, topic: &str, partition: i32, offset: i64) -> Result<Option<DeadLetter>, Failure> {
        if self.at_hand.is_some() {
            let text = "a letter was asked for while its reader reads a topic, which is a bug";
            return Err(Failure::new(Fault::Bug, OPERATION, text));
        }
        let of_topic = self.found.iter().find(|(name, _)| **name == *topic);
        let Some((name, end)) =
            of_topic.and_then(|(name, ends)| Some((Arc::clone(name), *ends.get(&partition)?)))
        else {
            return Ok(None);
        };
        let firsts = &self.firsts;
        let first = firsts.iter().find(|(of, number, _)| **of == *topic && *number == partition);
        if offset >= end || first.is_none_or(|(_, _, first)| offset < *first) {
            return Ok(None);
        }
        self.begin(name, [(partition, offset + 1)].into(), Offset::Offset(offset))?;
        let read = self.read_on();
        // Whatever came of it, the next letter is another question.
        self.at_hand = None;
        Ok(read?.into_iter().find(|letter| letter.offset == offset))
    }

    /// The first offset that each partition still holds: what lies below is gone.
    #[must_use]
    pub fn first_offsets(&self) -> &[(Arc<str>, i32, i64)] {
        &self.firsts
    }

    /// The next letters; none at the end.
    ///
    /// # Errors
    /// Whatever the brokers say, classified; `Transient` where they fall silent.
    pub fn next_batch(&mut self) -> Result<Vec<DeadLetter>, Failure> {
        loop {
            if self.at_hand.is_none() {
                let Some((topic, ends)) = self.left.pop_front() else { return Ok(Vec::new()) };
                if ends.is_empty() {
                    continue;
                }
                self.begin(topic, ends, Offset::Beginning)?;
            }
            let letters = self.read_on()?;
            if !letters.is_empty() {
                return Ok(letters);
            }
        }
    }

    fn find_ends(&mut self, topics: &[String]) -> Result<Vec<(Arc<str>, Ends)>, Failure> {
        let listed = listed(self.consumer.client(), OPERATION, REQUEST_TIMEOUT)?;
        let mut found = Vec::new();
        for topic in topics {
            let Some(partitions) = listed.get(topic) else { continue };
            let name: Arc<str> = topic.as_str().into();
            let mut ends = Ends::new();
            for number in partitions.iter().copied() {
                let (first, end) =
                    self.consumer.fetch_watermarks(topic, number, REQUEST_TIMEOUT).map_err(|error| {
                        let what = format!("the ends of {topic}/{number} could not be read");
                        failure_from(OPERATION, &what, &error)
                    })?;
                self.firsts.push((Arc::clone(&name), number, first));
                if first < end {
                    ends.insert(number, end);
                }
            }
            found.push((name, ends));
        }
        Ok(found)
    }

    fn begin(&mut self, topic: Arc<str>, ends: Ends, from: Offset) -> Result<(), Failure> {
        let mut assignment = TopicPartitionList::new();
        let assigned = ends
            .keys()
            .try_for_each(|partition| assignment.add_partition_offset(&topic, *partition, from))
            .and_then(|()| self.consumer.assign(&assignment));
        assigned.map_err(|error| failure_from(OPERATION, &format!("{topic} could not be read"), &error))?;
        self.at_hand = Some((topic, ends));
        Ok(())
    }

    /// Reads on in the topic at hand, until there are enough letters or it is at its end.
    fn read_on(&mut self) -> Result<Vec<DeadLetter>, Failure> {
        let Some((topic, mut open)) = self.at_hand.take() else { return Ok(Vec::new()) };
        let mut letters = Vec::new();
        let mut bytes = 0;
        let mut heard = Instant::now();
        while !open.is_empty() {
            if letters.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                self.at_hand = Some((topic, open));
                return Ok(letters);
            }
            match self.consumer.poll(POLL) {
                None if heard.elapsed() > SILENCE_MAX => {
                    let text = format!(
                        "{topic} was not read to its end: the brokers said nothing for {SILENCE_MAX:?}; see whether \
                         those in kafka.brokers are up and reachable, then try again"
                    );
                    return Err(self.errors.explain(Failure::new(Fault::Transient, OPERATION, text)));
                }
                None => {}
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = open.get(&partition).copied().filter(|_| message.topic() == &*topic)
                    else {
                        continue;
                    };
                    if offset + 1 >= end {
                        open.remove(&partition);
                    }
                    if offset < end {
                        let record = self.arena.copy(&message);
                        bytes += record.key().len() + record.value().map_or(0, <[u8]>::len);
                        letters.push(DeadLetter { topic: Arc::clone(&topic), partition, offset, record });
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    open.remove(&partition);
                }
                // A broker that is away or being elected is asked again by the client itself, until it is too long.
                Some(Err(error)) => {
                    let failed = failure_from(OPERATION, &format!("{topic} could not be read"), &error);
                    if failed.fault != Fault::Transient {
                        return Err(failed);
                    }
                }
            }
        }
        Ok(letters)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;

    #[test]
    fn letters_are_found_one_by_one_in_any_order_and_then_all_of_them() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("dead", 2, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        for n in 0..6 {
            let value = n.to_string();
            producer.send(BaseRecord::to("dead").partition(n % 2).key("k").payload(&value)).unwrap();
        }
        producer.flush(REQUEST_TIMEOUT).unwrap();
        let connection = ConnectionSettings {
            brokers: vec![brokers],
            client_id: "test".to_owned(),
            ..ConnectionSettings::default()
        };
        let topics = ["dead", "gone"].map(ToOwned::to_owned);
        let mut reader = DeadLetterReader::open(&connection, &topics).unwrap();
        let mut value_at = |topic: &str, partition, offset| {
            let letter = reader.at(topic, partition, offset).unwrap()?;
            Some(String::from_utf8_lossy(letter.record.value()?).into_owned())
        };
        for (partition, offset, value) in [(1, 2, "5"), (0, 0, "0"), (1, 0, "1"), (0, 2, "4")] {
            assert_eq!(value_at("dead", partition, offset).as_deref(), Some(value));
        }
        for (topic, partition, offset) in [("dead", 0, 3), ("dead", 0, -1), ("dead", 2, 0), ("gone", 0, 0)] {
            assert_eq!(value_at(topic, partition, offset), None);
        }
        assert_eq!(reader.next_batch().unwrap().len(), 6);
        assert!(reader.next_batch().unwrap().is_empty());
    }
}
