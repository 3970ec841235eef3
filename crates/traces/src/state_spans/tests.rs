use std::collections::HashMap;
use std::time::SystemTime;

use cdc_machine::Dependency;
use opentelemetry::trace::{SpanId, Status};

use left::Left;

use super::*;

#[path = "../../tests/left/mod.rs"]
mod left;

/// A service under observation, and a clock that the test sets.
struct Observed {
    spans: Option<StateSpans>,
    left: Left,
    begun: SystemTime,
    names: HashMap<SpanId, String>,
    traces: Traces,
}

impl Observed {
    fn new() -> Self {
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let left = Left::default();
        let traces = Traces::to(left.clone());
        let spans = StateSpans::begin(&traces, "cdc.watcher", StateName::Connecting, begun);
        Self { spans, left, begun, names: HashMap::new(), traces }
    }

    fn at(&self, ms: u64) -> SystemTime {
        self.begun + Duration::from_millis(ms)
    }

    fn do_at(&mut self, ms: u64, what: impl FnOnce(&mut StateSpans, SystemTime)) {
        let now = self.at(ms);
        what(self.spans.as_mut().unwrap(), now);
    }

    fn moved(&mut self, ms: u64, to: StateName) {
        self.do_at(ms, |spans, now| spans.moved(to, "Fetched", now));
    }

    fn end(&mut self, ms: u64, cause: Cause) {
        let now = self.at(ms);
        self.spans.take().unwrap().end(cause, now);
    }

    /// What has left since the last time: `name from..to ms, where it belongs, what is known of it`.
    fn left(&mut self) -> Vec<String> {
        let spans = std::mem::take(&mut *self.left.0.lock().unwrap());
        for span in &spans {
            let since = span.start_time.duration_since(self.begun).unwrap().as_millis();
            self.names.insert(span.span_context.span_id(), format!("{}@{since}", span.name));
        }
        let name =
            |id: SpanId| self.names.get(&id).cloned().unwrap_or_else(|| "one that is under way".into());
        let ms = |time: SystemTime| time.duration_since(self.begun).unwrap().as_millis();
        let text = spans.iter().map(|span| {
            let mut text = format!("{} {}..{}", span.name, ms(span.start_time), ms(span.end_time));
            if span.parent_span_id != SpanId::INVALID {
                text += &format!(" in {}", name(span.parent_span_id));
            }
            for link in span.links.iter() {
                assert_ne!(link.span_context.trace_id(), span.span_context.trace_id());
                text += &format!(" after {}", name(link.span_context.span_id()));
            }
            for attribute in &span.attributes {
                text += &format!(" {}={}", attribute.key, attribute.value);
            }
            if let Status::Error { description } = &span.status {
                text += &format!(" error: {description}");
            }
            text
        });
        text.collect()
    }
}

fn request(name: &'static str, key: u64) -> Request {
    Request { name, key, is_of_batch: false }
}

fn answered(name: &'static str, key: u64, failure: Option<&'static str>) -> Answered {
    Answered { request: request(name, key), failure }
}

#[test]
fn a_stay_is_a_span_with_what_was_waited_for_and_the_input_that_ended_it() {
    let mut it = Observed::new();
    it.do_at(0, |spans, _| spans.waits_for("change_stream"));
    it.do_at(300, |spans, now| spans.moved(StateName::Streaming, "StreamOpened", now));
    it.do_at(300, |spans, _| spans.waits_for("event"));
    it.do_at(1_000, |spans, now| spans.moved(StateName::Stopped, "Signal Abort", now));
    it.end(1_200, Cause::Aborted);
    assert_eq!(
        it.left(),
        [
            "Connecting 0..300 in cdc.watcher@0 cdc.ended_by=StreamOpened cdc.next_state=Streaming \
             cdc.waited_for=change_stream",
            "Streaming 300..1000 in cdc.watcher@0 cdc.ended_by=Signal Abort cdc.next_state=Stopped \
             cdc.waited_for=event",
            &format!("cdc.watcher 0..1200 cdc.cause={0} error: {0}", Cause::Aborted),
        ]
    );
}

