//! Messages on their way into the producer. What it refuses on the spot becomes an input after the step.

use std::ops::ControlFlow;

use cdc_event::Message;
use cdc_machine::{Cause, EffectId, Fault, SeqNo};
use cdc_watcher::Batching;

use super::{Hands, Input, SERVICE};
use crate::given_up;
use cdc_ports::{Failure, Producer, SendRefused};

impl<P: Producer> Hands<P> {
    /// Hands over a copy for each partition. The machine waits for a report on every one of them.
    pub(super) fn send_control(&mut self, seq: SeqNo, message: &Message, copies: u32) {
        let (queued, failure) = match &mut self.producer {
            Some(producer) => producer.send_control(seq, message),
            None => (0, None),
        };
        self.published_now += u64::from(queued);
        let fault = failure.as_ref().map_or(Fault::Transient, |failure| failure.fault);
        if let Some(failure) = failure {
            self.not_queued(&failure);
        }
        for _ in queued..copies {
            self.refused.push_back(Input::DeliveryFailed { seq, fault });
        }
    }

    fn not_queued(&mut self, failure: &Failure) {
        self.last_failure = Some(failure.to_string());
        self.metrics.common.failed(failure.fault);
        tracing::warn!(service = SERVICE, operation = failure.operation, error = %failure, "not queued");
    }

    /// Hands a message over; true where the client has taken it.
    pub(super) fn send(
        &mut self,
        seq: SeqNo,
        hand_over: impl FnOnce(&mut P) -> Result<(), SendRefused>,
    ) -> bool {
        let sent = match &mut self.producer {
            Some(producer) => hand_over(producer),
            None => Err(SendRefused::Failed(Failure::new(
                Fault::Transient,
                "kafka_publish",
                "the producer is being made anew; the event is read again after it",
            ))),
        };
        match sent {
            Ok(()) => {
                self.published_now += 1;
                return true;
            }
            Err(SendRefused::Failed(failure)) => {
                self.not_queued(&failure);
                self.refused.push_back(Input::DeliveryFailed { seq, fault: failure.fault });
            }
            Err(SendRefused::TooLarge(marker)) => {
                self.refused.push_back(Input::DeliveryTooLarge { seq, marker: *marker });
            }
        }
        false
    }

    /// Logs and counts an event that does not fit; `marker` stands for it.
    pub(super) fn tell_too_large(&mut self, marker: &Message, outcome: &'static str) {
        if self.told_too_large.is_new(marker.position) {
            self.metrics.too_large.increment(1);
            self.metrics.common.failed(Fault::TooLarge);
            given_up::tell_too_large(SERVICE, marker, outcome);
        }
    }

    pub(super) fn prepare(&mut self, id: EffectId, batching: Batching) -> ControlFlow<Cause> {
        let Some(mut producer) = self.producer.take() else {
            return ControlFlow::Break(Cause::Invariant("two producers are being made at once"));
        };
        self.publishing.lost();
        // What is in flight is forgotten, and read again.
        self.sampled.lost(Fault::Transient);
        self.pending.broker.asked();
        self.preparing = Some(tokio::spawn(async move {
            let result = producer.prepare(batching).await;
            (producer, id, result)
        }));
        ControlFlow::Continue(())
    }
}
