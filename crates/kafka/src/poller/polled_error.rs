use cdc_machine::Fault;
use cdc_ports::Failure;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::classify::{failure, fault_of};

/// What a polled error means: `Some` where the consumer cannot go on. What librdkafka retries by itself, and
/// a topic that does not exist yet, is `None`.
pub(super) fn failure_of(error: &KafkaError) -> Option<Failure> {
    let code = error.rdkafka_error_code()?;
    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_)) || code == RDKafkaErrorCode::Fatal;
    let fault = fault_of(code);
    if matches!(fault, Fault::Auth | Fault::HistoryLost | Fault::Fatal) {
        return Some(failure("kafka_poll", "the consumer cannot go on", code));
    }
    if code == RDKafkaErrorCode::FencedInstanceId {
        let what =
            "another process has joined the consumer group under this instance name; give each its own";
        return Some(failure("kafka_poll", what, code));
    }
    if fatal {
        let message = format!("librdkafka gave this consumer up: {code}; it is made anew");
        return Some(Failure::new(Fault::Transient, "kafka_poll", message));
    }
    tracing::debug!(%error, "librdkafka retries by itself");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_retry_mends_ends_a_consumer() {
        use RDKafkaErrorCode as Code;
        let fault = |error: KafkaError| failure_of(&error).map(|failed| failed.fault);
        for code in [
            Code::AllBrokersDown,
            Code::BrokerTransportFailure,
            Code::UnknownTopicOrPartition,
            Code::PollExceeded,
            Code::IllegalGeneration,
            Code::NotLeaderForPartition,
        ] {
            assert_eq!(fault(KafkaError::MessageConsumption(code)), None, "{code:?}");
        }
        assert_eq!(fault(KafkaError::MessageConsumption(Code::AutoOffsetReset)), Some(Fault::HistoryLost));
        assert_eq!(fault(KafkaError::MessageConsumption(Code::GroupAuthorizationFailed)), Some(Fault::Auth));
        assert_eq!(
            fault(KafkaError::MessageConsumption(Code::InconsistentGroupProtocol)),
            Some(Fault::Fatal)
        );
        assert_eq!(fault(KafkaError::MessageConsumptionFatal(Code::FencedInstanceId)), Some(Fault::Fenced));
        assert_eq!(fault(KafkaError::MessageConsumptionFatal(Code::UnknownMemberId)), Some(Fault::Transient));
    }
}
