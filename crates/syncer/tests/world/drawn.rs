//! Moves out of any bytes, for the fuzzer.

use std::time::Duration;

use cdc_machine::{Fault, Retry};
use cdc_syncer::{Config, OnBadRecord, OnTableError, OnUniqueViolation, Retries, StopAfter};

use super::{Move, Naming, Outcome, RECORD_BYTES_MAX, World};

/// More moves say nothing new, and take long.
const MOVES_MAX: usize = 400;

fn outcome(byte: u8) -> Outcome {
    let bit = byte >= 128;
    match byte % 32 {
        0 | 1 => Outcome::Rejected(byte / 32),
        2 => Outcome::Refused(byte / 32),
        3 | 4 => Outcome::Bad(Fault::Transient, bit),
        5 => Outcome::Bad(Fault::Unreachable, bit),
        6 => Outcome::Bad(Fault::RetryNow, false),
        7 => Outcome::Bad(Fault::Blocked, false),
        8 => Outcome::Bad(Fault::Poison, false),
        9 => Outcome::Bad(Fault::TooLarge, false),
        10 => Outcome::Bad(Fault::Fenced, false),
        11 => {
            Outcome::Bad([Fault::HistoryLost, Fault::Auth, Fault::Fatal][usize::from(byte / 32) % 3], false)
        }
        _ => Outcome::Good,
    }
}

/// Connections mostly come about: what is of interest lies behind them.
fn connection(byte: u8) -> Outcome {
    match byte {
        0 => Outcome::Bad(Fault::Transient, false),
        1 => Outcome::Rejected(0),
        _ => Outcome::Good,
    }
}

fn naming(detail: u8) -> Naming {
    let (a, b, c) = (detail % 9, detail / 9 % 9, detail / 4 % 9);
    match detail % 5 {
        0 | 1 => Naming::Fresh(a),
        2 => Naming::Delete(a),
        3 => Naming::Swap(a, b),
        _ if b == c => Naming::HandOver(a, b),
        _ => Naming::Rotate(a, b, c),
    }
}

/// One move from two bytes.
fn next(kind: u8, detail: u8, renames: bool) -> Move {
    match kind % 32 {
        0..=5 if renames => Move::Rename(naming(detail)),
        0..=5 => Move::Produce(detail % 9, detail / 128, 1 + u32::from(detail) % RECORD_BYTES_MAX),
        6 => Move::Answer(detail / 32, connection(detail)),
        7 => Move::Join(connection(detail)),
        8 => Move::Leave,
        9 => Move::ConsumerFails(if detail < 128 { Fault::Transient } else { Fault::Fenced }),
        10 | 11 => Move::Assign(detail),
        12 => Move::Revoke(detail),
        13 => Move::Lose(detail),
        14 | 15 => Move::Acquire(connection(detail)),
        16 => Move::Behind(connection(detail)),
        17 => Move::CheckLedger(outcome(detail)),
        18 => match detail % 8 {
            0 | 1 => Move::Break(detail / 8, detail > 128),
            2..=4 => Move::Mend(detail / 8),
            5 if !renames => Move::Expire(detail / 8, 1 + detail % 3),
            6 => Move::Backup,
            _ => Move::Restore,
        },
        19..=21 => Move::Poll(1 + u32::from(detail % 8)),
        22..=24 => Move::Write(detail / 32, outcome(detail)),
        25 => Move::Retry(detail / 32, outcome(detail)),
        26 => Move::DeadLetter(detail / 32, outcome(detail)),
        27 => Move::Commit(outcome(detail)),
        28 | 29 => Move::Timer(detail % 8),
        30 => match detail % 8 {
            0 => Move::Drain,
            1 => Move::Abort,
            _ => Move::Crash(detail / 8),
        },
        _ => Move::Acquire(Outcome::Good),
    }
}

/// A world in which these bytes happen, and then all is well: it catches up.
pub(crate) fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let bit = |place: u8| first >> place & 1 == 1;
    let renames = bit(0);
    let config = Config {
        buffer_size: if bit(1) { 1 } else { 3 },
        buffer_bytes: 20,
        channel_buffer: if bit(2) { 0 } else { 2 },
        pool_size: if bit(1) { 1 } else { 2 },
        max_buffered_bytes: 60,
        max_fetch_records: 4,
        linger: if bit(3) { Duration::from_millis(500) } else { Duration::ZERO },
        on_bad_record: if bit(4) { OnBadRecord::Skip } else { OnBadRecord::DeadLetter },
        on_unique_violation: if bit(5) && !renames {
            OnUniqueViolation::Skip
        } else {
            OnUniqueViolation::Park
        },
        on_table_error: if bit(6) { OnTableError::Stop } else { OnTableError::Hold },
        stop_after: if bit(7) {
            StopAfter { share: StopAfter::WHOLE / 3, window: 8, at_least: 3 }
        } else {
            StopAfter::default()
        },
        retries: Retries {
            kafka: Retry::times(2),
            postgres_connect: Retry::times(2),
            postgres_write: Retry::times(2),
        },
        ..Config::default()
    };
    let mut world = if renames { World::faultless(config) } else { World::new(config) };
    for pair in rest.chunks_exact(2).take(MOVES_MAX) {
        world.make(next(pair[0], pair[1], renames));
    }
    world.catch_up();
}
