//! The observer of one machine: a span for each stay in a state, and below it one for each request that was sent then.
//!
//! A span leaves only when it is over, and a trace that never ends is one that no store can show. So a life is cut into
//! traces of at most a minute: a span of the service's own, the stays in it, their requests. What goes on in the next
//! minute is linked to what it goes on from. A request belongs to the minute in which it was sent.
//!
//! A stay so short that nobody could see it is counted on the minute, unless a request was sent in it, which would lack
//! its parent.

use std::time::{Duration, SystemTime};

use cdc_machine::{Answered, Cause, Request, StateName};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanContext, Status};

use crate::budget::Budget;
use crate::traces::{Current, Span, Traces};

/// How long a trace, and a stay in it, may get. The driver looks twice a second.
const MINUTE: Duration = Duration::from_secs(60);

/// A shorter stay is counted.
const SHORTEST_STAY: Duration = Duration::from_millis(10);

/// The most requests that are followed at a time. A machine has one of a sort out, but for workers and dead letters.
const REQUESTS_OUT: usize = 256;

/// Follows one machine.
#[derive(Debug)]
pub struct StateSpans {
    traces: Traces,
    name: &'static str,
    minute: Minute,
    stay: Stay,
    out: Vec<Out>,
    stays: Budget,
    requests: Budget,
}

/// One minute of the life: the root of a trace.
#[derive(Debug)]
struct Minute {
    context: SpanContext,
    start: SystemTime,
    goes_on_from: Option<SpanContext>,
    short: [Short; StateName::ALL.len()],
    stays_left_out: u64,
    requests_left_out: u64,
}

/// Stays in one state that have no span.
#[derive(Clone, Copy, Debug, Default)]
struct Short {
    stays: u64,
    time: Duration,
}

/// A stay in a state, or the part of it in this minute.
#[derive(Debug)]
struct Stay {
    context: SpanContext,
    start: SystemTime,
    goes_on_from: Option<SpanContext>,
    state: StateName,
    waits_for: &'static str,
    /// Something refers to it: it leaves, however short it is.
    is_kept: bool,
}

/// A request that is out.
#[derive(Debug)]
struct Out {
    request: Request,
    context: SpanContext,
    parent: SpanContext,
    start: SystemTime,
}

/// What became of a request.
enum Outcome {
    Answered,
    Failed(&'static str),
    CalledOff,
    Unanswered,
}

impl StateSpans {
    /// Begins with a service's first state; `None` where nothing is exported.
    #[must_use]
    pub fn begin(traces: &Traces, name: &'static str, state: StateName, now: SystemTime) -> Option<Self> {
        if !traces.are_on() {
            return None;
        }
        let minute = Minute::begin(traces, None, now);
        let stay = Stay::begin(traces, &minute, state, now);
        let spans = Self {
            traces: traces.clone(),
            name,
            minute,
            stay,
            out: Vec::new(),
            stays: Budget::new(now),
            requests: Budget::new(now),
        };
        spans.show();
        Some(spans)
    }

    /// What the machine waits for since its last step.
    pub const fn waits_for(&mut self, what: &'static str) {
        self.stay.waits_for = what;
    }

    /// The machine went on to another state, on an input of this name.
    pub fn moved(&mut self, to: StateName, input: &'static str, now: SystemTime) {
        self.tick(now);
        let next = Stay::begin(&self.traces, &self.minute, to, now);
        let left = std::mem::replace(&mut self.stay, next);
        let how = vec![KeyValue::new("cdc.ended_by", input), KeyValue::new("cdc.next_state", to.as_str())];
        self.leave(left, how, now);
        self.show();
    }

    /// A request goes out. What there are as many of as batches has no span.
    pub fn asked(&mut self, request: Request, now: SystemTime) {
        if request.is_of_batch {
            return;
        }
        if !self.requests.take(now) {
            self.minute.requests_left_out += 1;
            return;
        }
        if self.out.len() >= REQUESTS_OUT {
            // The oldest: nobody will answer it any more.
            let oldest = self.out.remove(0);
            self.finish(oldest.span(&Outcome::Unanswered, now));
        }
        if !self.stay.is_kept && self.stays.take(now) {
            self.stay.is_kept = true;
            self.show();
        }
        let parent = if self.stay.is_kept { &self.stay.context } else { &self.minute.context };
        let (context, parent) = (self.traces.new_child(parent), parent.clone());
        self.out.push(Out { request, context, parent, start: now });
    }

    /// A request is answered, or a back-off over.
    pub fn answered(&mut self, answered: Answered, now: SystemTime) {
        let outcome = answered.failure.map_or(Outcome::Answered, Outcome::Failed);
        self.end_request(answered.request, outcome, now);
    }

    /// A back-off ends before its time.
    pub fn called_off(&mut self, back_off: Request, now: SystemTime) {
        self.end_request(back_off, Outcome::CalledOff, now);
    }

    /// Time goes by. Cuts what has become too long.
    pub fn tick(&mut self, now: SystemTime) {
        if now.duration_since(self.minute.start).is_ok_and(|age| age < MINUTE) {
            return;
        }
        let next = Minute::begin(&self.traces, Some(self.minute.context.clone()), now);
        let stay = Stay::begin(&self.traces, &next, self.stay.state, now);
        let left = std::mem::replace(&mut self.stay, stay);
        self.stay.waits_for = left.waits_for;
        self.stay.goes_on_from = self.leave(left, vec![KeyValue::new("cdc.goes_on", true)], now);
        let minute = std::mem::replace(&mut self.minute, next);
        self.finish(minute.span(self.name, now));
        self.show();
    }

