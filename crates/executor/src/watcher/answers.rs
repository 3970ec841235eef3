//! What comes in, from the tasks and from the producer, on its way to the machine: who has given a sign of life, what
//! is logged and counted, and the input that it becomes.

use std::ops::ControlFlow;
use std::sync::Arc;

use cdc_event::{Message, ResumeToken};
use cdc_machine::{Cause, Dependency, Fault, Lineage, SeqNo};
use cdc_watcher::{Contents, Event, Known, OnTooLarge, Opened, Payload};
use tokio::task::JoinError;

use super::neighbours::SavedAt;
use super::tasks::{Reply, SourceOrder};
use super::{Driver, Hands, Input, Prepared, SERVICE};
use crate::report;
use cdc_ports::{Failure, Holder, Producer, ProducerReport, Serves, Sighting, SourceBatch};

impl<P: Producer> Driver<P> {
    pub(super) fn on_reports(&mut self, reports: &mut Vec<ProducerReport>) -> ControlFlow<Cause> {
        let mut delivered: Vec<SeqNo> = Vec::with_capacity(reports.len());
        for report in reports.drain(..) {
            let input = match report {
                ProducerReport::Delivered(seq) => {
                    delivered.push(seq);
                    continue;
                }
                ProducerReport::DeliveredSampled(seq, answer) => {
                    delivered.push(seq);
                    self.hands.sampled.acknowledged(seq, answer);
                    continue;
                }
                ProducerReport::Failed(seq, failure) => {
                    self.hands.publishing.settled(1);
                    self.hands.sampled.failed(seq, failure.fault);
                    let attempt = self.machine.kafka_attempt(&self.config);
                    self.hands.neighbours.broker.failed(&failure, Some(attempt.into()));
                    let input = Input::DeliveryFailed { seq, fault: failure.fault };
                    self.log(&failure, attempt);
                    input
                }
                ProducerReport::TooLarge(seq, marker) => {
                    self.hands.publishing.settled(1);
                    self.hands.sampled.too_large(seq);
                    Input::DeliveryTooLarge { seq, marker }
                }
                ProducerReport::Lost(failure) => {
                    self.hands.publishing.lost();
                    self.hands.sampled.lost(failure.fault);
                    let attempt = self.machine.kafka_attempt(&self.config);
                    self.hands.neighbours.broker.failed(&failure, Some(attempt.into()));
                    self.log(&failure, attempt);
                    Input::ProducerLost { fault: failure.fault }
                }
            };
            // Reports reach the machine in the order in which the client gave them.
            self.deliver(&mut delivered)?;
            self.feed(input)?;
        }
        self.deliver(&mut delivered)
    }

    fn deliver(&mut self, delivered: &mut Vec<SeqNo>) -> ControlFlow<Cause> {
        if delivered.is_empty() {
            return ControlFlow::Continue(());
        }
        let count = delivered.len() as u64;
        let took = self.hands.publishing.settled(count);
        self.hands.neighbours.broker.answered();
        self.hands.metrics.publish_seconds.record(took);
        self.hands.metrics.published.increment(count);
        self.hands.sums.published(count);
        self.feed(Input::Delivered { seqs: std::mem::take(delivered) })
    }

