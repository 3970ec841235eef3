//! A driver's eye on its machine: what a step shows becomes spans. Where nothing is exported a step costs one look at an
//! empty place.

use std::time::SystemTime;

use cdc_machine::{Answered, Cause, Request, StateName};
use cdc_traces::{StateSpans, Traces};

/// Tells the spans of one machine what each step shows.
pub(crate) struct Observer(Option<StateSpans>);

impl Observer {
    /// Begins with a service's first state.
    pub(crate) fn begin(traces: &Traces, service: &'static str, state: StateName) -> Self {
        Self(StateSpans::begin(traces, service, state, SystemTime::now()))
    }

    /// Before a step: the input may be a reply.
    pub(crate) fn hears(&mut self, answers: impl FnOnce() -> Option<Answered>) {
        if let Some(spans) = &mut self.0
            && let Some(answered) = answers()
        {
            spans.answered(answered, SystemTime::now());
        }
    }

    /// After it: where the machine stands.
    pub(crate) fn stepped(
        &mut self,
        (from, to): (StateName, StateName),
        input: &'static str,
        waits_for: impl FnOnce() -> &'static str,
    ) {
        let Some(spans) = &mut self.0 else { return };
        if from != to {
            spans.moved(to, input, SystemTime::now());
        }
        spans.waits_for(waits_for());
    }

    /// Before an order is carried out: the request that it is, or the back-off that it calls off.
    pub(crate) fn orders(&mut self, order: impl FnOnce() -> (Option<Request>, Option<Request>)) {
        let Some(spans) = &mut self.0 else { return };
        match order() {
            (Some(request), _) => spans.asked(request, SystemTime::now()),
            (None, Some(back_off)) => spans.called_off(back_off, SystemTime::now()),
            (None, None) => {}
        }
    }

    /// Time goes by.
    pub(crate) fn tick(&mut self) {
        if let Some(spans) = &mut self.0 {
            spans.tick(SystemTime::now());
        }
    }

    /// The service is over.
    pub(crate) fn end(&mut self, cause: Cause) {
        if let Some(spans) = self.0.take() {
            spans.end(cause, SystemTime::now());
        }
    }
}