#[test]
fn a_request_belongs_to_the_state_in_which_it_was_sent() {
    let mut it = Observed::new();
    it.do_at(0, |spans, now| spans.asked(request("AcquireLease", 7), now));
    it.do_at(0, |spans, now| spans.asked(Request { is_of_batch: true, ..request("Fetch", 1) }, now));
    it.do_at(40, |spans, now| spans.answered(answered("AcquireLease", 8, None), now));
    it.do_at(50, |spans, now| spans.answered(answered("AcquireLease", 7, Some("held")), now));
    it.do_at(60, |spans, now| spans.asked(request("BackOff Reconnect", 1), now));
    it.do_at(70, |spans, now| spans.asked(request("OpenStream", 2), now));
    it.moved(80, StateName::Draining);
    it.do_at(90, |spans, now| spans.called_off(request("BackOff Reconnect", 1), now));
    it.end(100, Cause::Drained);
    assert_eq!(
        it.left(),
        [
            "AcquireLease 0..50 in Connecting@0 error.type=held error: held",
            "Connecting 0..80 in cdc.watcher@0 cdc.ended_by=Fetched cdc.next_state=Draining",
            "BackOff Reconnect 60..90 in Connecting@0 cdc.called_off=true",
            "OpenStream 70..100 in Connecting@0 cdc.unanswered=true",
            "Draining 80..100 in cdc.watcher@0 cdc.next_state=Stopped",
            &format!("cdc.watcher 0..100 cdc.cause={}", Cause::Drained),
        ]
    );
}

#[test]
fn short_stays_are_counted_unless_a_request_was_sent_in_them() {
    let mut it = Observed::new();
    it.moved(20, StateName::Streaming);
    for round in 0..3 {
        it.moved(20 + round * 10 + 4, StateName::AwaitingAck);
        it.moved(20 + round * 10 + 9, StateName::SavingToken);
        if round == 1 {
            it.do_at(39, |spans, now| spans.asked(request("SaveToken", 1), now));
        }
        it.moved(20 + round * 10 + 10, StateName::Streaming);
    }
    it.end(90, Cause::Drained);
    assert_eq!(
        it.left(),
        [
            "Connecting 0..20 in cdc.watcher@0 cdc.ended_by=Fetched cdc.next_state=Streaming",
            "SavingToken 39..40 in cdc.watcher@0 cdc.ended_by=Fetched cdc.next_state=Streaming",
            "SaveToken 39..90 in SavingToken@39 cdc.unanswered=true",
            "Streaming 50..90 in cdc.watcher@0 cdc.next_state=Stopped",
            &format!(
                "cdc.watcher 0..90 cdc.short_stays.Streaming.count=3 cdc.short_stays.Streaming.seconds=0.012 \
                 cdc.short_stays.AwaitingAck.count=3 cdc.short_stays.AwaitingAck.seconds=0.015 \
                 cdc.short_stays.SavingToken.count=2 cdc.short_stays.SavingToken.seconds=0.002 cdc.cause={}",
                Cause::Drained
            ),
        ]
    );
}

#[test]
fn a_long_stay_is_cut_every_minute_and_goes_on_from_its_predecessor() {
    let mut it = Observed::new();
    it.moved(20, StateName::Streaming);
    it.do_at(20, |spans, _| spans.waits_for("event"));
    it.do_at(59_999, |spans, now| spans.tick(now));
    it.do_at(59_999, |spans, now| spans.asked(request("RenewLease", 1), now));
    it.do_at(60_000, |spans, now| spans.tick(now));
    it.do_at(60_010, |spans, now| spans.answered(answered("RenewLease", 1, None), now));
    it.do_at(120_400, |spans, now| spans.tick(now));
    assert_eq!(
        it.left(),
        [
            "Connecting 0..20 in cdc.watcher@0 cdc.ended_by=Fetched cdc.next_state=Streaming",
            "Streaming 20..60000 in cdc.watcher@0 cdc.goes_on=true cdc.waited_for=event",
            "cdc.watcher 0..60000",
            "RenewLease 59999..60010 in Streaming@20",
            "Streaming 60000..120400 in cdc.watcher@60000 after Streaming@20 cdc.goes_on=true cdc.waited_for=event",
            "cdc.watcher 60000..120400 after cdc.watcher@0",
        ]
    );
    // A stay that has hardly begun when the minute is over is no predecessor.
    it.moved(180_395, StateName::AwaitingAck);
    it.do_at(180_400, |spans, now| spans.tick(now));
    it.moved(180_500, StateName::Streaming);
    let left = it.left();
    assert_eq!(
        left[2],
        "AwaitingAck 180400..180500 in one that is under way cdc.ended_by=Fetched cdc.next_state=Streaming"
    );
    assert!(
        left[1].ends_with("cdc.short_stays.AwaitingAck.count=1 cdc.short_stays.AwaitingAck.seconds=0.005")
    );
}

