//! Draws a schedule from its seed, or plays one again.

use super::coverage::Coverage;
use super::faults::Options;
use super::random::Random;
use super::schedule::{Act, How, Move};
use super::world::{WATCHERS, World};
use crate::invariants::Violation;

/// What a schedule came to.
#[derive(Debug)]
pub struct Outcome {
    /// The moves of the safety phase.
    pub moves: Vec<Move>,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// The digest of all that happened.
    pub hash: u64,
    /// What was seen.
    pub coverage: Coverage,
    /// Writes of clients.
    pub written: u32,
    /// What was told and ordered, where it was asked for.
    pub log: Vec<String>,
}

/// What happens by itself, and how willingly.
const EVERYDAY: [(Act, u32); 34] = [
    (Act::Write, 12),
    (Act::Replicate, 12),
    (Act::Tick, 0),
    (Act::Identify, 20),
    (Act::Lease, 20),
    (Act::Renew, 12),
    (Act::Release, 12),
    (Act::Prepare, 20),
    (Act::Open, 20),
    (Act::Fetch, 20),
    (Act::LateFetch, 4),
    (Act::Append, 24),
    (Act::Report, 20),
    (Act::Save, 16),
    (Act::LateSave, 2),
    (Act::LateAppend, 3),
    (Act::Start, 30),
    (Act::Thaw, 1),
    (Act::StartSyncer, 30),
    (Act::ThawSyncer, 1),
    (Act::TickSyncer, 0),
    (Act::Connect, 20),
    (Act::Join, 20),
    (Act::Leave, 12),
    (Act::News, 12),
    (Act::Acquire, 16),
    (Act::MoveOffsets, 16),
    (Act::CheckLedger, 10),
    (Act::Poll, 24),
    (Act::Transact, 40),
    (Act::Answer, 24),
    (Act::DeadLetter, 16),
    (Act::Commit, 16),
    (Act::BackUp, 1),
];

/// Draws the schedule of these options and plays it.
#[must_use]
pub fn run(options: Options) -> Outcome {
    let mut random = Random::new(options.seed);
    let mut world = World::new(options);
    let mut moves = Vec::with_capacity(world.options.moves as usize);
    let mut faults = fault_times(&world.options, &mut random);
    for at in 0..world.options.moves {
        let is_fault = faults.pop_if(|due| *due <= at).is_some();
        let drawn = if is_fault { draw_fault(&world, &mut random) } else { draw(&world, &mut random) };
        let Some(drawn) = drawn else { break };
        moves.push(drawn);
        world.make(drawn);
        if world.violation.is_some() {
            break;
        }
    }
    world.recover();
    finish(world, moves)
}

/// Plays these moves in the world of these options.
#[must_use]
pub fn replay(options: Options, moves: &[Move]) -> Outcome {
    play(World::new(options), moves)
}

/// The same, and writes down what was told and ordered.
#[must_use]
pub fn explain(options: Options, moves: &[Move]) -> Outcome {
    let mut world = World::new(options);
    world.log = Some(Vec::new());
    play(world, moves)
}

fn play(mut world: World, moves: &[Move]) -> Outcome {
    moves.iter().for_each(|it| world.make(*it));
    world.recover();
    finish(world, moves.to_vec())
}

fn finish(mut world: World, moves: Vec<Move>) -> Outcome {
    let (hash, written) = (world.hash(), world.written());
    world.coverage.close(written);
    let log = world.log.unwrap_or_default();
    Outcome { log, moves, violation: world.violation, hash, coverage: world.coverage, written }
}

/// When faults strike, the last one first.
fn fault_times(options: &Options, random: &mut Random) -> Vec<u32> {
    let mut times: Vec<u32> = (0..options.faults).map(|_| random.below(options.moves) + 1).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times
}

fn draw_fault(world: &World, random: &mut Random) -> Option<Move> {
    // The first one is a crash, so that no schedule is without.
    let is_first = world.coverage.faults() == 0;
    for _ in 0..8 {
        let act = if is_first { Act::Crash } else { random.pick(&world.options.kinds)? };
        let who = usize::from(random.permille(200));
        let who = if world.can(act, who) { who } else { 0 };
        if world.can(act, who) {
            let arg = u16::try_from(random.below(1 << 16)).unwrap_or(0);
            return Some(Move { act, who: u8::try_from(who).unwrap_or(0), arg, how: How::Good });
        }
    }
    draw(world, random)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others have their weights in the table")]
fn draw(world: &World, random: &mut Random) -> Option<Move> {
    let mut possible = [(Act::Write, 0u8, 0u32); EVERYDAY.len() * WATCHERS];
    let (mut count, mut total) = (0, 0);
    for (act, weight) in EVERYDAY {
        let weight = match act {
            Act::Tick | Act::TickSyncer => world.options.haste,
            Act::Answer => world.options.answers,
            _ => weight,
        };
        for who in 0..WATCHERS {
            if world.can(act, who) {
                total += weight;
                possible[count] = (act, u8::try_from(who).unwrap_or(0), total);
                count += 1;
            }
        }
    }
    let drawn = random.below(total);
    let (act, who, _) = possible[..count].iter().copied().find(|(_, _, upto)| drawn < *upto)?;
    let arg = u16::try_from(random.below(1 << 16)).unwrap_or(0);
    Some(Move { act, who, arg, how: draw_end(&world.options, random) })
}

fn draw_end(options: &Options, random: &mut Random) -> How {
    if !random.permille(options.bad) {
        How::Good
    } else if random.permille(options.odd) {
        How::Oddly
    } else {
        random.pick(&[How::Failed, How::Unheard, How::Unheard, How::Late, How::Away]).unwrap_or(How::Failed)
    }
}
