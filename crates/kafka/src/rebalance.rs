use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use cdc_ports::Failure;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::client_errors::ClientErrors;

/// A member's client.
pub(crate) type GroupClient = BaseConsumer<GroupCallbacks>;

/// What the group wants of this member. librdkafka waits until it is answered by an assign or an unassign.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Take these, beside what is there.
    Assign(Vec<(String, i32)>),
    /// Give these back.
    Revoke {
        partitions: Vec<(String, i32)>,
        /// They belong to others already.
        lost: bool,
    },
}

/// Receives the group's callbacks. They run inside a poll, so they only leave a notice. The polling thread acts on it
/// when the poll is over, and goes on polling until a revocation is confirmed, so that events, errors and orders are
/// served meanwhile.
pub(crate) struct GroupCallbacks {
    errors: ClientErrors,
    notices: Mutex<VecDeque<Notice>>,
    leave_for: OnceLock<String>,
    closing: AtomicBool,
}

impl GroupCallbacks {
    pub(crate) fn new(errors: ClientErrors) -> Self {
        Self {
            errors,
            notices: Mutex::default(),
            leave_for: OnceLock::new(),
            closing: AtomicBool::new(false),
        }
    }

    /// The oldest notice that was not acted on yet.
    pub(crate) fn next_notice(&self) -> Option<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Has the member leave the group, for this reason: it joins anew as another client.
    pub(crate) fn leave_for(&self, reason: String) {
        // Once is enough: the first reason stands.
        let _ = self.leave_for.set(reason);
    }

    /// Why the member is to leave.
    pub(crate) fn reason_to_leave(&self) -> Option<&str> {
        self.leave_for.get().map(String::as_str)
    }

    /// The refusal behind a failure, if there was one.
    pub(crate) fn explain(&self, failed: Failure) -> Failure {
        self.errors.explain(failed)
    }

    /// From now on everything is given back on the spot: no poll follows after which a notice could be acted on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for GroupCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.errors.log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.errors.hear(&error, reason);
    }
}

impl ConsumerContext for GroupCallbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            // A closing client treats every answer as "nothing".
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "the partitions could not be given back while closing");
            }
            return;
        }
        let partitions =
            list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let notice = if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Notice::Assign(partitions)
        } else {
            Notice::Revoke { partitions, lost: consumer.assignment_lost() }
        };
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push_back(notice);
    }
}
