use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use cdc_machine::{Fault, SeqNo};
use cdc_ports::{Acknowledged, Failure, ProducerReport, ReportSink};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

use crate::batches::BatchLimits;
use crate::classify::{failure, failure_from, fault_of};
use crate::client_errors::ClientErrors;
use crate::marker;

/// Marks the report of a marker. Slots are counted from 0 and never come near it.
const MARKER_BIT: usize = 1 << (usize::BITS - 1);
/// Marks the report of a sampled event.
const SAMPLED_BIT: usize = 1 << (usize::BITS - 2);

/// What a message is to its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// An event, in whose place a marker may stand.
    Event,
    /// The same, and it is sampled.
    Sampled,
    /// A marker or a control message: nothing can take its place.
    Irreplaceable,
}

const _: () = assert!(usize::BITS == 64, "a slot's number travels through librdkafka in one pointer");

/// What librdkafka carries with a message and gives back with its report: a number, so that nothing is
/// allocated.
#[expect(clippy::cast_possible_truncation, reason = "a usize has 64 bits, see the assertion above")]
pub(crate) const fn opaque(seq: SeqNo, carried: Carried) -> usize {
    let number = seq.0 as usize & !(MARKER_BIT | SAMPLED_BIT);
    match carried {
        Carried::Event => number,
        Carried::Sampled => number | SAMPLED_BIT,
        Carried::Irreplaceable => number | MARKER_BIT,
    }
}

const fn seq_of(opaque: usize) -> SeqNo {
    SeqNo((opaque & !(MARKER_BIT | SAMPLED_BIT)) as u64)
}

/// Receives one producer's reports, on librdkafka's polling thread.
pub(crate) struct DeliveryReports {
    sink: Arc<ReportSink>,
    errors: ClientErrors,
    /// Set once nothing more may be said: the producer died, or another took its place.
    retired: AtomicBool,
    batches: BatchLimits,
}

impl DeliveryReports {
    pub(crate) const fn new(sink: Arc<ReportSink>, errors: ClientErrors, batches: BatchLimits) -> Self {
        Self { sink, errors, retired: AtomicBool::new(false), batches }
    }

    /// Says nothing from now on. True the first time.
    pub(crate) fn retire(&self) -> bool {
        !self.retired.swap(true, Ordering::AcqRel)
    }

    /// The client is of no use any more: says so once, and nothing after it.
    pub(crate) fn lose(&self, failure: Failure) {
        if self.retire() {
            self.sink.push(ProducerReport::Lost(failure));
        }
    }

    /// What the client itself said of a failure, if anything.
    pub(crate) fn explain(&self, failed: Failure) -> Failure {
        self.errors.explain(failed)
    }

    fn failed(&self, error: &KafkaError, message: &BorrowedMessage<'_>, opaque: usize) -> ProducerReport {
        let seq = seq_of(opaque);
        let is_marker = opaque & MARKER_BIT != 0;
        let too_large = error.rdkafka_error_code().map(fault_of) == Some(Fault::TooLarge);
        let was_alone = self.batches.is_alone(message.key_len() + message.payload_len());
        if too_large && was_alone && !is_marker {
            return Self::too_large(seq, message);
        }
        let topic = message.topic();
        let what = if too_large && !was_alone {
            format!("a batch for {topic} was refused; its messages are read again, and each goes alone")
        } else {
            format!("a message for {topic} was not delivered")
        };
        let mut failure = failure_from("kafka_publish", &what, error);
        if too_large && was_alone {
            // A marker's key alone exceeds the dead letters' limit, or a control message its topic's: nothing
            // can take its place.
            failure.fault = Fault::Fatal;
        } else if error.rdkafka_error_code().is_some_and(is_topic_gone) {
            failure.fault = Fault::HistoryLost;
        }
        ProducerReport::Failed(seq, self.errors.explain(failure))
    }

    fn too_large(seq: SeqNo, message: &BorrowedMessage<'_>) -> ProducerReport {
        match marker::position_of(message) {
            Some(position) => ProducerReport::TooLarge(
                seq,
                marker::of(
                    Arc::from(message.topic()),
                    message.key().unwrap_or_default(),
                    message.payload().unwrap_or_default(),
                    position,
                ),
            ),
            None => ProducerReport::Failed(
                seq,
                Failure::new(
                    Fault::Bug,
                    "kafka_publish",
                    "librdkafka gave a message back without its cdc-position, which is a bug; please report it",
                ),
            ),
        }
    }
}

/// The topic was deleted, or has fewer partitions now: it is another one than was prepared.
pub(crate) const fn is_topic_gone(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
    )
}

impl ClientContext for DeliveryReports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.errors.log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.errors.hear(&error, reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            let what = format!("the producer gave up ({reason})");
            self.lose(failure("kafka_publish", &what, RDKafkaErrorCode::Fatal));
        }
    }
}

impl ProducerContext for DeliveryReports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        if self.retired.load(Ordering::Acquire) {
            return;
        }
        self.sink.push(match result {
            Ok(message) if opaque & SAMPLED_BIT != 0 => {
                let (partition, offset) = (message.partition(), message.offset());
                let acknowledged = Acknowledged { partition, offset, at: SystemTime::now() };
                ProducerReport::DeliveredSampled(seq_of(opaque), acknowledged)
            }
            Ok(_) => ProducerReport::Delivered(seq_of(opaque)),
            Err((error, message)) => self.failed(error, message, opaque),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slots_number_survives_the_pointer() {
        let all = [Carried::Event, Carried::Sampled, Carried::Irreplaceable];
        for number in [0, 1, u64::from(u32::MAX) + 7, (1 << 62) - 1] {
            let carried = all.map(|carried| opaque(SeqNo(number), carried));
            assert_eq!(carried.map(seq_of), [SeqNo(number); 3]);
            assert!(carried[0] != carried[1] && carried[1] != carried[2] && carried[0] != carried[2]);
        }
    }

    #[test]
    fn a_producer_is_lost_once_and_then_silent() {
        let sink = Arc::new(ReportSink::default());
        let reports = DeliveryReports::new(Arc::clone(&sink), ClientErrors::default(), BatchLimits::SINGLE);
        reports.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "all down");
        reports.error(KafkaError::Global(RDKafkaErrorCode::Fatal), "sequence");
        reports.error(KafkaError::Global(RDKafkaErrorCode::Fatal), "sequence");
        let mut taken = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        assert!(runtime.is_ok_and(|runtime| {
            runtime.block_on(sink.take(&mut taken));
            true
        }));
        assert!(
            matches!(taken.as_slice(), [ProducerReport::Lost(f)] if f.fault == Fault::Transient),
            "{taken:?}"
        );
    }
}
