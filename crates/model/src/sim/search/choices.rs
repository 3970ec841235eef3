//! Which moves may come next: every act that is possible, in every way that makes a difference.

use super::bounds::Bounds;
use super::scopes::Scope;
use crate::sim::group::each;
use crate::sim::kafka::Stage as Sent;
use crate::sim::message::PARTITIONS;
use crate::sim::postgres::Stage;
use crate::sim::schedule::{Act, How, Move};
use crate::sim::syncing::Syncing;
use crate::sim::watching::Watching;
use crate::sim::world::{WATCHERS, World};

/// A process may have lost so many messages of a queue to the wire, at most.
const ON_THE_WIRE_MAX: usize = 3;
/// The argument of a crash that leaves a save on its way.
const LATE_SAVE: u16 = 8;
/// The argument of a transaction's move that writes planted tombstones first.
const BURY: u16 = 0x80;

/// The moves that may come next in this world, with what is left for misfortunes after each.
pub fn choices(world: &World, scope: &Scope, left: &Bounds, found: &mut Vec<(Move, Bounds)>) {
    found.clear();
    // Nobody sees a write that no majority has, and no election takes one back here.
    if world.can(Act::Replicate, 0) {
        return found.push((Move { act: Act::Replicate, who: 0, arg: 0, how: How::Good }, *left));
    }
    for act in scope.acts {
        for who in 0..WATCHERS {
            if !world.can(*act, who) {
                continue;
            }
            let who_byte = u8::try_from(who).unwrap_or(0);
            ends(world, scope, *act, who, &mut |arg, how| {
                let r#move = Move { act: *act, who: who_byte, arg, how };
                found.extend(left.after(r#move).map(|left| (r#move, left)));
            });
        }
    }
}

/// Each argument and each end of an act that make a difference.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others end one way")]
fn ends(world: &World, scope: &Scope, act: Act, who: usize, take: &mut dyn FnMut(u16, How)) {
    let watcher = world.watchers[who].as_ref();
    let syncer = world.syncers[who].as_ref();
    let mut all = |args: &mut dyn Iterator<Item = usize>, hows: &[How]| {
        for arg in args {
            let arg = u16::try_from(arg).unwrap_or(0);
            hows.iter().for_each(|how| take(arg, *how));
        }
    };
    let once = || std::iter::once(0);
    let unless_heard = [How::Good, How::Failed, How::Unheard];
    match act {
        Act::Write => {
            let next = scope.writes.get(world.written as usize);
            all(&mut next.into_iter().map(|write| usize::from(*write)), &[How::Good]);
        }
        Act::LateSave => all(&mut (0..world.late_saves.len()), &[How::Good]),
        Act::LateAppend => all(&mut (0..world.kafka.late.len()), &[How::Good]),
        Act::Answer => all(&mut (0..world.answers.len()), &[How::Good]),
        Act::Shift => all(&mut (0..PARTITIONS), &[How::Good]),
        Act::Fetch => {
            let most = watcher.and_then(|it| it.fetch).map_or(1, |(_, most, _)| most as usize);
            all(&mut (0..most), &[How::Good]);
            all(&mut once(), &[How::Failed]);
        }
        Act::Append => {
            let queues = watcher.into_iter().flat_map(|it| it.producer.queues.iter().enumerate());
            let sent = queues.filter(|(_, queue)| queue.iter().any(|it| it.stage == Sent::Sent));
            all(&mut sent.map(|(at, _)| at), &[How::Good, How::Failed, How::Unheard, How::Late]);
        }
        Act::Report => {
            let queues = watcher.into_iter().flat_map(|it| it.producer.queues.iter().enumerate());
            let is_answered = |queue: &std::collections::VecDeque<crate::sim::kafka::InFlight>| {
                queue.front().is_some_and(|it| it.stage != Sent::Sent)
            };
            let answered: Vec<usize> =
                queues.filter(|(_, queue)| is_answered(queue)).map(|(at, _)| 1 << at).collect();
            all(&mut answered.iter().copied(), &[How::Good]);
            if answered.len() > 1 {
                all(&mut once(), &[How::Good]);
            }
        }
        Act::Save => all(&mut once(), &[How::Good, How::Failed, How::Unheard, How::Late]),
        Act::Lease | Act::Renew | Act::Release | Act::Acquire | Act::MoveOffsets | Act::DeadLetter => {
            all(&mut once(), &unless_heard);
        }
        Act::Identify | Act::Open | Act::Connect | Act::Join | Act::CheckLedger => {
            all(&mut once(), &[How::Good, How::Failed]);
        }
        Act::Prepare => {
            all(&mut (0..=on_the_wire(watcher).min(2)), &[How::Good]);
            all(&mut once(), &[How::Failed]);
        }
        Act::LoseProducer => all(&mut (0..=on_the_wire(watcher)), &[How::Good]),
        Act::Crash | Act::CutPower => {
            all(&mut (0..=on_the_wire(watcher)), &[How::Good]);
            if watcher.is_some_and(|it| it.save.is_some()) {
                all(&mut (0..=on_the_wire(watcher)).map(|it| it + usize::from(LATE_SAVE)), &[How::Good]);
            }
        }
        Act::Poll => {
            let most = syncer.and_then(|it| it.fetch).map_or(1, |(most, _)| most as usize);
            let fetched = syncer.map_or(0, fetched);
            for first in each(fetched) {
                all(&mut (0..most).map(|count| first << 3 | count), &[How::Good]);
            }
        }
        Act::Commit => {
            all(&mut once(), &[How::Good, How::Failed, How::Unheard, How::Away]);
            all(&mut std::iter::once(1), &[How::Failed]);
        }
        Act::CrashSyncer => all(&mut commits(world, syncer), &[How::Good]),
        Act::Transact => transact(world, &mut all),
        _ => all(&mut once(), &[How::Good]),
    }
}

fn on_the_wire(process: Option<&Watching>) -> usize {
    process.map_or(0, |it| it.producer.most_sent().min(ON_THE_WIRE_MAX))
}

fn fetched(process: &Syncing) -> u8 {
    let fetching = process.fetching.iter().enumerate().filter(|(_, it)| it.is_some());
    fetching.fold(0, |set, (at, _)| set | 1 << at)
}

/// Which of a dying process's transactions commit: those whose statements are done may have their COMMIT on the wire.
fn commits(world: &World, process: Option<&Syncing>) -> impl Iterator<Item = usize> {
    let life = process.map(|it| it.life);
    let running =
        world.postgres.transactions.iter().filter(|it| Some(it.life) == life && it.orphan.is_none());
    let may_commit = running
        .enumerate()
        .filter(|(_, it)| it.stage == Stage::Applied)
        .fold(0, |set, (at, _)| set | 1_usize << at);
    (0..=may_commit).filter(move |set| set & !may_commit == 0)
}

/// Takes arguments, each with every one of these ends.
type TakeAll<'t> = dyn FnMut(&mut dyn Iterator<Item = usize>, &[How]) + 't;

fn transact(world: &World, all: &mut TakeAll<'_>) {
    if !world.unburied.is_empty() {
        all(&mut std::iter::once(usize::from(BURY)), &[How::Good]);
    }
    for (at, running) in world.postgres.transactions.iter().enumerate() {
        let hows: &[How] = match (running.orphan, running.stage) {
            (Some(_), _) => &[How::Good],
            (None, Stage::Applied) => &[How::Good, How::Failed, How::Unheard, How::Late],
            (None, Stage::New | Stage::Holding) => &[How::Good, How::Failed],
        };
        all(&mut std::iter::once(at), hows);
    }
}
