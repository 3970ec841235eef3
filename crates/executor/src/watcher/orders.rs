//! Orders of the machine, carried out.

use std::ops::ControlFlow;

use cdc_machine::{Cause, StateName};

use super::sampled::SampledEvents;
use super::tasks::{SourceOrder, StoreOrder};
use super::{Effect, Hands, SERVICE};
use crate::given_up::key_hash;
use cdc_ports::Producer;

impl<P: Producer> Hands<P> {
    /// Carries out one order. Every order has its line here; what it comes to returns as an input.
    pub(super) fn carry_out(&mut self, effect: Effect) -> ControlFlow<Cause> {
        match effect {
            Effect::IdentifySource {} => {
                self.pending.source.asked();
                self.order_source(SourceOrder::Identify)
            }
            Effect::AcquireLease { id, over_damage } => {
                let Some(source) = self.source_name.clone() else {
                    return ControlFlow::Break(Cause::Invariant(
                        "the lease is taken for a source that is known",
                    ));
                };
                self.order_store(StoreOrder::Acquire { id, source, over_damage })
            }
            Effect::RenewLease { id } => self.order_store(StoreOrder::Renew { id }),
            Effect::ReleaseLease { id } => self.order_store(StoreOrder::Release { id }),
            Effect::SaveToken { id, token, lineage, change } => {
                self.pending.save.asked();
                self.sums.acknowledged(token.position().position);
                self.order_store(StoreOrder::Save { id, token, lineage, change })
            }
            Effect::OpenStream { epoch, from, lineage, reading } => {
                self.pending.source.asked();
                self.order_source(SourceOrder::Open { epoch, from, lineage, reading })
            }
            Effect::Fetch { epoch, max_events, max_bytes } => {
                self.pending.source.asked();
                self.order_source(SourceOrder::Fetch { epoch, max_events, max_bytes })
            }
            Effect::CloseStream { epoch: _ } => self.order_source(SourceOrder::Close),
            Effect::PrepareProducer { id, batching } => self.prepare(id, batching),
            Effect::Publish { seq, record, partitions } => {
                tracing::debug!(
                    service = SERVICE,
                    operation = "kafka_publish",
                    seq = seq.0,
                    topic = &*record.topic,
                    position = %record.position,
                    key_hash = %format_args!("{:016x}", key_hash(record.key())),
                    bytes = record.value().len(),
                    "an event is published"
                );
                let sampled = SampledEvents::of(&record);
                let is_sent = self.send(seq, |producer| producer.send(seq, record, partitions));
                if let Some(event) = sampled.filter(|_| is_sent) {
                    self.sampled.handed_over(seq, event);
                }
                ControlFlow::Continue(())
            }
            Effect::PublishControl { seq, records, copies } => {
                for record in &records {
                    self.send_control(seq, record, copies);
                }
                ControlFlow::Continue(())
            }
            Effect::PublishMarker { seq, marker } => {
                self.tell_too_large(&marker, "a marker without the body goes to the dead letters");
                self.send(seq, |producer| producer.send_marker(seq, marker));
                ControlFlow::Continue(())
            }
            Effect::PurgeQueued => {
                if let Some(producer) = &mut self.producer {
                    producer.purge_queued();
                }
                ControlFlow::Continue(())
            }
            Effect::SetTimer { timer, after } => {
                if timer.kind.has_jitter() {
                    self.timers.set_with_jitter(timer, after);
                } else {
                    self.timers.set(timer, after);
                }
                ControlFlow::Continue(())
            }
            Effect::CancelTimer { timer } => {
                self.timers.cancel(timer);
                ControlFlow::Continue(())
            }
            Effect::Stop { cause } => ControlFlow::Break(cause),
        }
    }

    pub(super) fn order_source(&mut self, order: SourceOrder) -> ControlFlow<Cause> {
        match self.source.try_send(order) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => {
                ControlFlow::Break(Cause::Invariant("the source's task has more orders than it can owe"))
            }
        }
    }

    fn order_store(&mut self, order: StoreOrder) -> ControlFlow<Cause> {
        self.pending.store.asked();
        match self.store.try_send(order) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => {
                ControlFlow::Break(Cause::Invariant("the store's task has more orders than it can owe"))
            }
        }
    }

    pub(super) fn moved(&self, from: StateName, to: StateName, input: &'static str) {
        self.metrics.common.moved(from, to);
        crate::log_transition(SERVICE, from, to, input);
    }
}
