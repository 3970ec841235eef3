use cdc_machine::Fault;
use cdc_ports::Failure;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Who we are or what we may do was refused.
const AUTH: [Code; 11] = [
    Code::Authentication,
    Code::SaslAuthenticationFailed,
    Code::UnsupportedSASLMechanism,
    Code::IllegalSASLState,
    Code::SecurityDisabled,
    Code::TopicAuthorizationFailed,
    Code::GroupAuthorizationFailed,
    Code::ClusterAuthorizationFailed,
    Code::TransactionalIdAuthorizationFailed,
    Code::DelegationTokenAuthorizationFailed,
    Code::DelegationTokenExpired,
];

/// The partition, or the place in the group, is somebody else's now or is about to be.
const FENCED: [Code; 9] = [
    Code::IllegalGeneration,
    Code::UnknownMemberId,
    Code::RebalanceInProgress,
    Code::FencedInstanceId,
    Code::AssignmentLost,
    Code::Fenced,
    Code::ProducerFenced,
    Code::FencedMemberEpoch,
    Code::StaleMemberEpoch,
];

/// The message is larger than the client, the topic or the broker allows.
const TOO_LARGE: [Code; 2] = [Code::MessageSizeTooLarge, Code::MessageBatchTooLarge];

/// The offset is no longer, or not yet, in the log; or the log lost its end and is another one from there.
const HISTORY_LOST: [Code; 3] = [Code::OffsetOutOfRange, Code::AutoOffsetReset, Code::LogTruncation];

/// The cluster is not, or not yet, what the configuration asks for: so few brokers.
const UNFIT: [Code; 1] = [Code::InvalidReplicationFactor];

/// The request or the configuration is wrong and stays wrong.
const FATAL: [Code; 20] = [
    Code::InvalidArgument,
    Code::UnsupportedFeature,
    Code::NotImplemented,
    Code::NotConfigured,
    Code::UnknownProtocol,
    Code::InvalidTopic,
    Code::InvalidRequiredAcks,
    Code::InconsistentGroupProtocol,
    Code::InvalidGroupId,
    Code::InvalidSessionTimeout,
    Code::InvalidCommitOffsetSize,
    Code::OffsetMetadataTooLarge,
    Code::UnsupportedVersion,
    Code::UnsupportedForMessageFormat,
    Code::UnsupportedCompressionType,
    Code::InvalidPartitions,
    Code::InvalidReplicaAssignment,
    Code::InvalidConfig,
    Code::InvalidRequest,
    Code::PolicyViolation,
];

/// What a librdkafka error code means to a machine.
///
/// A code that stands in no table is `Transient`: its retries are bounded, so a wrong guess costs a minute
/// and not an event. The codes are those of librdkafka's `rd_kafka_resp_err_t`; a fatal client error is
/// among the transient ones because a new client mends it.
#[must_use]
pub fn fault_of(code: Code) -> Fault {
    if AUTH.contains(&code) {
        Fault::Auth
    } else if FENCED.contains(&code) {
        Fault::Fenced
    } else if TOO_LARGE.contains(&code) {
        Fault::TooLarge
    } else if HISTORY_LOST.contains(&code) {
        Fault::HistoryLost
    } else if UNFIT.contains(&code) {
        Fault::Unfit
    } else if FATAL.contains(&code) {
        Fault::Fatal
    } else {
        Fault::Transient
    }
}

/// What a person can do about a fault.
const fn advice(fault: Fault) -> &'static str {
    match fault {
        Fault::Transient | Fault::Unreachable | Fault::RetryNow => {
            "it is tried again; if it stays so, see whether the brokers in kafka.brokers are up and reachable"
        }
        Fault::Auth => "check kafka.security and what the brokers' ACLs allow this user",
        Fault::Fenced => "another member of the consumer group has taken over; nothing is lost",
        Fault::TooLarge => "raise the topic's max.message.bytes, or let on_too_large say what becomes of it",
        Fault::HistoryLost => {
            "the log no longer holds that offset; kafka.offset_reset says where to go on, and the topic's \
             retention should be longer than any outage"
        }
        Fault::Unfit => {
            "it is tried again; correct kafka.replication_factor, or start the brokers that are missing"
        }
        Fault::Fatal | Fault::Bug | Fault::Blocked | Fault::Poison => {
            "correct the kafka section of the configuration or the topic's settings"
        }
    }
}

