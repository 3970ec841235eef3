//! What comes in, from the consumer and from requests, on its way to the machine: who has given a sign of life, what
//! is logged, and the input that it becomes.

use std::ops::ControlFlow;
use std::time::Duration;

use cdc_machine::{Cause, Dependency, Fault, TimerId};
use cdc_syncer::{
    CommitFailure, LedgerCheck, OffsetGap, Partition, RetryOutcome, TimerKind, WorkerId, WriteOutcome,
};

use super::batch_log::DEAD_LETTERED;
use super::written_batch::WrittenBatch;
use super::{Driver, Hands, Input, SERVICE, Wait};
use crate::given_up::GivenUp;
use crate::health::DependencyHealth;
use crate::report;
use cdc_ports::{ConsumerEvent, Database, Failure, LedgerCommit, MissingTopic, RecordConsumer, RetryCounts};

/// What a task comes to.
#[derive(Debug)]
pub(super) enum Reply {
    /// A request of the machine's is answered.
    Answer(Box<Answer>),
    /// A sign of life, or none.
    Probed(Dependency, Result<(), Failure>),
    /// Where logs end, and the topics that are missing where that was asked and answered.
    Looked { ends: Vec<(Partition, i64)>, missing: Option<Vec<MissingTopic>> },
    /// The logs' ends were looked at.
    EndsSeen,
    /// PostgreSQL was asked, and says how many gaps are open.
    GapsCounted(Result<u64, Failure>),
}

/// What the machine hears, what the neighbours have shown of themselves, and what else is told of it.
#[derive(Debug)]
pub(super) struct Answer {
    /// What is pending no longer; a batch of which there may be others sees to that itself.
    pub(super) wait: Option<Wait>,
    pub(super) input: Input,
    pub(super) heard: Heard,
    pub(super) told: Told,
}

/// What the neighbours have shown of themselves.
#[derive(Debug)]
pub(super) enum Heard {
    /// This one did as it was asked.
    Answered(Dependency),
    /// Both did.
    BothAnswered,
    /// This one did not.
    Failed(Dependency, Failure),
    /// PostgreSQL wrote this worker's batch of so many rows, or says why not.
    Wrote(WorkerId, usize, Option<Failure>),
    /// It tried this worker's parked rows, or says why not.
    Retried(WorkerId, Option<Failure>),
}

/// What is counted and logged of an answer.
#[derive(Debug)]
pub(super) enum Told {
    Nothing,
    /// Partitions are found at these offsets before these ends.
    Places(Vec<(Partition, i64, i64)>),
    /// These gaps are recorded.
    Gaps(Vec<OffsetGap>),
    /// These offsets are recorded and committed.
    Commits(Vec<LedgerCommit>),
    /// This record is in the dead letters.
    PutAside(GivenUp),
    Batch(Box<WrittenBatch>),
    Retry {
        took: Duration,
        counts: RetryCounts,
    },
}

impl Reply {
    pub(super) fn answer(wait: Option<Wait>, input: Input, heard: Heard, told: Told) -> Self {
        Self::Answer(Box::new(Answer { wait, input, heard, told }))
    }