    /// The service is over. What is still out is answered to nobody.
    pub fn end(mut self, cause: Cause, now: SystemTime) {
        for request in std::mem::take(&mut self.out) {
            self.finish(request.span(&Outcome::Unanswered, now));
        }
        let next = Stay::begin(&self.traces, &self.minute, StateName::Stopped, now);
        let last = std::mem::replace(&mut self.stay, next);
        // It has ended with the stay before it, whose next state it is.
        if last.state != StateName::Stopped {
            self.leave(last, vec![KeyValue::new("cdc.next_state", StateName::Stopped.as_str())], now);
        }
        let Self { traces, name, minute, .. } = self;
        let mut span = minute.span(name, now);
        let text = cause.to_string();
        if cause != Cause::Drained {
            span.status = Status::error(text.clone());
        }
        span.attributes.push(KeyValue::new("cdc.cause", text));
        traces.finish(span);
        traces.set_current(None);
    }

    fn end_request(&mut self, request: Request, outcome: Outcome, now: SystemTime) {
        let asked = self.out.iter().position(|out| out.request == request);
        if let Some(asked) = asked.map(|at| self.out.remove(at)) {
            self.finish(asked.span(&outcome, now));
        }
    }

    /// A stay is over: it leaves as a span, or is counted. Says as which span it left.
    fn leave(&mut self, stay: Stay, how: Vec<KeyValue>, now: SystemTime) -> Option<SpanContext> {
        let time = now.duration_since(stay.start).unwrap_or_default();
        if !stay.is_kept && time < SHORTEST_STAY {
            self.minute.short[stay.state as usize].add(time);
            return None;
        }
        if !stay.is_kept && !self.stays.take(now) {
            self.minute.stays_left_out += 1;
            return None;
        }
        let context = stay.context.clone();
        self.finish(stay.span(&self.minute.context, how, now));
        Some(context)
    }

    fn finish(&self, span: Span) {
        self.traces.finish(span);
    }

    /// Lets the log know which span is under way.
    fn show(&self) {
        let Stay { context, start, is_kept, .. } = &self.stay;
        let lasts_from = if *is_kept { *start } else { *start + SHORTEST_STAY };
        let (span, whole) = (context.clone(), self.minute.context.clone());
        self.traces.set_current(Some(Current { span, whole, lasts_from }));
    }
}

impl Minute {
    fn begin(traces: &Traces, goes_on_from: Option<SpanContext>, now: SystemTime) -> Self {
        Self {
            context: traces.new_root(),
            start: now,
            goes_on_from,
            short: Default::default(),
            stays_left_out: 0,
            requests_left_out: 0,
        }
    }

    fn span(self, name: &'static str, now: SystemTime) -> Span {
        let mut span = Span::new(self.context, None, name, (self.start, now));
        span.links = links(self.goes_on_from);
        let short = StateName::ALL.into_iter().zip(self.short).filter(|(_, short)| short.stays > 0);
        for (state, Short { stays, time }) in short {
            let of = |what| format!("cdc.short_stays.{state}.{what}");
            span.attributes.push(KeyValue::new(of("count"), count(stays)));
            span.attributes.push(KeyValue::new(of("seconds"), time.as_secs_f64()));
        }
        let left_out =
            [("cdc.left_out.stays", self.stays_left_out), ("cdc.left_out.requests", self.requests_left_out)];
        let left_out = left_out.into_iter().filter(|(_, number)| *number > 0);
        span.attributes.extend(left_out.map(|(key, number)| KeyValue::new(key, count(number))));
        span
    }
}

impl Short {
    const fn add(&mut self, time: Duration) {
        self.stays += 1;
        self.time = self.time.saturating_add(time);
    }
}

impl Stay {
    fn begin(traces: &Traces, minute: &Minute, state: StateName, now: SystemTime) -> Self {
        Self {
            context: traces.new_child(&minute.context),
            start: now,
            goes_on_from: None,
            state,
            waits_for: "",
            is_kept: false,
        }
    }

    fn span(self, minute: &SpanContext, how: Vec<KeyValue>, now: SystemTime) -> Span {
        let mut span = Span::new(self.context, Some(minute.clone()), self.state.as_str(), (self.start, now));
        span.links = links(self.goes_on_from);
        span.attributes = how;
        if !self.waits_for.is_empty() {
            span.attributes.push(KeyValue::new("cdc.waited_for", self.waits_for));
        }
        span
    }
}

impl Out {
    fn span(self, outcome: &Outcome, now: SystemTime) -> Span {
        let mut span = Span::new(self.context, Some(self.parent), self.request.name, (self.start, now));
        match *outcome {
            Outcome::Answered => {}
            Outcome::Failed(failure) => {
                span.attributes.push(KeyValue::new("error.type", failure));
                span.status = Status::error(failure);
            }
            Outcome::CalledOff => span.attributes.push(KeyValue::new("cdc.called_off", true)),
            Outcome::Unanswered => span.attributes.push(KeyValue::new("cdc.unanswered", true)),
        }
        span
    }
}

fn links(from: Option<SpanContext>) -> Vec<Link> {
    from.into_iter().map(|from| Link::new(from, Vec::new(), 0)).collect()
}

/// OpenTelemetry's whole numbers have a sign.
fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
