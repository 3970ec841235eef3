//! What comes in, from the consumer and from requests, on its way to the machine: who has given a sign of life, what
//! is logged, and the input that it becomes.

use std::ops::ControlFlow;
use std::time::Duration;

use cdc_machine::{Cause, Dependency, EffectId, Fault, TimerId};
use cdc_syncer::{Batch, OffsetGap, Partition, TimerKind, WorkerId};

use super::accounts::DEAD_LETTERED;
use super::{Driver, Hands, Input, SERVICE};
use crate::given_up::GivenUp;
use crate::report;
use cdc_ports::{
    ConsumerEvent, Database, Failure, KafkaRecord, LedgerCheck, LedgerCommit, MissingTopic, RecordConsumer,
    RetryReply, WriteReply,
};

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Reply {
    Database(Input),
    DatabaseFailed(Input, Failure),
    Broker(Input),
    BrokerFailed(Input, Failure),
    Moved {
        id: EffectId,
        gaps: Vec<OffsetGap>,
        refused: Vec<Partition>,
    },
    Checked {
        id: EffectId,
        check: LedgerCheck,
    },
    /// A sign of life, or none.
    Probed(Dependency, Result<(), Failure>),
    /// The offsets are recorded and committed.
    Committed {
        id: EffectId,
        records: Vec<LedgerCommit>,
    },
    /// Partitions were taken, and are found at these offsets before these ends.
    Acquired {
        input: Input,
        places: Vec<(Partition, i64, i64)>,
    },
    /// Where logs end, and the topics that are missing where that was asked and answered.
    Looked {
        ends: Vec<(Partition, i64)>,
        missing: Option<Vec<MissingTopic>>,
    },
    /// A record is in the dead letters.
    PutAside {
        id: EffectId,
        given_up: GivenUp,
    },
    /// The logs' ends were looked at.
    EndsSeen,
    /// PostgreSQL was asked, and says how many gaps are open.
    GapsCounted(Result<u64, Failure>),
    Batch {
        worker: WorkerId,
        id: EffectId,
        batch: Batch<KafkaRecord>,
        oldest_ms: Option<i64>,
        took: Duration,
        reply: WriteReply,
    },
    Parked {
        worker: WorkerId,
        id: EffectId,
        took: Duration,
        reply: RetryReply,
    },
}

impl<C: RecordConsumer, D: Database> Driver<C, D> {
    pub(super) fn on_event(&mut self, event: ConsumerEvent) -> ControlFlow<Cause> {
        match &event {
            ConsumerEvent::Records(_) | ConsumerEvent::Assigned(_) => self.hands.kafka.answered(),
            ConsumerEvent::Failed(failure) => {
                let attempt = self.machine.kafka_attempt(&self.config);
                self.hands.kafka.failed(failure, Some(attempt.into()));
            }
            // The client says these of its own accord, too.
            ConsumerEvent::Revoking(..) | ConsumerEvent::Lost(_) => {}
        }
        match event {
            ConsumerEvent::Assigned(partitions) => {
                let given = partitions.iter().map(|it| (*it, self.hands.consumer.name(*it)));
                self.hands.lags.assigned(given);
                let partitions = partitions.into_iter().map(|it| (it, self.hands.topic_of(it))).collect();
                self.feed(Input::Assigned { partitions })
            }
            ConsumerEvent::Revoking(id, partitions) => {
                self.hands.revoking.push((id, partitions.clone()));
                self.feed(Input::Revoking { id, partitions })
            }
            ConsumerEvent::Lost(partitions) => {
                self.hands.lags.lost(&partitions);
                self.feed(Input::Lost { partitions })
            }
            ConsumerEvent::Records(records) => {
                self.hands.lags.read(&records);
                self.hands.metrics.consumed.increment(records.len() as u64);
                self.feed(Input::Records { records })
            }
            ConsumerEvent::Failed(failure) => {
                self.log(&failure, self.machine.kafka_attempt(&self.config));
                self.feed(Input::ConsumerFailed { fault: failure.fault })
            }
        }
    }

    pub(super) fn on_timer(&mut self, timer: TimerId<TimerKind>) -> ControlFlow<Cause> {
        if timer.kind == TimerKind::Revocation {
            let partitions: usize = self.hands.revoking.iter().map(|(_, partitions)| partitions.len()).sum();
            tracing::warn!(
                service = SERVICE,
                operation = "revocation",
                partitions,
                "partitions were taken back before their rows were written; another member writes them again"
            );
        }
        self.feed(Input::Timer(timer))
    }

