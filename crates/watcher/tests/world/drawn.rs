//! Moves out of any bytes, for the fuzzer.

use cdc_machine::Fault;
use cdc_watcher::{Config, OnHistoryLost};

use super::{Move, Outcome, World};

/// More moves say nothing new, and take long.
const MOVES_MAX: usize = 400;

const FAULTS: [Fault; 7] = [
    Fault::Transient,
    Fault::RetryNow,
    Fault::Auth,
    Fault::Fatal,
    Fault::Fenced,
    Fault::TooLarge,
    Fault::HistoryLost,
];

fn outcome(byte: u8) -> Outcome {
    match usize::from(byte) % 28 {
        // The last two are losses, which only some configurations are made for.
        fault @ 0..5 => Outcome::Bad(FAULTS[fault]),
        _ => Outcome::Good,
    }
}

/// One move from two bytes. Without `losses` nothing is lost that no restart brings back.
fn next(kind: u8, detail: u8, losses: bool) -> Move {
    match kind % 24 {
        0 | 1 => Move::Write(detail % 6),
        2..=5 => Move::Source(outcome(detail), detail / 28),
        6 => Move::LateBatch,
        7..=9 => Move::Report(detail / 28 % 4, outcome(detail)),
        10 => Move::AllDelivered,
        11 => Move::TooLarge(detail % 4),
        12 => Move::Producer(outcome(detail)),
        13 => Move::LoseProducer,
        14 => Move::Store(outcome(detail)),
        15 | 16 => Move::Lease(outcome(detail)),
        17 => Move::LeaseHeld,
        18 | 19 => Move::Timer(detail % 8),
        20 => match detail % 8 {
            0 => Move::Drain,
            1 => Move::DrainTimeout,
            2 => Move::Abort,
            _ => Move::Crash,
        },
        21 if losses => match detail % 8 {
            0 => Move::CrashAndFlush,
            1 => Move::CrashAndDamage,
            2 => Move::DeleteTopic,
            3 | 4 => Move::Source(Outcome::Bad(FAULTS[6]), detail / 8 % 6),
            _ => Move::Report(detail / 8 % 4, Outcome::Bad(FAULTS[5 + usize::from(detail / 128)])),
        },
        _ => Move::Lease(Outcome::Good),
    }
}

/// A world in which these bytes happen, and then all is well: it catches up, and drains.
pub(crate) fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let credit = [1, 2, 4, 9][usize::from(first >> 1) % 4];
    let losses = first & 1 == 1;
    let mut world = World::new(Config {
        max_replay_events: credit,
        token_save_interval: credit.div_ceil(2),
        max_fetch_events: 3,
        max_in_flight_bytes: 3,
        on_history_lost: if losses { OnHistoryLost::FromNow } else { OnHistoryLost::Stop },
        ..Config::default()
    });
    for pair in rest.chunks_exact(2).take(MOVES_MAX) {
        world.make(&next(pair[0], pair[1], losses));
    }
    world.catch_up();
    world.drain();
}
