use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cdc_machine::Fault;
use cdc_ports::Failure;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use tokio::sync::watch;

use crate::classify::{failure, fault_of};

/// How long a refusal, or a name that did not resolve, explains failures: one of hours ago is not why a message is late
/// now. librdkafka says the same again twice as often.
const HEARD_FOR: Duration = Duration::from_secs(60);

/// How long a call goes on once a name has not resolved: where another broker can be reached it succeeds within that.
const UNRESOLVED_GRACE: Duration = Duration::from_secs(5);

/// The errors that a client reports beside its calls. librdkafka tries again without an end where a broker refuses the
/// credentials or its name does not resolve; the call that waits only times out. The reason is here.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientErrors {
    refused: Arc<Mutex<Option<(Instant, RDKafkaErrorCode)>>>,
    unresolved: watch::Sender<Option<Unresolved>>,
}

/// A broker's address that did not resolve, as librdkafka tells of it.
#[derive(Clone, Debug)]
struct Unresolved {
    at: Instant,
    address: Arc<str>,
    /// By a broker; else it stands in `kafka.brokers`.
    is_announced: bool,
}

impl Unresolved {
    /// Out of a line such as `no-such-host:9092/1: Failed to resolve 'no-such-host:9092': Name or service not known`.
    fn of(line: &str) -> Option<Self> {
        let (before, after) = line.split_once("Failed to resolve '")?;
        let (address, _) = after.split_once('\'')?;
        let is_announced = !before.trim_end_matches([':', ' ']).ends_with("/bootstrap");
        Some(Self { at: Instant::now(), address: Arc::from(address), is_announced })
    }

    fn words(&self) -> String {
        let address = &self.address;
        if self.is_announced {
            format!(
                "the broker announced {address} as its address, and that name does not resolve here: correct \
                 advertised.listeners at the broker, or make the name known to this machine"
            )
        } else {
            format!(
                "{address} in kafka.brokers does not resolve: correct it, or make the name known to this machine"
            )
        }
    }
}

impl ClientErrors {
    /// Remembers a refusal.
    pub(crate) fn hear(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if fault_of(code) == Fault::Auth {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), code));
        }
        tracing::debug!(code = ?code, reason, "librdkafka reports an error");
    }

    /// Remembers a name that did not resolve.
    fn hear_line(&self, line: &str) {
        if let Some(unresolved) = Unresolved::of(line) {
            self.unresolved.send_replace(Some(unresolved));
        }
    }

    /// The failure, explained by a refusal or by a name that did not resolve, if there was one.
    pub(crate) fn explain(&self, mut failed: Failure) -> Failure {
        if failed.fault != Fault::Transient {
            return failed;
        }
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, code)) = refused.filter(|(at, _)| at.elapsed() < HEARD_FOR) {
            return failure(failed.operation, "the brokers turned this client away", code);
        }
        let unresolved = self.unresolved.borrow();
        if let Some(unresolved) = unresolved.as_ref().filter(|it| it.at.elapsed() < HEARD_FOR) {
            failed.message = format!("{}. What failed: {}", unresolved.words(), failed.message);
        }
        failed
    }

    /// Waits until a name has not resolved, and then for [`UNRESOLVED_GRACE`]: nothing comes of waiting longer.
    pub(crate) async fn until_unresolved(&self) {
        // The sender is our own, so the wait ends with a name or not at all.
        let _ = self.unresolved.subscribe().wait_for(Option::is_some).await;
        tokio::time::sleep(UNRESOLVED_GRACE).await;
    }

    /// Logs a line of the client's log. Remembers it where it tells why no broker answers.
    pub(crate) fn log_line(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.hear_line(line);
        log_line(level, facility, line);
    }
}

/// librdkafka's own log lines, one level lower than it thinks: it calls a broker that is away an error, and
/// whoever waits for that broker reports the failure once, with what to do about it.
fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
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

impl ClientContext for ClientErrors {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log_line(level, facility, line);
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
        let errors = ClientErrors::default();
        let timed_out = || failure("kafka_join", "metadata", RDKafkaErrorCode::OperationTimedOut);
        assert_eq!(errors.explain(timed_out()).fault, Fault::Transient);
        errors.hear(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(errors.explain(timed_out()).fault, Fault::Transient);
        errors.hear(&KafkaError::Global(RDKafkaErrorCode::SaslAuthenticationFailed), "no");
        assert_eq!(errors.explain(timed_out()).fault, Fault::Auth);
        let fatal = failure("kafka_join", "metadata", RDKafkaErrorCode::InvalidTopic);
        assert_eq!(errors.explain(fatal).fault, Fault::Fatal);
    }

    #[test]
    fn a_refusal_of_long_ago_explains_nothing() {
        let errors = ClientErrors::default();
        let long_ago = Instant::now().checked_sub(HEARD_FOR).unwrap();
        *errors.refused.lock().unwrap() = Some((long_ago, RDKafkaErrorCode::SaslAuthenticationFailed));
        let timed_out = failure("kafka_publish", "a message", RDKafkaErrorCode::MessageTimedOut);
        assert_eq!(errors.explain(timed_out).fault, Fault::Transient);
    }

    #[test]
    fn a_name_that_does_not_resolve_explains_a_time_out() {
        let errors = ClientErrors::default();
        let timed_out = || failure("kafka_join", "metadata", RDKafkaErrorCode::OperationTimedOut);
        errors.hear_line("[thrd:app]: no-such-host:9092/1: Disconnected");
        assert!(!errors.explain(timed_out()).message.contains("no-such-host"));
        errors.hear_line(
            "[thrd:no-such-host:9092/1]: no-such-host:9092/1: Failed to resolve 'no-such-host:9092': Name or service \
             not known (after 3ms in state CONNECT)",
        );
        let failed = errors.explain(timed_out());
        assert!(failed.message.starts_with("the broker announced no-such-host:9092"), "{failed}");
        assert!(failed.message.contains("metadata"), "{failed}");
        errors.hear_line("b:1/bootstrap: Failed to resolve 'b:1': Name or service not known");
        let failed = errors.explain(timed_out());
        assert!(failed.message.starts_with("b:1 in kafka.brokers does not resolve"), "{failed}");
        let fatal = failure("kafka_join", "metadata", RDKafkaErrorCode::InvalidTopic);
        assert!(!errors.explain(fatal).message.contains("b:1"));
    }
}
