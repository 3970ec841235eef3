//! From Kafka to PostgreSQL: batches, hand-overs, lost replies.

use cdc_syncer::{Input, WriteOutcome};

use super::{DELETE, PUT, Script};
use crate::sim::message::{Kind, partition_of};
use crate::sim::postgres::{Stage, Work};
use crate::sim::schedule::{Act, How};

/// The records of the only batch that is to be written.
fn batch(script: &Script) -> Vec<Kind> {
    let [transaction] = script.world.postgres.transactions.as_slice() else {
        panic!("one batch is to be written")
    };
    match &transaction.work {
        Work::Write { batch, .. } => batch.rows().iter().map(|row| row.handle.kind).collect(),
        Work::Retry { .. } => panic!("nothing is parked"),
    }
}

/// What is written comes in one batch.
fn in_one_batch(shapes: &[u8]) -> Script {
    let mut script = Script::of(|_| {});
    script.write(PUT, 0);
    script.go_on();
    for shape in shapes {
        script.write(*shape, 0);
    }
    script.go_on_without(&[Act::Poll]);
    script.go_on_without(&[Act::Transact]);
    script
}

/// Scenario 8: an older state of a document arrives when its delete has been applied.
#[test]
fn a_deleted_row_stays_deleted() {
    let mut script = Script::of(|_| {});
    script.write(PUT, 0);
    script.go_on();
    script.write(PUT, 0);
    script.good(Act::Fetch);
    // The process dies, and its last message is still on the wire.
    script.make(Act::Crash, 0, 1, How::Good);
    script.write(DELETE, 0);
    script.go_on();
    assert_eq!(script.row(0), None, "the update was read again, and then the delete");
    script.make(Act::LateAppend, 0, 0, How::Good);
    script.go_on();
    assert_eq!(script.row(0), None, "the fence keeps it off");
    script.end();
}

/// Scenario 14: one document twice in a batch.
#[test]
fn of_one_document_in_a_batch_the_greatest_position_wins() {
    let mut script = in_one_batch(&[PUT, PUT]);
    assert_eq!(batch(&script), [Kind::Upsert, Kind::Upsert]);
    script.go_on();
    assert!(script.row(0).is_some() && script.is_as_its_document(0));
    script.end();
}

/// Scenario 15: a document is updated, deleted and inserted anew, in one batch.
#[test]
fn what_is_deleted_and_inserted_in_one_batch_is_there() {
    let mut script = in_one_batch(&[PUT, DELETE, PUT]);
    assert_eq!(batch(&script), [Kind::Upsert, Kind::Delete, Kind::Upsert]);
    script.go_on();
    assert!(script.row(0).is_some() && script.is_as_its_document(0));
    script.end();
}

/// Scenario 16: a partition goes to another member while a batch of it is being written; its former owner goes on later.
#[test]
fn a_former_owner_that_writes_late_is_refused() {
    let mut script = Script::of(|options| options.syncers = 2);
    let partition = partition_of(0, 0);
    let former = script.owner_of(partition);
    script.write(PUT, 0);
    script.go_on_without(&[Act::Transact]);
    script.make(Act::FreezeSyncer, former, 0, How::Good);
    script.go_on();
    assert!(script.world.group.owns(1 - former, partition));
    let row = script.row(0);
    assert!(row.is_some(), "the new owner has written it");
    script.make(Act::ThawSyncer, former, 0, How::Good);
    let late = script.world.postgres.transactions.iter().position(|it| it.stage == Stage::New);
    let late = late.unwrap_or_else(|| panic!("the former owner's batch is still to be written"));
    script.make(Act::Transact, 0, u16::try_from(late).unwrap_or(0), How::Good);
    let refused =
        |fact: &Input<_>| matches!(fact, Input::BatchWritten { result: WriteOutcome::Refused { .. }, .. });
    assert!(script.world.answers.iter().any(|(_, fact)| refused(fact)), "the ledger has refused it");
    assert_eq!(script.row(0), row);
    script.end();
}

/// A written batch whose offsets are not recorded yet, of a partition that is wanted back: its owner.
fn wanted_back() -> (Script, usize) {
    let mut script = Script::of(|options| options.syncers = 2);
    let partition = partition_of(0, 0);
    let owner = script.owner_of(partition);
    script.write(PUT, 0);
    script.go_on_without(&[Act::Commit]);
    script.make(Act::Shift, 0, u16::try_from(partition).unwrap_or(0), How::Good);
    script.make(Act::News, owner, 0, How::Good);
    assert!(script.world.group.owns(owner, partition), "it is given back once its offset is recorded");
    (script, owner)
}

/// Scenario 17: a partition is revoked while its offsets are pending.
#[test]
fn a_revocation_waits_for_the_commit_and_no_longer() {
    let (mut script, owner) = wanted_back();
    let partition = partition_of(0, 0);
    script.wait_for(Act::Commit, owner);
    script.make(Act::Commit, owner, 0, How::Away);
    assert!(script.world.group.owns(owner, partition), "the commit has failed, and is tried again");
    script.wait_for(Act::Commit, owner);
    script.make(Act::Commit, owner, 0, How::Good);
    assert!(script.world.group.owns(1 - owner, partition));
    script.end();
}

/// Scenario 17: the same, and nothing can be recorded.
#[test]
fn a_revocation_does_not_wait_for_a_commit_for_ever() {
    let (mut script, owner) = wanted_back();
    let (partition, began) = (partition_of(0, 0), script.world.now);
    while script.world.group.owns(owner, partition) {
        if script.world.can(Act::Commit, owner) {
            script.make(Act::Commit, owner, 0, How::Away);
        } else {
            script.make(Act::TickSyncer, owner, 0, How::Good);
        }
        let waited = script.world.now.saturating_sub(began);
        assert!(waited <= script.world.options.syncer.revocation_deadline, "{waited:?}");
    }
    script.end();
}

/// Scenario 18: PostgreSQL commits, and the connection dies before it says so.
#[test]
fn a_commit_of_which_nobody_heard_is_repeated_without_effect() {
    let mut script = Script::of(|_| {});
    script.write(PUT, 0);
    script.go_on_without(&[Act::Transact]);
    while script.world.postgres.transactions[0].stage != Stage::Applied {
        script.make(Act::Transact, 0, 0, How::Good);
    }
    script.make(Act::Transact, 0, 0, How::Unheard);
    let written = script.world.postgres.tables.rows;
    assert!(script.row(0).is_some());
    script.make(Act::Answer, 0, 0, How::Good);
    script.wait_for(Act::Transact, 0);
    script.go_on();
    assert_eq!(script.world.postgres.tables.rows, written);
    script.end();
}
