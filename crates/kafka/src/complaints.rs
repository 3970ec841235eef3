use std::sync::{Arc, Mutex, PoisonError};

use cdc_executor::ports::Failure;
use cdc_machine::Fault;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::classify::{failure, fault_of};

/// What a client said of its own accord: librdkafka keeps knocking where a broker refuses the credentials,
/// so the call that waits only ever times out. The refusal heard here is the reason for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Complaints {
    refused: Arc<Mutex<Option<RDKafkaErrorCode>>>,
}

impl Complaints {
    /// Remembers a refusal; says what the error means.
    pub(crate) fn hear(&self, error: &KafkaError, reason: &str) -> Fault {
        let Some(code) = error.rdkafka_error_code() else { return Fault::Transient };
        let fault = fault_of(code);
        if fault == Fault::Auth {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
        }
        tracing::debug!(code = ?code, reason, "librdkafka reports an error");
        fault
    }

    /// The refusal behind a failure, if there was one; else the failure itself.
    pub(crate) fn explain(&self, failed: Failure) -> Failure {
        match *self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(code) if failed.fault == Fault::Transient => {
                failure(failed.operation, "the brokers turned this client away", code)
            }
            _ => failed,
        }
    }
}

/// librdkafka's own log lines, one level lower than it thinks: it calls a broker that is away an error, and
/// whoever waits for that broker reports the failure once, with what to do about it.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {line}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(facility, "librdkafka: {line}");
        }
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&error, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_explains_a_time_out_and_nothing_else() {
        let complaints = Complaints::default();
        let timed_out = || failure("kafka_join", "metadata", RDKafkaErrorCode::OperationTimedOut);
        assert_eq!(complaints.explain(timed_out()).fault, Fault::Transient);
        complaints.hear(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(complaints.explain(timed_out()).fault, Fault::Transient);
        complaints.hear(&KafkaError::Global(RDKafkaErrorCode::SaslAuthenticationFailed), "no");
        assert_eq!(complaints.explain(timed_out()).fault, Fault::Auth);
        let fatal = failure("kafka_join", "metadata", RDKafkaErrorCode::InvalidTopic);
        assert_eq!(complaints.explain(fatal).fault, Fault::Fatal);
    }
}
