use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cdc_machine::Fault;
use cdc_ports::{Failure, RejectedRecord};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::answered_producer::{Answer, AnsweredProducer, answered_producer};
use crate::classify::{failure_from, fault_of};
use crate::client_errors::ClientErrors;
use crate::headers::HeadersIter;
use crate::marker::{BODY_OMITTED, ERROR_REASON, SOURCE_TOPIC, describe_body};
use crate::settings::{ConsumerSettings, dead_letter_topic};
use crate::topics::{DEAD_LETTER_PARTITIONS, TopicAdmin, Wanted, await_topic, missing};

/// How long a dead letter may take to be durable.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long its topic may take to be ready.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(10);

/// The headers that this pipeline adds to a dead letter. A record that comes from the dead letters and falls
/// again brings two of them: the time of its first fall, and how often it has fallen.
const OURS: [&str; 11] = [
    ERROR_REASON,
    MESSAGE,
    SQLSTATE,
    ATTEMPTS,
    FIRST,
    LAST,
    FALLS,
    SOURCE_TOPIC,
    SOURCE_PARTITION,
    SOURCE_OFFSET,
    BODY_OMITTED,
];
pub(crate) const MESSAGE: &str = "cdc-error-message";
pub(crate) const SQLSTATE: &str = "cdc-error-sqlstate";
pub(crate) const ATTEMPTS: &str = "cdc-error-attempts";
pub(crate) const FIRST: &str = "cdc-error-first";
pub(crate) const LAST: &str = "cdc-error-last";
/// How often the record has fallen, this time included.
pub(crate) const FALLS: &str = "cdc-error-falls";
pub(crate) const SOURCE_PARTITION: &str = "cdc-source-partition";
pub(crate) const SOURCE_OFFSET: &str = "cdc-source-offset";

struct Open {
    client: AnsweredProducer,
    ready: HashSet<String>,
}

/// The Syncer's way into the dead letters. Its producer is made with the first of them.
pub(crate) struct DeadLetters {
    settings: Arc<ConsumerSettings>,
    open: tokio::sync::Mutex<Option<Open>>,
}

impl DeadLetters {
    pub(crate) fn new(settings: ConsumerSettings) -> Self {
        Self { settings: Arc::new(settings), open: tokio::sync::Mutex::new(None) }
    }

    /// Writes one record and waits until all in-sync replicas have it. Without its body where that does not
    /// fit beside the headers.
    ///
    /// # Errors
    /// Whatever the brokers say, classified. The producer is made anew at the next call.
    pub(crate) async fn put(&self, record: RejectedRecord) -> Result<(), Failure> {
        let topic = dead_letter_topic(&self.settings.dead_letter_topic, &record.origin.topic);
        let mut slot = self.open.lock().await;
        let opened = self.opened(slot.take(), topic.clone()).await?;
        let open = slot.insert(opened);
        let now = jiff::Timestamp::now().to_string();
        let mut written = send(&open.client, &topic, &record, &now, false).await;
        if matches!(&written, Err(error) if error.rdkafka_error_code().map(fault_of) == Some(Fault::TooLarge))
        {
            written = send(&open.client, &topic, &record, &now, true).await;
        }
        let Err(error) = written else { return Ok(()) };
        let what = format!(
            "{}/{} offset {} was not written to {topic}",
            record.origin.topic, record.origin.partition, record.offset
        );
        let failed = open.client.context().explain(failure_from("kafka_dead_letter", &what, &error));
        if let Some(broken) = slot.take() {
            tokio::task::spawn_blocking(move || drop(broken));
        }
        Err(failed)
    }

    /// A producer, and the topic that it is to write to.
    async fn opened(&self, open: Option<Open>, topic: String) -> Result<Open, Failure> {
        match open {
            Some(open) if open.ready.contains(&topic) => return Ok(open),
            _ => {}
        }
        let settings = Arc::clone(&self.settings);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut open = match open {
                Some(open) => open,
                None => make(&settings)?,
            };
            prepare_topic(&settings, &open, &topic, runtime)
                .map_err(|failed| open.client.context().explain(failed))?;
            open.ready.insert(topic);
            Ok(open)
        })
        .await
        .map_err(|panic| {
            Failure::new(
                Fault::Bug,
                "kafka_dead_letter",
                "the dead letters' preparation panicked, which is a bug",
            )
            .because(panic)
        })?
    }
}

