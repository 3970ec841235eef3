//! Producers of a few records, each with an answer of its own.

use std::time::Duration;

use cdc_ports::Failure;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{ProducerContext, ThreadedProducer};

use crate::classify::failure_from;
use crate::client_errors::ClientErrors;
use crate::config;
use crate::settings::ConnectionSettings;

/// Takes a record's report: its offset, or why it was not delivered. Records of this kind are rare, so each may have an
/// allocation of its own.
pub(crate) type Answer = Box<dyn FnOnce(Result<i64, KafkaError>) + Send + Sync>;

/// Its context has the errors that the brokers report.
pub(crate) type AnsweredProducer = ThreadedProducer<ClientErrors>;

impl ProducerContext for ClientErrors {
    /// Boxed once more, since a pointer to a function of any kind is too wide for librdkafka.
    type DeliveryOpaque = Box<Answer>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Box<Answer>) {
        (*answer)(match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        });
    }
}

/// # Errors
/// `Fatal` where librdkafka refuses the configuration.
pub(crate) fn answered_producer(
    connection: &ConnectionSettings,
    delivery_timeout: Duration,
    operation: &'static str,
) -> Result<AnsweredProducer, Failure> {
    config::dead_letter_producer(connection, delivery_timeout)
        .create_with_context(ClientErrors::default())
        .map_err(|error| failure_from(operation, "a producer could not be made", &error))
}