    pub(super) fn on_reply(&mut self, reply: Reply) -> ControlFlow<Cause> {
        match reply {
            Reply::Database(input) => {
                self.hands.answered(&input);
                self.hands.postgres.answered();
                self.feed(input)
            }
            Reply::Broker(input) => {
                self.hands.answered(&input);
                self.hands.kafka.answered();
                self.feed(input)
            }
            Reply::Committed { id, records } => {
                let input = Input::Committed { id };
                self.hands.answered(&input);
                self.hands.kafka.answered();
                // The ledger before it.
                self.hands.postgres.answered();
                self.hands.ends.committed(&records);
                self.feed(input)?;
                self.look_at_ends();
                ControlFlow::Continue(())
            }
            Reply::Acquired { input, places } => {
                self.hands.answered(&input);
                self.hands.postgres.answered();
                self.hands.lags.found(&places);
                self.feed(input)
            }
            Reply::Looked { ends, missing } => {
                self.hands.lags.saw_ends(&ends);
                self.hands.missing.looked(missing);
                ControlFlow::Continue(())
            }
            Reply::PutAside { id, given_up } => {
                self.hands.kafka.answered();
                self.hands.gave_up(&given_up, "dead_letter", DEAD_LETTERED);
                self.feed(Input::DeadLettered { id })
            }
            Reply::EndsSeen => {
                self.hands.ends.is_looking = false;
                self.look_at_ends();
                ControlFlow::Continue(())
            }
            Reply::DatabaseFailed(input, failure) => {
                self.hands.answered(&input);
                let attempt = self.machine.postgres_attempt(&self.config);
                self.hands.postgres.failed(&failure, Some(attempt.into()));
                self.log(&failure, attempt);
                self.feed(input)
            }
            Reply::BrokerFailed(input, failure) => {
                self.hands.answered(&input);
                let attempt = self.machine.kafka_attempt(&self.config);
                self.hands.kafka.failed(&failure, Some(attempt.into()));
                self.log(&failure, attempt);
                self.feed(input)
            }
            Reply::Moved { id, gaps, refused } => {
                self.hands.owed.connection.answered();
                self.hands.postgres.answered();
                for gap in gaps.iter().filter(|gap| !refused.contains(&gap.partition)) {
                    self.hands.moved_behind(gap);
                }
                self.hands.counted_gaps = None;
                self.feed(Input::OffsetsMoved { id, refused })
            }
            Reply::Checked { id, check: LedgerCheck { refused, held } } => {
                self.hands.owed.check.answered();
                self.hands.postgres.answered();
                if !refused.is_empty() {
                    self.hands.refused("check", refused.len());
                }
                self.feed(Input::LedgerChecked { id, refused, held })
            }
            Reply::Probed(from, answer) => {
                self.on_probed(from, answer);
                ControlFlow::Continue(())
            }
            Reply::GapsCounted(answer) => {
                if let Ok(open) = &answer {
                    self.hands.metrics.gaps_open.set(*open as f64);
                }
                if answer.is_err() && self.hands.writing > 0 {
                    // The writes tell more of the server than an answer that is late beside them.
                    self.hands.probing[1] = false;
                } else {
                    self.on_probed(Dependency::Postgres, answer.map(drop));
                }
                ControlFlow::Continue(())
            }
            Reply::Batch { worker, id, batch, oldest_ms, took, reply } => {
                self.hands.wrote(worker, &batch, oldest_ms, took, &reply);
                if reply.counts.fenced_by_lineage > 0 {
                    // Nothing has failed: no service ends of it.
                    self.tell(&fenced_by_lineage(reply.counts.fenced_by_lineage), (0, Some(0)));
                }
                match &reply.failure {
                    Some(failure) => {
                        let attempt = self.machine.write_attempt(worker, failure.fault, &self.config);
                        self.hands.postgres.failed(failure, Some(attempt.into()));
                    }
                    None => self.hands.postgres.answered(),
                }
                if let Some(failure) = &reply.failure {
                    self.log_write(failure, worker, batch.rows().len());
                }
                self.feed(Input::BatchDone { worker, id, outcome: reply.outcome })
            }
            Reply::Parked { worker, id, took, reply } => {
                self.hands.retried(worker, took, &reply);
                if let Some(failure) = &reply.failure {
                    self.log(failure, self.machine.write_attempt(worker, failure.fault, &self.config));
                }
                self.feed(Input::ParkedRetried { worker, id, outcome: reply.outcome })
            }
        }
    }

    fn on_probed(&mut self, from: Dependency, answer: Result<(), Failure>) {
        let hands = &mut self.hands;
        let (standing, slot) =
            if from == Dependency::Kafka { (&mut hands.kafka, 0) } else { (&mut hands.postgres, 1) };
        hands.probing[slot] = false;
        match answer {
            Ok(()) => standing.answered(),
            Err(failure) => {
                standing.failed(&failure, None);
                hands.metrics.common.failed(failure.fault);
                report::no_sign_of_life(SERVICE, from, &failure);
            }
        }
    }
}

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    fn answered(&mut self, input: &Input) {
        match input {
            Input::DatabaseReady { .. }
            | Input::DatabaseFailed { .. }
            | Input::Acquired { .. }
            | Input::AcquireFailed { .. } => {
                self.owed.connection.answered();
            }
            Input::Joined { .. } | Input::JoinFailed { .. } => {
                self.owed.membership.answered();
            }
            Input::Committed { .. } => {
                self.owed.commit.answered();
            }
            Input::CommitFailed { refused, .. } => {
                self.owed.commit.answered();
                if !refused.is_empty() {
                    self.refused("commit", refused.len());
                }
            }
            Input::LedgerCheckFailed { .. } => {
                self.owed.check.answered();
            }
            Input::Start
            | Input::ConsumerFailed { .. }
            | Input::Assigned { .. }
            | Input::Revoking { .. }
            | Input::Lost { .. }
            | Input::OffsetsMoved { .. }
            | Input::LedgerChecked { .. }
            | Input::Records { .. }
            | Input::BatchDone { .. }
            | Input::ParkedRetried { .. }
            | Input::DeadLettered { .. }
            | Input::DeadLetterFailed { .. }
            | Input::Left { .. }
            | Input::Timer(_)
            | Input::Signal(_) => {}
        }
    }
}

/// A fence that a higher lineage has put up is no replay: somebody has to look.
fn fenced_by_lineage(rows: u64) -> Failure {
    let text = format!(
        "{rows} changes met rows of a higher lineage and were not applied. If a running Watcher sends them, its \
         token record is an old copy: stop it and run `cdc token reset --new-source`, which raises its lineage. \
         If they are left over from a source that was replaced, nothing is missing"
    );
    Failure::new(Fault::Fenced, "batch_write", text)
}