    pub(super) fn on_reply(&mut self, reply: Reply) -> ControlFlow<Cause> {
        match reply {
            Reply::Identified(input, name) => {
                self.hands.pending.source.answered();
                self.hands.neighbours.source.answered();
                self.hands.source_name = Some(name);
                // Nobody may wait for it.
                drop(self.hands.identified.take());
                self.feed(input)
            }
            Reply::Unwatchable(input, text) => {
                self.hands.last_failure = Some(text);
                self.feed(input)
            }
            Reply::Fetched(input, mut read) => {
                self.hands.pending.source.answered();
                self.hands.neighbours.source.answered();
                if let Some(sightings) = read.sightings.take() {
                    self.hands.see(sightings, self.machine.known());
                }
                if let Input::Fetched { result: Ok(batch), .. } = &input {
                    self.hands.read(batch.events.len(), &read);
                    self.tell_oversized(&batch.events);
                }
                self.feed(input)
            }
            Reply::Counted { documents, from } => {
                self.hands.uncopied = Some(self.hands.watched.uncopied(documents, from));
                ControlFlow::Continue(())
            }
            Reply::Opened(input, sightings) => {
                self.count_existing(&input, &sightings)?;
                self.hands.pending.source.answered();
                self.hands.neighbours.source.answered();
                self.hands.see(sightings, self.machine.known());
                self.feed(input)
            }
            Reply::SourceFailed(input, failure) => {
                self.hands.pending.source.answered();
                let attempt = self.machine.mongodb_attempt(&self.config);
                self.hands.neighbours.source.failed(&failure, Some(attempt.into()));
                if failure.fault != Fault::TooLarge {
                    self.log(&failure, attempt);
                    return self.feed(input);
                }
                let flow = self.feed(input);
                if flow.is_break() || self.config.on_too_large == OnTooLarge::Stop {
                    self.log(&failure, attempt);
                } else {
                    // It is read again without its documents; then it is told of and counted as what it is.
                    self.hands.last_failure = Some(failure.to_string());
                    tracing::warn!(
                        service = SERVICE,
                        operation = failure.operation,
                        fault = failure.fault.as_str(),
                        error = %failure.chain(),
                        "an event does not fit a reply; the stream is read again without documents"
                    );
                }
                flow
            }
            Reply::Store(input) => {
                self.hands.pending.store.answered();
                self.hands.neighbours.store.answered();
                self.feed(input)
            }
            Reply::Held(input, holder, saved_ago) => {
                self.hands.pending.store.answered();
                self.hands.neighbours.store.answered();
                if let Some(saved_ago) = saved_ago {
                    self.hands.saved = Some(SavedAt::ago(saved_ago));
                }
                self.hands.wait_for(holder);
                self.feed(input)
            }
            Reply::Record(input, open_gaps, saved_ago) => {
                self.hands.pending.store.answered();
                self.hands.neighbours.store.answered();
                self.hands.standby = None;
                self.hands.saved = Some(SavedAt::ago(saved_ago));
                self.hands.metrics.gaps_open.set(open_gaps as f64);
                if matches!(input, Input::TokenSaved { .. }) {
                    self.hands.metrics.save_seconds.record(self.hands.pending.save.answered());
                }
                self.feed(input)
            }
            Reply::StoreFailed(input, failure) => {
                self.hands.pending.store.answered();
                if matches!(input, Input::TokenSaved { .. }) {
                    self.hands.pending.save.answered();
                }
                let attempt = self.machine.store_attempt(&self.config);
                self.hands.neighbours.store.failed(&failure, Some(attempt.into()));
                self.log(&failure, attempt);
                self.feed(input)
            }
        }
    }

    /// Events that came without their documents are left out where the policy says so.
    fn tell_oversized(&mut self, events: &[Event<Message, ResumeToken>]) {
        if self.config.on_too_large != OnTooLarge::Skip {
            return;
        }
        for event in events {
            if let Payload::Oversized { marker } = &event.payload {
                self.tell_too_large(marker);
            }
        }
    }

    /// Of collections that the position does not know, the documents that are there will not be copied: asks how many.
    fn count_existing(&mut self, opened: &Input, sightings: &[Sighting]) -> ControlFlow<Cause> {
        let Input::StreamOpened { result: Ok(Opened { at, .. }), .. } = opened else {
            return ControlFlow::Continue(());
        };
        let recorded = self.machine.known().iter().map(Option::is_some).chain(std::iter::repeat(false));
        let names: Vec<Arc<str>> = sightings
            .iter()
            .zip(recorded)
            .filter(|(sighting, recorded)| !recorded && sighting.serves == Serves::Changes)
            .map(|(sighting, _)| Arc::clone(&sighting.name))
            .collect();
        let Some(from) = at.position.cluster_time().filter(|_| !names.is_empty()) else {
            return ControlFlow::Continue(());
        };
        self.hands.order_source(SourceOrder::Count { names, from: from.t })
    }

    /// Says where the topics' ends have raised the lineage.
    fn compare_lineage(&self, before: Lineage) {
        let lineage = self.machine.lineage();
        if lineage > before {
            tracing::warn!(
                service = SERVICE,
                operation = "lineage",
                before = before.0,
                lineage = lineage.0,
                "the topics hold messages of a later lineage than the token record or this machine's clock has; going \
                 on in one that their rows do not keep off"
            );
        }
    }