/// A failure with this code: `what` says what was tried, and on what.
pub(crate) fn failure(operation: &'static str, what: &str, code: Code) -> Failure {
    let fault = fault_of(code);
    Failure::new(fault, operation, format!("{what}: {code}; {}", advice(fault)))
}

/// A failure out of one of librdkafka's errors.
pub(crate) fn failure_from(operation: &'static str, what: &str, error: &KafkaError) -> Failure {
    // librdkafka quotes the value, which may be a password.
    if let KafkaError::ClientConfig(_, _, property, _) = error {
        let message = format!(
            "{what}: librdkafka does not accept the value of the property {property}; correct it in kafka.properties"
        );
        return Failure::new(Fault::Fatal, operation, message);
    }
    if let KafkaError::ClientCreation(reason) = error {
        let message =
            format!("{what}: librdkafka refused the configuration: {reason}; correct the kafka section");
        return Failure::new(Fault::Fatal, operation, message);
    }
    match error.rdkafka_error_code() {
        Some(code) => failure(operation, what, code),
        None => Failure::new(Fault::Transient, operation, format!("{what}; {}", advice(Fault::Transient)))
            .because(error.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn every_row_of_every_table() {
        let rows: [(&[Code], Fault); 6] = [
            (&AUTH, Fault::Auth),
            (&FENCED, Fault::Fenced),
            (&TOO_LARGE, Fault::TooLarge),
            (&HISTORY_LOST, Fault::HistoryLost),
            (&UNFIT, Fault::Unfit),
            (&FATAL, Fault::Fatal),
        ];
        for (codes, fault) in rows {
            for code in codes {
                assert_eq!(fault_of(*code), fault, "{code:?}");
            }
        }
        let mut all: Vec<Code> = rows.iter().flat_map(|(codes, _)| codes.iter().copied()).collect();
        let listed = all.len();
        all.sort_by_key(|code| *code as i32);
        all.dedup();
        assert_eq!(all.len(), listed, "a code stands in two tables");
    }

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn what_time_mends_is_transient() {
        for code in [
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::Resolve,
            Code::MessageTimedOut,
            Code::OperationTimedOut,
            Code::RequestTimedOut,
            Code::QueueFull,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::NotLeaderForPartition,
            Code::LeaderNotAvailable,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::CoordinatorNotAvailable,
            Code::CoordinatorLoadInProgress,
            Code::NotCoordinator,
            Code::KafkaStorageError,
            Code::UnknownTopicOrPartition,
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::UnknownTopicId,
            Code::ReplicaNotAvailable,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::OffsetNotAvailable,
            Code::UnstableOffsetCommit,
            Code::GroupIdNotFound,
            Code::UnreleasedInstanceId,
            Code::ThrottlingQuotaExceeded,
            // A new producer mends these.
            Code::OutOfOrderSequenceNumber,
            Code::UnknownProducerId,
            Code::InvalidProducerEpoch,
            Code::InvalidProducerIdMapping,
            Code::Fatal,
        ] {
            assert_eq!(fault_of(code), Fault::Transient, "{code:?}");
        }
    }

    #[test]
    fn a_rejected_property_is_named_without_its_value() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("linger.ms", "hunter2");
        let Err(error) = config.create::<rdkafka::producer::BaseProducer>() else {
            panic!("librdkafka took a word for a number");
        };
        let failure = failure_from("kafka_prepare", "a producer", &error);
        assert_eq!(failure.fault, Fault::Fatal);
        let text = failure.to_string();
        assert!(text.contains("linger.ms") && !text.contains("hunter2"), "{text}");
    }
}
