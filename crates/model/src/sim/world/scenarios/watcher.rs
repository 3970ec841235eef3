//! From the source to Kafka: positions, acknowledgements, the token record.

use cdc_machine::{Cause, SeqNo};
use cdc_watcher::{Input, OnHistoryLost};

use super::{DELETE, PUT, Script, apart};
use crate::sim::kafka::InFlight;
use crate::sim::message::{Kind, partition_of};
use crate::sim::schedule::{Act, How};

/// Scenario 1: an acknowledgement that comes after a reconnection, to messages of before, counts for nothing.
#[test]
fn a_late_report_of_a_former_producer_covers_nothing() {
    let mut script = Script::of(|_| {});
    let (a, b) = apart();
    let first = script.write(PUT, a);
    script.write(PUT, b);
    script.good(Act::Fetch);
    let sent = |it: &InFlight| it.seq;
    let queues = |script: &Script| -> Vec<SeqNo> {
        script.world.watchers[0].iter().flat_map(|it| it.producer.queues.iter().flatten().map(sent)).collect()
    };
    let former = queues(&script);
    assert_eq!(former.len(), 2);
    script.make(Act::LoseProducer, 0, 0, How::Good);
    script.wait_for(Act::Prepare, 0);
    script.go_on_without(&[Act::Append, Act::Report]);
    assert_eq!(queues(&script).len(), 2, "both are read and sent again");
    script.world.tell(0, Input::Delivered { seqs: former });
    script.let_it_save();
    assert!(script.saved() < first, "nothing is saved that Kafka has not got");
    script.end();
}

/// Scenario 2: the second of two messages is acknowledged, the first is not, and the process dies.
#[test]
fn a_crash_between_two_acknowledgements_loses_nothing() {
    let mut script = Script::of(|_| {});
    let (a, b) = apart();
    let first = script.write(PUT, a);
    let second = script.write(PUT, b);
    script.good(Act::Fetch);
    let partition = u16::try_from(partition_of(0, b)).unwrap_or(0);
    script.make(Act::Append, 0, partition, How::Good);
    script.make(Act::Report, 0, 1 << partition, How::Good);
    script.let_it_save();
    assert!(script.saved() < first && first < second, "{} covers {first}", script.saved());
    script.make(Act::Crash, 0, 0, How::Good);
    script.end();
}

/// Scenario 3: the source is idle while the last event is unacknowledged: the idle position waits for it.
#[test]
fn an_idle_position_does_not_pass_what_is_in_flight() {
    let mut script = Script::of(|_| {});
    let change = script.write(PUT, 0);
    script.good(Act::Fetch);
    // Nothing to deliver, but the position moves on.
    let noise = script.write(6, 0);
    script.good(Act::Fetch);
    assert!(noise > change);
    script.let_it_save();
    assert!(script.saved() < change, "{} covers {change}", script.saved());
    script.go_on();
    script.let_it_save();
    script.go_on();
    assert_eq!(script.saved(), noise, "then it is saved, without another event");
    script.end();
}

fn without_a_record(fault: Act, cause: Cause) {
    let mut script = Script::of(|options| options.watcher.on_history_lost = OnHistoryLost::Stop);
    script.write(PUT, 0);
    script.go_on();
    script.let_it_save();
    script.make(Act::Crash, 0, 0, How::Good);
    let missed = script.write(PUT, 1);
    script.make(fault, 0, 0, How::Good);
    script.good(Act::Start);
    script.go_on_without(&[Act::Start]);
    let ended = script.world.watchers[0].as_ref().and_then(|process| process.machine.cause());
    assert_eq!(ended, Some(cause), "it stops, and does not begin at the present");
    assert_eq!(script.row(1), None);
    // A person has decided for `from_now`: what was missed is on record.
    script.go_on();
    assert!(script.world.oracles.delivery.is_excused(missed), "a gap names what was missed");
    script.write(PUT, 1);
    script.end();
}

/// Scenario 5: the token record is gone, beside topics that hold messages.
#[test]
fn a_missing_record_stops_the_service_and_never_means_now() {
    without_a_record(Act::FlushStore, Cause::TokenMissing);
}

/// Scenario 5: the token record cannot be read.
#[test]
fn a_damaged_record_stops_the_service_and_never_means_now() {
    without_a_record(Act::DamageStore, Cause::TokenDamaged);
}

/// Scenario 9: a document is updated, and deleted before the update is looked up.
#[test]
fn an_update_whose_document_is_gone_makes_no_row() {
    let mut script = Script::of(|options| options.looks_up = true);
    script.write(PUT, 0);
    script.go_on();
    assert!(script.row(0).is_some());
    script.write(PUT, 0);
    script.write(DELETE, 0);
    script.go_on();
    let log = &script.world.kafka.logs[partition_of(0, 0)];
    assert!(log.from(0).any(|it| it.message.kind == Kind::Absent), "the update was looked up too late");
    assert_eq!(script.row(0), None);
    script.end();
}

/// Scenario 25: a Watcher freezes for longer than its lease lasts; another one takes its place, and then it goes on.
#[test]
fn only_the_new_term_can_save() {
    let mut script = Script::of(|_| {});
    script.write(PUT, 0);
    script.go_on_without(&[Act::Save]);
    script.wait_for(Act::Save, 0);
    script.make(Act::Supplant, 0, 0, How::Good);
    script.go_on();
    let incarnation = |script: &Script| script.world.store.record().map(|record| record.incarnation);
    let (term, saved) = (incarnation(&script), script.saved());
    script.make(Act::Thaw, 1, 0, How::Good);
    script.make(Act::Save, 1, 0, How::Good);
    assert_eq!((incarnation(&script), script.saved()), (term, saved), "the record is the new one's");
    assert!(script.world.watchers[1].is_none(), "the old one has heard that it lost the lease, and ended");
    script.end();
}