#[test]
fn at_most_twenty_stays_and_twenty_requests_a_second_have_a_span() {
    let mut it = Observed::new();
    for round in 0..50 {
        it.moved(round * 10 + 10, StateName::Streaming);
        it.do_at(round * 10 + 10, |spans, now| spans.asked(request("DeadLetter", round), now));
        it.do_at(round * 10 + 15, |spans, now| {
            spans.answered(answered("DeadLetter", round, Some("transient")), now);
        });
    }
    let left = it.left();
    let of = |name: &str| left.iter().filter(|span| span.starts_with(name)).count();
    assert_eq!((of("Connecting") + of("Streaming"), of("DeadLetter")), (20, 20));
    it.end(2_000, Cause::Unavailable(Dependency::Kafka));
    let last = it.left().pop().unwrap();
    assert!(last.contains("cdc.left_out.stays=30 cdc.left_out.requests=30 cdc.cause="), "{last}");
}

#[test]
fn of_short_requests_that_were_met_one_a_second_has_a_span_and_the_others_are_counted() {
    let mut it = Observed::new();
    for (round, took) in [(0, 1), (100, 2), (200, 30), (300, 3), (1_000, 1)] {
        it.do_at(round, |spans, now| spans.asked(request("SaveToken", round), now));
        it.do_at(round + took, |spans, now| spans.answered(answered("SaveToken", round, None), now));
    }
    it.do_at(1_100, |spans, now| spans.asked(request("SaveToken", 9), now));
    it.do_at(1_101, |spans, now| spans.answered(answered("SaveToken", 9, Some("fenced")), now));
    it.end(1_200, Cause::Drained);
    assert_eq!(
        it.left(),
        [
            "SaveToken 0..1 in Connecting@0",
            "SaveToken 200..230 in Connecting@0",
            "SaveToken 1000..1001 in Connecting@0",
            "SaveToken 1100..1101 in Connecting@0 error.type=fenced error: fenced",
            "Connecting 0..1200 in cdc.watcher@0 cdc.next_state=Stopped",
            &format!(
                "cdc.watcher 0..1200 cdc.short_requests.SaveToken.count=2 \
                 cdc.short_requests.SaveToken.seconds=0.005 cdc.cause={}",
                Cause::Drained
            ),
        ]
    );
}

#[test]
fn a_line_of_the_log_belongs_to_the_stay_once_that_will_leave() {
    let mut it = Observed::new();
    let current = |it: &Observed, ms| it.traces.current(it.at(ms)).map(|span| span.span_id());
    let whole = current(&it, 9);
    let stay = current(&it, 10);
    assert_ne!(whole, stay);
    it.moved(20, StateName::Streaming);
    assert_eq!(current(&it, 21), whole);
    it.do_at(22, |spans, now| spans.asked(request("SaveToken", 1), now));
    let kept = current(&it, 22);
    assert!(kept != whole && kept != stay);
    it.end(30, Cause::Drained);
    assert_eq!(current(&it, 31), None);
    let ids: Vec<_> = it.left.0.lock().unwrap().iter().map(|span| span.span_context.span_id()).collect();
    assert_eq!(ids, [stay, None, kept, whole].map(|id| id.unwrap_or(ids[1])));
}

#[test]
fn a_clock_that_is_set_back_makes_no_span_end_before_it_begins() {
    let mut it = Observed::new();
    it.begun -= Duration::from_secs(600);
    it.do_at(0, |spans, now| spans.asked(request("SaveToken", 1), now));
    it.do_at(0, |spans, now| spans.answered(answered("SaveToken", 1, None), now));
    it.moved(5, StateName::Streaming);
    it.end(10, Cause::Drained);
    let left = it.left.0.lock().unwrap();
    assert!(left.len() >= 3 && left.iter().all(|span| span.end_time >= span.start_time));
}

#[test]
fn nothing_is_observed_where_nothing_is_exported() {
    let spans =
        StateSpans::begin(&Traces::off(), "cdc.watcher", StateName::Connecting, SystemTime::UNIX_EPOCH);
    assert!(spans.is_none());
}