impl Drop for DeadLetters {
    /// Closing blocks for up to half a second, which a runtime's thread must not.
    fn drop(&mut self) {
        if let Some(open) = self.open.get_mut().take() {
            std::thread::spawn(move || drop(open));
        }
    }
}

fn make(settings: &ConsumerSettings) -> Result<Open, Failure> {
    let client = answered_producer(&settings.connection, DELIVERY_TIMEOUT, "kafka_dead_letter")?;
    Ok(Open { client, ready: HashSet::new() })
}

fn prepare_topic(
    settings: &ConsumerSettings,
    open: &Open,
    topic: &str,
    runtime: tokio::runtime::Handle,
) -> Result<(), Failure> {
    let wanted = Wanted {
        name: topic.to_owned(),
        partitions: DEAD_LETTER_PARTITIONS,
        replication_factor: settings.replication_factor,
    };
    let missing = missing(open.client.client(), vec![wanted])?;
    let errors = ClientErrors::clone(open.client.context());
    TopicAdmin::new(&settings.connection, errors, runtime)?.create(&missing)?;
    await_topic(open.client.client(), topic, Instant::now() + TOPIC_TIMEOUT).map(|_| ())
}

async fn send(
    client: &AnsweredProducer,
    topic: &str,
    record: &RejectedRecord,
    now: &str,
    omit_body: bool,
) -> Result<(), KafkaError> {
    let report = {
        let (sender, report) = tokio::sync::oneshot::channel();
        let answer: Answer = Box::new(move |result| {
            if sender.send(result.map(drop)).is_err() {
                tracing::debug!("a dead letter's report came after its deadline");
            }
        });
        let mut message = BaseRecord::with_opaque_to(topic, Box::new(answer))
            .key(record.record.key())
            .headers(headers(record, now, omit_body));
        if omit_body {
            message = message.payload(&[][..]);
        } else if let Some(value) = record.record.value() {
            message = message.payload(value);
        }
        client.send(message).map_err(|(error, _)| error)?;
        report
    };
    // librdkafka reports each message within its delivery time-out; a client that died reports none.
    match tokio::time::timeout(DELIVERY_TIMEOUT + TOPIC_TIMEOUT, report).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)),
    }
}

fn headers(record: &RejectedRecord, now: &str, omit_body: bool) -> OwnedHeaders {
    let Carried { mut headers, first, falls } = carried(record.record.headers());
    let body = record.record.value().unwrap_or_default();
    let numbers = [
        (ATTEMPTS, i64::from(record.attempts)),
        (FALLS, i64::from(falls) + 1),
        (SOURCE_PARTITION, i64::from(record.origin.partition)),
        (SOURCE_OFFSET, record.offset),
    ];
    headers = headers
        .insert(Header { key: ERROR_REASON, value: Some(record.reason.as_str()) })
        .insert(Header { key: MESSAGE, value: Some(&*record.detail) })
        .insert(Header { key: FIRST, value: Some(first.unwrap_or(now.as_bytes())) })
        .insert(Header { key: LAST, value: Some(now) })
        .insert(Header { key: SOURCE_TOPIC, value: Some(&*record.origin.topic) });
    for (key, number) in numbers {
        headers = headers.insert(Header { key, value: Some(&number.to_string()) });
    }
    if let Some(code) = &record.sqlstate {
        headers = headers.insert(Header { key: SQLSTATE, value: Some(code.as_str()) });
    }
    if omit_body {
        headers = headers.insert(Header { key: BODY_OMITTED, value: Some(&describe_body(body)) });
    }
    headers
}

/// What a record brings along.
struct Carried<'a> {
    /// Its own headers.
    headers: OwnedHeaders,
    /// When it fell for the first time, where it ever has.
    first: Option<&'a [u8]>,
    /// How often it has fallen so far.
    falls: u32,
}

fn carried(all: &[u8]) -> Carried<'_> {
    let mut carried =
        Carried { headers: OwnedHeaders::new_with_capacity(OURS.len() + 3), first: None, falls: 0 };
    for (key, value) in HeadersIter::new(all) {
        match key {
            FIRST => {
                carried.first = value;
                carried.falls = carried.falls.max(1);
            }
            FALLS => carried.falls = number(value).unwrap_or(1),
            _ if OURS.contains(&key) => {}
            _ => carried.headers = carried.headers.insert(Header { key, value }),
        }
    }
    carried
}