    pub(super) fn on_prepared(&mut self, prepared: Result<Prepared<P>, JoinError>) -> ControlFlow<Cause> {
        self.hands.preparing = None;
        self.hands.pending.broker.answered();
        let Ok((producer, id, result)) = prepared else {
            return ControlFlow::Break(Cause::Invariant("the task that makes the producer panicked"));
        };
        self.hands.producer = Some(producer);
        match result {
            Ok(topics) => {
                self.hands.neighbours.broker.answered();
                let found: Vec<u32> = topics.iter().map(|topic| topic.partitions).collect();
                let before = self.machine.lineage();
                self.feed(Input::ProducerPrepared { id, result: Ok(topics) })?;
                self.compare_lineage(before);
                self.compare_partitions(&found);
                ControlFlow::Continue(())
            }
            Err(failure) => {
                let attempt = self.machine.kafka_attempt(&self.config);
                self.hands.neighbours.broker.failed(&failure, Some(attempt.into()));
                self.log(&failure, attempt);
                self.feed(Input::ProducerPrepared { id, result: Err(failure.fault) })
            }
        }
    }

    pub(super) fn on_probed(&mut self, probed: Result<Result<Vec<u32>, Failure>, JoinError>) {
        self.hands.probing = None;
        // A probe that panicked has told nothing; the next one will.
        match probed {
            Ok(Ok(found)) => {
                self.hands.neighbours.broker.answered();
                self.compare_partitions(&found);
            }
            // The reports that are due tell more of the brokers than an answer that is late beside them.
            Ok(Err(_)) if self.hands.has_reports_due() => {}
            Ok(Err(failure)) => {
                self.hands.neighbours.broker.failed(&failure, None);
                self.hands.metrics.common.failed(failure.fault);
                report::no_sign_of_life(SERVICE, Dependency::Kafka, &failure);
            }
            Err(_) => {}
        }
    }
}

impl<P: Producer> Driver<P> {
    fn compare_partitions(&mut self, found: &[u32]) {
        let topics = self.hands.producer.as_ref().map_or(&[][..], Producer::topics);
        let recorded = self.machine.known().iter().map(|known| known.and_then(|known| known.partitions));
        let unused = self.hands.growth.compare(topics, recorded, found);
        self.hands.metrics.unused_partitions.set(unused as f64);
    }
}

impl<P: Producer> Hands<P> {
    /// Says who holds the lease, once for each holder.
    fn wait_for(&mut self, holder: Holder) {
        if self.standby.as_ref() == Some(&holder) {
            return;
        }
        let why = holder.why_waiting();
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    service = SERVICE,
                    operation = "lease_acquire",
                    holder = holder.instance,
                    "the lease is held by another instance; waiting for it: {why}"
                )
            };
        }
        if holder.is_living_namesake {
            tell!(warn);
        } else {
            tell!(info);
        }
        self.standby = Some(holder);
    }

    fn see(&mut self, sightings: Vec<Sighting>, known: &[Option<Known>]) {
        let has_existed = |known: &Known| known.holds_messages || matches!(known.contents, Contents::Uuid(_));
        let recorded = known.iter().map(|known| known.as_ref().is_some_and(has_existed));
        self.seen = Some(self.watched.see(sightings, recorded, &self.metrics));
    }

    fn read(&mut self, events: usize, batch: &SourceBatch) {
        self.metrics.processed.increment(events as u64);
        if batch.looked_up > 0 {
            self.metrics.images_missing.increment(batch.looked_up);
            self.watched.looked_up(batch.looked_up);
        }
        if let Some(window) = batch.history {
            self.metrics.oplog_window(window);
        }
        if batch.idle.is_some() {
            self.watched.caught_up();
        }
        for kind in &batch.skipped {
            self.metrics.skipped(kind);
            tracing::info!(
                service = SERVICE,
                operation = "change_stream",
                kind,
                "an event without a document"
            );
        }
        // An answer without either is one of a source that is still searching.
        if batch.newest_unix_seconds > 0 {
            self.lag.read(batch.newest_unix_seconds);
        } else if batch.idle.is_some() {
            self.lag.caught_up(batch.behind_seconds);
        }
    }
}