    pub(super) fn failed(wait: Option<Wait>, input: Input, from: Dependency, failure: Failure) -> Self {
        Self::answer(wait, input, Heard::Failed(from, failure), Told::Nothing)
    }
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
            Reply::Answer(answer) => {
                let Answer { wait, input, heard, told } = *answer;
                let is_committed = matches!(told, Told::Commits(_));
                if let Some(wait) = wait {
                    self.hands.pending.of(wait).answered();
                }
                self.hands.count_refused(&input);
                self.tell_of(&input, told);
                self.hear(heard);
                self.feed(input)?;
                if is_committed {
                    self.look_at_ends();
                }
            }
            Reply::Looked { ends, missing } => {
                self.hands.lags.saw_ends(&ends);
                self.hands.missing.looked(missing);
            }
            Reply::EndsSeen => {
                self.hands.ends.is_looking = false;
                self.look_at_ends();
            }
            Reply::Probed(from, answer) => self.on_probed(from, answer),
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
            }
        }
        ControlFlow::Continue(())
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Answered(from) => self.hands.health_of(from).answered(),
            Heard::BothAnswered => {
                self.hands.kafka.answered();
                self.hands.postgres.answered();
            }
            Heard::Failed(from, failure) => {
                let attempt = match from {
                    Dependency::Kafka => self.machine.kafka_attempt(&self.config),
                    Dependency::Postgres
                    | Dependency::MongoDb
                    | Dependency::Redis
                    | Dependency::TokenFile => self.machine.postgres_attempt(&self.config),
                };
                self.hands.health_of(from).failed(&failure, Some(attempt.into()));
                self.log(&failure, attempt);
            }
            Heard::Wrote(worker, rows, Some(failure)) => {
                self.hands.end_writing();
                let attempt = self.machine.write_attempt(worker, failure.fault, &self.config);
                self.hands.postgres.failed(&failure, Some(attempt.into()));
                self.log_write(&failure, worker, rows);
            }
            Heard::Wrote(_, _, None) => {
                self.hands.end_writing();
                self.hands.postgres.answered();
            }
            Heard::Retried(worker, Some(failure)) => {
                self.hands.end_writing();
                self.log(&failure, self.machine.write_attempt(worker, failure.fault, &self.config));
            }
            Heard::Retried(_, None) => self.hands.end_writing(),
        }
    }

    fn tell_of(&mut self, input: &Input, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Places(places) => self.hands.lags.found(&places),
            Told::Gaps(gaps) => {
                let Input::OffsetsMoved { result: Ok(refused), .. } = input else { return };
                for gap in gaps.iter().filter(|gap| !refused.contains(&gap.partition)) {
                    self.hands.moved_behind(gap);
                }
                self.hands.counted_gaps = None;
            }
            Told::Commits(records) => self.hands.ends.committed(&records),
            Told::PutAside(given_up) => self.hands.gave_up(&given_up, "dead_letter", DEAD_LETTERED),
            Told::Batch(written) => {
                let Input::BatchWritten { worker, result, .. } = input else { return };
                self.hands.trace_batch(*worker, result, &written);
                if !matches!(result, WriteOutcome::Written { .. }) {
                    return;
                }
                self.hands.wrote(*worker, &written);
                if written.counts.fenced_by_lineage > 0 {
                    // Nothing has failed: no service ends of it.
                    self.tell(&fenced_by_lineage(written.counts.fenced_by_lineage), (0, Some(0)));
                }
            }
            Told::Retry { took, counts } => {
                if let Input::ParkedRetried { worker, result: RetryOutcome::Done { .. }, .. } = input {
                    self.hands.retried(*worker, took, &counts);
                }
            }
        }
    }

    fn on_probed(&mut self, from: Dependency, answer: Result<(), Failure>) {
        let hands = &mut self.hands;
        hands.probing[usize::from(from == Dependency::Postgres)] = false;
        match answer {
            Ok(()) => hands.health_of(from).answered(),
            Err(failure) => {
                hands.health_of(from).failed(&failure, None);
                hands.metrics.common.failed(failure.fault);
                report::no_sign_of_life(SERVICE, from, &failure);
            }
        }
    }
}

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Partitions that an answer says are somebody else's.
    fn count_refused(&self, input: &Input) {
        if let Input::OffsetsCommitted { result: Err(CommitFailure { refused, .. }), .. } = input {
            self.refused("commit", refused.len());
        } else if let Input::LedgerChecked { result: Ok(LedgerCheck { refused, .. }), .. } = input {
            self.refused("check", refused.len());
        } else if let Input::BatchWritten { result: WriteOutcome::Refused { partitions }, .. } = input {
            self.refused("write", partitions.len());
        }
    }

    const fn health_of(&mut self, from: Dependency) -> &mut DependencyHealth {
        match from {
            Dependency::Kafka => &mut self.kafka,
            Dependency::Postgres | Dependency::MongoDb | Dependency::Redis | Dependency::TokenFile => {
                &mut self.postgres
            }
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
