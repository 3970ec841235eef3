//! Requests to PostgreSQL and Kafka, each a task of its own that ends with one answer. The machine bounds
//! them: one batch for each worker, one commit, one acquisition, a few dead letters.

use std::collections::BTreeSet;
use std::time::SystemTime;

use cdc_machine::{Dependency, EffectId, Epoch, Fault};
use cdc_syncer::{Batch, CommitFailure, FailedBy, Held, Hold, OffsetCommit, Parking, Partition, Taken};

use super::answers::{Heard, Reply, Told};
use super::missing::Look;
use super::sums::TOPICS_NAMED_MAX;
use super::written_batch::WrittenBatch;
use super::{Input, Wait};
use crate::health::within_reason;
use cdc_ports::{
    Database, Failure, KafkaRecord, LedgerClaim, LedgerCommit, LedgerEntry, RecordConsumer, RejectedRecord,
    RetryReply, Share, WriteReply,
};
use cdc_traces::{BatchTimes, Traces};

pub(super) async fn leave<C: RecordConsumer>(id: EffectId, consumer: C) -> Reply {
    consumer.leave().await;
    Reply::answer(
        None,
        Input::GroupLeft { id, result: () },
        Heard::Answered(Dependency::Kafka),
        Told::Nothing,
    )
}

/// The ledger first: it waits for a former owner's write in flight, so that what the group and the log say is
/// read after the last thing that it could have committed.
pub(super) async fn acquire<C: RecordConsumer, D: Database>(
    id: EffectId,
    partitions: Vec<(Partition, Epoch)>,
    workers: u32,
    consumer: C,
    database: D,
) -> Reply {
    let claims: Vec<LedgerClaim> = partitions
        .iter()
        .map(|&(partition, epoch)| LedgerClaim { partition, epoch, name: consumer.name(partition) })
        .collect();
    let failed = |from, failure: Failure| {
        let result = Err(FailedBy { from, fault: failure.fault });
        Reply::failed(Some(Wait::Connection), Input::PartitionsAcquired { id, result }, from, failure)
    };
    let ledger = match database.acquire(&claims, workers).await {
        Ok(ledger) => ledger,
        Err(failure) => return failed(Dependency::Postgres, failure),
    };
    let numbers: Vec<Partition> = partitions.iter().map(|&(partition, _)| partition).collect();
    let group = match consumer.committed(&numbers).await {
        Ok(group) => group,
        Err(failure) => return failed(Dependency::Kafka, failure),
    };
    let bounds = match consumer.log_bounds(&numbers).await {
        Ok(bounds) => bounds,
        Err(failure) => return failed(Dependency::Kafka, failure),
    };
    let mut held = Vec::new();
    let places = numbers.iter().zip(&ledger).zip(group.iter().zip(&bounds));
    let places = places.filter_map(|((partition, entry), (group, log))| {
        let log = (*log)?;
        let next = entry.next_offset.or(*group).unwrap_or(log.first).clamp(log.first, log.end.max(log.first));
        Some((*partition, next, log.end))
    });
    let places: Vec<(Partition, i64, i64)> = places.collect();
    let acquired: Vec<cdc_syncer::Acquired> = partitions
        .into_iter()
        .zip(ledger.into_iter().zip(group.into_iter().zip(bounds)))
        .filter_map(|((partition, epoch), (entry, (group, log)))| {
            let LedgerEntry { next_offset: ledger, end_seen, parked, held: why } = entry;
            let name = consumer.name(partition);
            if let Some(Held { reason, detail }) = why {
                held.push(Hold { partition, epoch, reason, detail });
                return None;
            }
            let Some(log) = log else {
                tracing::warn!(
                    service = "syncer",
                    operation = "partition_acquire",
                    topic = %name.topic,
                    partition = name.partition,
                    "the group gave us a partition that the topic does not have (any more); waiting until the \
                     group knows"
                );
                return None;
            };
            tracing::debug!(
                service = "syncer",
                operation = "partition_acquire",
                topic = %name.topic,
                partition = name.partition,
                ledger_offset = ledger,
                group_offset = group,
                log_first = log.first,
                log_end = log.end,
                parked = parked.iter().map(|(_, rows)| rows).sum::<u64>(),
                "partition acquired"
            );
            Some(cdc_syncer::Acquired { partition, epoch, ledger, group, log, end_seen, parked })
        })
        .collect();
    tell_acquired(&acquired, &held, &consumer);
    let input = Input::PartitionsAcquired { id, result: Ok(Taken { partitions: acquired, held }) };
    Reply::answer(Some(Wait::Connection), input, Heard::Answered(Dependency::Postgres), Told::Places(places))
}

/// One line for all: a rebalance moves hundreds at once. Where each stands is told at debug level.
fn tell_acquired<C: RecordConsumer>(acquired: &[cdc_syncer::Acquired], held: &[Hold], consumer: &C) {
    let topics: BTreeSet<_> = acquired.iter().map(|it| consumer.name(it.partition).topic).collect();
    let mut names = topics.iter().take(TOPICS_NAMED_MAX).map(|topic| &**topic).collect::<Vec<_>>().join(", ");
    if topics.len() > TOPICS_NAMED_MAX {
        names.push_str(", …");
    }
    tracing::info!(
        service = "syncer",
        operation = "partition_acquire",
        partitions = acquired.len(),
        held = held.len(),
        topics = names,
        "partitions acquired"
    );
}

