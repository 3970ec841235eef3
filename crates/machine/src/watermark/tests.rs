use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

fn event(position: u32) -> Slot<u32> {
    Slot { position, weight: 1, bytes: 10, reports: 1 }
}

#[test]
fn the_position_waits_for_the_oldest_slot() {
    let mut w = Watermark::starting_at(SeqNo(0));
    let (a, b) = (w.open(event(1)), w.open(event(2)));
    assert_eq!(w.settle(b), Settlement::Settled);
    assert_eq!(w.prefix(), None);
    assert_eq!(w.settle(a), Settlement::Settled);
    assert_eq!(w.prefix().map(|p| *p.position()), Some(2));
    assert_eq!(w.settle(a), Settlement::Stale);
}

#[test]
fn idle_positions_merge_take_no_credit_and_wait_their_turn() {
    let mut w = Watermark::starting_at(SeqNo(0));
    let a = w.open(event(1));
    let idle = w.open_settled(2);
    assert_eq!(w.open_settled(3), idle);
    assert_eq!((w.prefix(), w.unsaved_weight()), (None, 1));
    w.settle(a);
    assert_eq!(w.prefix().map(|p| *p.position()), Some(3));
}

#[test]
fn a_rewind_makes_late_completions_stale() {
    let mut w = Watermark::starting_at(SeqNo(0));
    let a = w.open(event(1));
    let b = w.open(event(2));
    w.settle(a);
    w.rewind();
    assert_eq!(w.settle(b), Settlement::Stale);
    assert_eq!(w.newest(), Some(&1));
    assert_eq!(w.unsaved_weight(), 1);
    let again = w.open(event(2));
    assert!(again > b);
    w.settle(again);
    assert_eq!(w.prefix().map(|p| *p.position()), Some(2));
}

#[test]
fn a_failed_slot_is_out_of_flight_and_holds_the_prefix_until_a_rewind() {
    let mut w = Watermark::starting_at(SeqNo(0));
    let (a, b, c) = (w.open(event(1)), w.open(event(2)), w.open(event(3)));
    assert_eq!(w.fail(b), Settlement::Settled);
    assert_eq!((w.fail(b), w.settle(b)), (Settlement::Stale, Settlement::Stale));
    w.settle(a);
    w.settle(c);
    assert_eq!((w.unsettled(), w.unsettled_bytes()), (0, 0));
    assert_eq!(w.prefix().map(|p| *p.position()), Some(1));
    assert_eq!(w.check(), Ok(()));
    w.rewind();
    assert_eq!((w.newest(), w.unsaved_weight()), (Some(&1), 1));
}

#[test]
fn a_slot_of_many_reports_settles_with_the_last_of_them() {
    let mut w = Watermark::starting_at(SeqNo(0));
    let all = w.open(Slot { reports: 3, ..event(1) });
    let next = w.open(event(2));
    assert_eq!(w.settle(next), Settlement::Settled);
    assert_eq!((w.settle(all), w.settle(all)), (Settlement::Awaited, Settlement::Awaited));
    assert_eq!((w.prefix(), w.unsettled(), w.check()), (None, 1, Ok(())));
    assert_eq!((w.settle(all), w.settle(all)), (Settlement::Settled, Settlement::Stale));
    assert_eq!(w.prefix().map(|p| *p.position()), Some(2));
}

#[test]
fn one_bad_report_of_many_fails_the_slot_once_all_are_there() {
    let mut w = Watermark::starting_at(SeqNo(0));
    let all = w.open(Slot { reports: 3, ..event(1) });
    assert_eq!((w.settle(all), w.fail(all)), (Settlement::Awaited, Settlement::Awaited));
    assert!(w.is_in_flight(all), "its third copy is still on its way");
    assert_eq!(w.settle(all), Settlement::Settled);
    assert_eq!((w.prefix(), w.unsettled(), w.check()), (None, 0, Ok(())));
}

#[derive(Clone, Debug)]
enum Move {
    Open,
    OpenMany(u32),
    Idle,
    /// Reports on the slots so far from the newest, at once.
    Settle(Vec<usize>),
    Save,
    Rewind,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    prop::collection::vec(
        prop_oneof![
            4 => Just(Move::Open),
            1 => (2u32..4).prop_map(Move::OpenMany),
            1 => Just(Move::Idle),
            5 => prop::collection::vec(0usize..12, 1..4).prop_map(Move::Settle),
            2 => Just(Move::Save),
            1 => Just(Move::Rewind),
        ],
        0..200,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
    /// Validates: Requirements 3.3
    ///
    /// The oracle is a plain list of (slot, position, settled): the watermark's prefix is the list's.
    #[test]
    fn the_prefix_is_what_a_plain_list_says(moves in moves()) {
        let mut w = Watermark::starting_at(SeqNo(7));
        // What is still owed to a slot: 0 once it is settled.
        let mut list: Vec<(SeqNo, u32, u32)> = Vec::new();
        let mut position = 0;
        for m in moves {
            match m {
                Move::Open => {
                    position += 1;
                    list.push((w.open(event(position)), position, 1));
                }
                Move::OpenMany(reports) => {
                    position += 1;
                    list.push((w.open(Slot { reports, ..event(position) }), position, reports));
                }
                Move::Idle => {
                    position += 1;
                    let seq = w.open_settled(position);
                    match list.last_mut() {
                        Some(last) if last.0 == seq => last.1 = position,
                        _ => list.push((seq, position, 0)),
                    }
                }
                Move::Settle(backs) => {
                    let (mut seqs, mut expected) = (Vec::new(), Vec::new());
                    for back in backs {
                        let index = list.len().checked_sub(back + 1);
                        let Some(entry) = index.and_then(|i| list.get_mut(i)) else { continue };
                        seqs.push(entry.0);
                        expected.push(match entry.2 {
                            0 => Settlement::Stale,
                            1 => Settlement::Settled,
                            _ => Settlement::Awaited,
                        });
                        entry.2 = entry.2.saturating_sub(1);
                    }
                    let mut told = Vec::new();
                    if let [seq] = seqs[..] {
                        told.push(w.settle(seq));
                    } else {
                        w.settle_all(&seqs, |_, settlement| told.push(settlement));
                    }
                    prop_assert_eq!(told, expected);
                }
                Move::Save => {
                    if let Some(prefix) = w.unsaved_prefix().cloned() {
                        w.mark_saved(&prefix);
                        prop_assert!(w.unsaved_prefix().is_none());
                        prop_assert_eq!(w.savable_weight(), 0);
                    }
                }
                Move::Rewind => {
                    w.rewind();
                    let kept = list.iter().take_while(|entry| entry.2 == 0).count();
                    list.truncate(kept);
                }
            }
            prop_assert_eq!(w.check(), Ok(()));
            let expected = list.iter().take_while(|entry| entry.2 == 0).last().map(|entry| entry.1);
            prop_assert_eq!(w.prefix().map(|p| *p.position()), expected);
            prop_assert_eq!(w.unsettled(), list.iter().filter(|entry| entry.2 > 0).count() as u64);
        }
    }
}