fn number(value: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(value?).ok()?.parse().ok()
}

/// The headers of a dead letter's record on its way back: its own, when it fell for the first time, and how often it
/// has fallen.
pub(crate) fn replayed(dead: &[u8]) -> OwnedHeaders {
    let Carried { headers, first, falls } = carried(dead);
    let Some(first) = first else { return headers };
    headers
        .insert(Header { key: FIRST, value: Some(first) })
        .insert(Header { key: FALLS, value: Some(&falls.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use cdc_ports::{KafkaRecord, TopicPartition};
    use cdc_syncer::{Reject, SqlState};
    use rdkafka::message::Headers as _;

    fn rejected(original: &[(&str, &[u8])]) -> RejectedRecord {
        let mut buffer = BytesMut::new();
        for (name, value) in original {
            crate::headers::put(&mut buffer, name, Some(value));
        }
        RejectedRecord {
            origin: TopicPartition { topic: Arc::from("t"), partition: 3 },
            offset: 17,
            record: KafkaRecord::new(b"k", Some(b"body"), &buffer, 0),
            reason: Reject::TypeConflict,
            sqlstate: None,
            detail: Arc::from("column level: string into integer"),
            attempts: 2,
        }
    }

    fn listed(headers: &OwnedHeaders) -> Vec<(String, String)> {
        headers
            .iter()
            .map(|h| (h.key.to_owned(), String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned()))
            .collect()
    }

    #[test]
    fn a_dead_letter_says_what_why_and_where() {
        let record = RejectedRecord {
            sqlstate: SqlState::new("22003"),
            ..rejected(&[("cdc-position", b"00ff"), ("cdc-version", b"1")])
        };
        let written = listed(&headers(&record, "2026-01-01T00:00:00Z", false));
        let expected = [
            ("cdc-position", "00ff"),
            ("cdc-version", "1"),
            ("cdc-error-reason", "type_conflict"),
            ("cdc-error-message", "column level: string into integer"),
            ("cdc-error-first", "2026-01-01T00:00:00Z"),
            ("cdc-error-last", "2026-01-01T00:00:00Z"),
            ("cdc-source-topic", "t"),
            ("cdc-error-attempts", "2"),
            ("cdc-error-falls", "1"),
            ("cdc-source-partition", "3"),
            ("cdc-source-offset", "17"),
            ("cdc-error-sqlstate", "22003"),
        ];
        assert_eq!(written, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_record_that_falls_again_keeps_the_time_of_its_first_fall() {
        let record = rejected(&[
            ("cdc-error-first", b"2025-01-01T00:00:00Z"),
            ("cdc-error-reason", b"malformed"),
            ("cdc-error-sqlstate", b"23514"),
        ]);
        let written = listed(&headers(&record, "2026-01-01T00:00:00Z", true));
        let values = |name: &str| -> Vec<&str> {
            written.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
        };
        assert_eq!(values("cdc-error-first"), ["2025-01-01T00:00:00Z"]);
        assert_eq!(values("cdc-error-last"), ["2026-01-01T00:00:00Z"]);
        assert_eq!(values("cdc-error-reason"), ["type_conflict"]);
        assert_eq!(values("cdc-error-sqlstate"), [""; 0], "PostgreSQL was not asked this time");
        assert_eq!(values("cdc-body-omitted"), [describe_body(b"body").as_str()]);
        assert_eq!(values("cdc-error-falls"), ["2"], "the release before did not count");
    }

    #[test]
    fn a_replayed_record_has_its_own_headers_and_what_its_next_fall_must_know() {
        let fallen = listed(&headers(&rejected(&[("cdc-position", b"00ff")]), "2025-01-01T00:00:00Z", false));
        let fallen: Vec<_> = fallen.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let replayed = listed(&replayed(rejected(&fallen).record.headers()));
        let expected =
            [("cdc-position", "00ff"), ("cdc-error-first", "2025-01-01T00:00:00Z"), ("cdc-error-falls", "1")];
        assert_eq!(replayed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let replayed: Vec<_> =
            replayed.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let again = listed(&headers(&rejected(&replayed), "2026-01-01T00:00:00Z", false));
        for kept in [("cdc-error-first", "2025-01-01T00:00:00Z"), ("cdc-error-falls", "2")] {
            assert!(again.contains(&(kept.0.to_owned(), kept.1.to_owned())), "{kept:?} in {again:?}");
        }
    }
}