pub(super) async fn write<D: Database>(
    share: Share,
    id: EffectId,
    batch: Batch<KafkaRecord>,
    parking: Parking,
    database: D,
) -> Reply {
    let (handed, begun) = (SystemTime::now(), tokio::time::Instant::now());
    let WriteReply { outcome, counts, begun: transaction, tables, failure } =
        database.write(&batch, share, parking).await;
    let times = BatchTimes { handed, begun: transaction, ended: SystemTime::now() };
    let worker = share.worker;
    let heard = Heard::Wrote(worker, batch.rows().len(), failure);
    let told = Told::Batch(Box::new(WrittenBatch { batch, times, took: begun.elapsed(), tables, counts }));
    Reply::answer(None, Input::BatchWritten { worker, id, result: outcome }, heard, told)
}

pub(super) async fn retry_parked<D: Database>(
    share: Share,
    id: EffectId,
    partitions: Vec<(Partition, Epoch)>,
    given_up: Vec<(Partition, i64)>,
    database: D,
) -> Reply {
    let begun = tokio::time::Instant::now();
    let RetryReply { outcome, counts, failure } = database.retry_parked(share, &partitions, &given_up).await;
    let input = Input::ParkedRetried { worker: share.worker, id, result: outcome };
    let told = Told::Retry { took: begun.elapsed(), counts };
    Reply::answer(None, input, Heard::Retried(share.worker, failure), told)
}

/// The ledger first, then Kafka: the ledger decides where a restart begins, the group's offset is what
/// Kafka's own tools show.
pub(super) async fn commit<C: RecordConsumer, D: Database>(
    id: EffectId,
    offsets: Vec<OffsetCommit>,
    consumer: C,
    database: D,
) -> Reply {
    let records: Vec<LedgerCommit> = offsets
        .iter()
        .map(|commit| LedgerCommit {
            partition: commit.partition,
            epoch: commit.epoch,
            next_offset: *commit.offset.position(),
        })
        .collect();
    let failed = |from, failure: Failure, refused| {
        let result = Err(CommitFailure { from, fault: failure.fault, refused });
        Reply::failed(Some(Wait::Commit), Input::OffsetsCommitted { id, result }, from, failure)
    };
    let refused = match database.record(&records).await {
        Ok(refused) => refused,
        Err(failure) => return failed(Dependency::Postgres, failure, Vec::new()),
    };
    if !refused.is_empty() {
        let text = format!(
            "{} of {} partitions are owned by another member now; they are acquired again where they are still assigned",
            refused.len(),
            records.len()
        );
        let failure = Failure::new(Fault::Fenced, "ledger_commit", text);
        return failed(Dependency::Postgres, failure, refused);
    }
    let group: Vec<(Partition, i64)> =
        records.iter().map(|record| (record.partition, record.next_offset)).collect();
    match consumer.commit(&group).await {
        Ok(()) => {
            let input = Input::OffsetsCommitted { id, result: Ok(()) };
            Reply::answer(Some(Wait::Commit), input, Heard::BothAnswered, Told::Commits(records))
        }
        // The ledger has it. A commit that races a rebalance is fenced, and for the machine to wait with.
        Err(failure) => failed(Dependency::Kafka, failure, Vec::new()),
    }
}

/// Where the logs end, and which topics are missing. A look that fails says nothing, and the next one may: signs of life
/// are asked for elsewhere.
pub(super) async fn look<C: RecordConsumer>(partitions: Vec<Partition>, look: Look, consumer: C) -> Reply {
    let ends = within_reason(consumer.log_ends(&partitions)).await;
    let missing = match look.topics {
        true => Some(within_reason(consumer.missing_topics()).await),
        false => None,
    };
    let told = |failure: &Failure| {
        tracing::debug!(service = "syncer", operation = "kafka_look", error = %failure, "the logs' ends were not seen");
    };
    let ends = ends.inspect_err(told).unwrap_or_default();
    let ends = partitions.into_iter().zip(ends).filter_map(|(partition, end)| Some((partition, end?)));
    let missing = missing.and_then(|missing| missing.inspect_err(told).ok());
    Reply::Looked { ends: ends.collect(), missing }
}

/// Sees which of these offsets are the ends of their logs, and records that. It is the only trace of a log that is gone.
/// A look that fails leaves none: the next one may.
pub(super) async fn look_at_ends<C: RecordConsumer, D: Database>(
    records: Vec<LedgerCommit>,
    consumer: C,
    database: D,
) -> Reply {
    let numbers: Vec<Partition> = records.iter().map(|record| record.partition).collect();
    let looked = async {
        let bounds = consumer.log_bounds(&numbers).await?;
        let at_end = records.iter().zip(bounds);
        let at_end = at_end.filter(|(record, log)| log.is_some_and(|log| log.end == record.next_offset));
        let ends: Vec<LedgerCommit> = at_end.map(|(record, _)| *record).collect();
        if ends.is_empty() { Ok(()) } else { database.saw_ends(&ends).await }
    };
    if let Err(failure) = looked.await {
        tracing::debug!(service = "syncer", operation = "log_ends", error = %failure, "the logs' ends were not seen");
    }
    Reply::EndsSeen
}

/// Puts a record aside, durably, with the span of a sampled one.
pub(super) async fn put_aside<C: RecordConsumer>(
    record: RejectedRecord,
    consumer: C,
    traces: Traces,
) -> Result<(), Failure> {
    let (place, reason, begun) = (record.origin.clone(), record.reason, SystemTime::now());
    let (offset, trace) = (record.offset, record.record.trace.clone());
    consumer.dead_letter(record).await?;
    if let Some(trace) = trace {
        let place = (&*place.topic, place.partition, offset);
        traces.put_aside(&trace.context, place, reason.as_str(), (begun, SystemTime::now()));
    }
    Ok(())
}
