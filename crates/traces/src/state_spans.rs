//! The observer of one machine: a span for each stay in a state, and below it one for each request that was sent then.
//!
//! A span leaves only when it is over, and a trace that never ends is one that no store can show. So a life is cut into
//! traces of at most a minute: a span of the service's own, the stays in it, their requests. What goes on in the next
//! minute is linked to what it goes on from. A request belongs to the minute in which it was sent.
//!
//! A stay so short that nobody could see it is counted on the minute, unless a request was sent in it, which would lack
//! its parent. So is a short request that was met, but for the first of its name in a second.

use std::time::{Duration, SystemTime};

use cdc_machine::{Answered, Cause, Request, StateName};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanContext, Status};

use crate::budget::Budget;
use crate::traces::{Current, Span, Traces};

/// How long a trace, and a stay in it, may get. The driver looks twice a second.
const MINUTE: Duration = Duration::from_secs(60);

/// What is shorter is counted.
const SHORTEST: Duration = Duration::from_millis(10);

/// How often a short request of each name has a span.
const SHORT_REQUEST_EVERY: Duration = Duration::from_secs(1);

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
    /// When a request of each name last had a span for certain.
    shown: Vec<(&'static str, SystemTime)>,
    stays: Budget,
    requests: Budget,
}

/// One minute of the life: the root of a trace.
#[derive(Debug)]
struct Minute {
    context: SpanContext,
    start: SystemTime,
    goes_on_from: Option<SpanContext>,
    short_stays: [Short; StateName::ALL.len()],
    short_requests: Vec<(&'static str, Short)>,
    stays_left_out: u64,
    requests_left_out: u64,
}

/// Stays in one state, or requests of one name, that have no span.
#[derive(Clone, Copy, Debug, Default)]
struct Short {
    count: u64,
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
    /// It has a span, however short it is.
    is_kept: bool,
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
            shown: Vec::new(),
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
        if self.out.len() >= REQUESTS_OUT {
            // The oldest: nobody will answer it any more.
            let oldest = self.out.remove(0);
            self.leave_request(oldest, &Outcome::Unanswered, now);
        }
        let is_kept = self.is_first(request.name, now);
        if is_kept && !self.stay.is_kept && self.stays.take(now) {
            self.stay.is_kept = true;
            self.show();
        }
        let parent = if self.stay.is_kept { &self.stay.context } else { &self.minute.context };
        let (context, parent) = (self.traces.new_child(parent), parent.clone());
        self.out.push(Out { request, context, parent, start: now, is_kept });
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
            self.leave_request(request, &Outcome::Unanswered, now);
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
            self.leave_request(asked, &outcome, now);
        }
    }

    /// True for the first request of this name within the time.
    fn is_first(&mut self, name: &'static str, now: SystemTime) -> bool {
        let shown = self.shown.iter_mut().find(|(shown, _)| *shown == name);
        match shown {
            Some((_, last)) if now.duration_since(*last).is_ok_and(|age| age < SHORT_REQUEST_EVERY) => {
                return false;
            }
            Some((_, last)) => *last = now,
            None => self.shown.push((name, now)),
        }
        true
    }

    /// A request is over: it leaves as a span, or is counted.
    fn leave_request(&mut self, request: Out, outcome: &Outcome, now: SystemTime) {
        let time = now.duration_since(request.start).unwrap_or_default();
        if !request.is_kept && time < SHORTEST && matches!(outcome, Outcome::Answered | Outcome::CalledOff) {
            self.minute.count_request(request.request.name, time);
        } else if self.requests.take(now) {
            self.finish(request.span(outcome, now));
        } else {
            self.minute.requests_left_out += 1;
        }
    }

    /// A stay is over: it leaves as a span, or is counted. Says as which span it left.
    fn leave(&mut self, stay: Stay, how: Vec<KeyValue>, now: SystemTime) -> Option<SpanContext> {
        let time = now.duration_since(stay.start).unwrap_or_default();
        if !stay.is_kept && time < SHORTEST {
            self.minute.short_stays[stay.state as usize].add(time);
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
        let lasts_from = if *is_kept { *start } else { *start + SHORTEST };
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
            short_stays: Default::default(),
            short_requests: Vec::new(),
            stays_left_out: 0,
            requests_left_out: 0,
        }
    }

    fn count_request(&mut self, name: &'static str, time: Duration) {
        match self.short_requests.iter_mut().find(|(counted, _)| *counted == name) {
            Some((_, short)) => short.add(time),
            None => self.short_requests.push((name, Short { count: 1, time })),
        }
    }

    fn span(self, name: &'static str, now: SystemTime) -> Span {
        let mut span = Span::new(self.context, None, name, (self.start, now));
        span.links = links(self.goes_on_from);
        let stays = StateName::ALL.into_iter().zip(self.short_stays).filter(|(_, short)| short.count > 0);
        let stays = stays.map(|(state, short)| (format!("cdc.short_stays.{state}"), short));
        let requests = self.short_requests.into_iter();
        let requests =
            requests.map(|(name, short)| (format!("cdc.short_requests.{}", name.replace(' ', ".")), short));
        for (key, short) in stays.chain(requests) {
            span.attributes.push(KeyValue::new(format!("{key}.count"), count(short.count)));
            span.attributes.push(KeyValue::new(format!("{key}.seconds"), short.time.as_secs_f64()));
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
        self.count += 1;
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
