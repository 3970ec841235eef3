//! What is searched: three small worlds, and what may happen in each.

use std::time::Duration;

use cdc_machine::{Retry, labels};

use super::bounds::Bounds;
use super::goals::Goal;
use crate::sim::coverage::Coverage;
use crate::sim::faults::Options;
use crate::sim::schedule::{Act, How, Move};
use crate::sim::world::World;

labels! {
    /// A small world.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Which {
        /// A Watcher, its token store, crashes, and another process in its place.
        Watcher: "watcher",
        /// Syncers on a log that is there: a rebalance, a crash, and one that goes on when it is given up.
        Syncer: "syncer",
        /// One Syncer on a log that is there, and a database that is replaced by its copy.
        Database: "database",
        /// Both services, from the write to the row.
        Pipeline: "pipeline",
    }
}

/// A small world, and what may happen in it.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Which.
    pub which: Which,
    /// The machines' limits.
    pub options: Options,
    /// How it comes to where the search begins.
    pub prefix: Vec<Move>,
    /// What clients write, in this order: a capital letter makes or changes a document, a small one deletes it.
    pub script: String,
    /// The same as arguments of the moves.
    pub writes: Vec<u16>,
    /// What may happen.
    pub acts: &'static [Act],
    /// How often misfortune strikes.
    pub bounds: Bounds,
    /// The world gets well from every situation, or from one of so many.
    pub recover_every: u32,
    /// A path has so many moves at most.
    pub depth_max: u32,
}

/// The argument of a write: a capital letter makes or changes a document, a small one deletes it. The low byte is the
/// shape of the write, bits 9 to 11 say which document: see `World::write`. A and D are in one partition, B and C in
/// another.
fn write_of(letter: char) -> u16 {
    let shape = if letter.is_ascii_uppercase() { 8 } else { 4 };
    let document = ('A'..='F').position(|it| it.eq_ignore_ascii_case(&letter)).unwrap_or(0);
    shape | u16::try_from(document).unwrap_or(0) << 9
}

const WATCHER: [Act; 19] = [
    Act::Write,
    Act::Tick,
    Act::Identify,
    Act::Lease,
    Act::Renew,
    Act::Release,
    Act::Prepare,
    Act::Open,
    Act::Fetch,
    Act::LateFetch,
    Act::Append,
    Act::Report,
    Act::Save,
    Act::LateSave,
    Act::LateAppend,
    Act::Start,
    Act::Crash,
    Act::Supplant,
    Act::Thaw,
];

const SYNCER: [Act; 17] = [
    Act::TickSyncer,
    Act::Connect,
    Act::Join,
    Act::Leave,
    Act::News,
    Act::Acquire,
    Act::MoveOffsets,
    Act::CheckLedger,
    Act::Poll,
    Act::Transact,
    Act::Answer,
    Act::DeadLetter,
    Act::Commit,
    Act::CrashSyncer,
    Act::FreezeSyncer,
    Act::ThawSyncer,
    Act::Evict,
];

const DATABASE: [Act; 14] = [
    Act::TickSyncer,
    Act::Connect,
    Act::Join,
    Act::Leave,
    Act::News,
    Act::Acquire,
    Act::CheckLedger,
    Act::Poll,
    Act::Transact,
    Act::Answer,
    Act::DeadLetter,
    Act::Commit,
    Act::BackUp,
    Act::Restore,
];

const PIPELINE: [Act; 33] = [
    Act::Write,
    Act::Tick,
    Act::Identify,
    Act::Lease,
    Act::Renew,
    Act::Release,
    Act::Prepare,
    Act::Open,
    Act::Fetch,
    Act::LateFetch,
    Act::Append,
    Act::Report,
    Act::Save,
    Act::LateSave,
    Act::LateAppend,
    Act::Start,
    Act::Crash,
    Act::StartSyncer,
    Act::TickSyncer,
    Act::Connect,
    Act::Join,
    Act::Leave,
    Act::News,
    Act::Acquire,
    Act::MoveOffsets,
    Act::CheckLedger,
    Act::Poll,
    Act::Transact,
    Act::Answer,
    Act::DeadLetter,
    Act::Commit,
    Act::CrashSyncer,
    Act::Evict,
];

const OF_WATCHER: [Goal; 8] = [
    Goal::CrashThenSave,
    Goal::LateSaveTaken,
    Goal::LateSaveRefused,
    Goal::UnheardSave,
    Goal::ReplacedWatcherEnds,
    Goal::Replayed,
    Goal::LateAppend,
    Goal::AllSaved,
];
const OF_SYNCER: [Goal; 7] = [
    Goal::RevokedInFlight,
    Goal::LostInFlight,
    Goal::HandedOver,
    Goal::ZombieRefused,
    Goal::OrphanCommits,
    Goal::ReadAgain,
    Goal::AllRecorded,
];
const OF_DATABASE: [Goal; 1] = [Goal::RestoreNoticed];
const OF_PIPELINE: [Goal; 5] = [
    Goal::Replayed,
    Goal::ReadAgain,
    Goal::LostInFlight,
    Goal::ConvergedAfterCrash,
    Goal::ConvergedAfterLoss,
];

impl Scope {
    /// Clients write as the script says, and misfortune strikes so often.
    #[must_use]
    pub fn new(which: Which, script: &str, bounds: Bounds) -> Self {
        let writes: Vec<u16> = script.chars().map(write_of).collect();
        let (syncers, acts): (_, &[Act]) = match which {
            Which::Watcher => (0, &WATCHER),
            Which::Syncer => (2, &SYNCER),
            Which::Database => (1, &DATABASE),
            Which::Pipeline => (1, &PIPELINE),
        };
        let options = options(which, syncers, &writes);
        let prefix = match which {
            Which::Watcher => Vec::new(),
            Which::Syncer | Which::Database => on_a_log(options.clone(), &writes),
            Which::Pipeline => at_work(options.clone()),
        };
        Self {
            which,
            options,
            prefix,
            script: script.to_owned(),
            writes,
            acts,
            bounds,
            recover_every: 1,
            depth_max: u32::MAX,
        }
    }

    /// What has to come to pass in some path of all the searches of this world.
    #[must_use]
    pub const fn goals(&self) -> &'static [Goal] {
        match self.which {
            Which::Watcher => &OF_WATCHER,
            Which::Syncer => &OF_SYNCER,
            Which::Database => &OF_DATABASE,
            Which::Pipeline => &OF_PIPELINE,
        }
    }

    /// The world as the search begins in it.
    #[must_use]
    pub fn begin(&self) -> World {
        let mut world = World::new(self.options.clone());
        self.prefix.iter().for_each(|it| world.make(*it));
        world.coverage = Coverage::default();
        world
    }
}

/// Machines with little credit, which save and commit as soon as they can, and try once more what fails.
fn options(which: Which, syncers: usize, writes: &[u16]) -> Options {
    // A batch that is not full waits for a timer; only where several rows are to be in one, one does.
    let batch = if which == Which::Syncer && writes.len() > 1 { 2 } else { 1 };
    let once = Retry::times(1);
    Options {
        watcher: cdc_watcher::Config {
            max_replay_events: 2,
            token_save_interval: 1,
            max_fetch_events: 2,
            max_in_flight_bytes: 2,
            retries: cdc_watcher::Retries { mongodb: once, kafka: once, token_store: once },
            ..cdc_watcher::Config::default()
        },
        syncer: cdc_syncer::Config {
            buffer_size: batch,
            buffer_bytes: 2,
            linger: Duration::ZERO,
            pool_size: 1,
            channel_buffer: 2,
            max_buffered_bytes: 4,
            max_fetch_records: 2,
            commit_spacing: Duration::ZERO,
            retries: cdc_syncer::Retries { kafka: once, postgres_connect: once, postgres_write: once },
            ..cdc_syncer::Config::default()
        },
        syncers,
        exchanges: true,
        poisons: false,
        writes: u32::try_from(writes.len()).unwrap_or(u32::MAX),
        looks_up: false,
        standby: false,
        ..Options::of(0)
    }
}

/// Moves of a start, at most.
const LEAD_MAX: usize = 500;

/// Makes every move that is possible of these acts, one after the other, until the world is so.
fn lead(
    world: &mut World,
    acts: &[Act],
    moves: &mut Vec<Move>,
    mut arg: impl FnMut(&World, Act) -> u16,
    is_there: impl Fn(&World) -> bool,
) {
    while moves.len() < LEAD_MAX && !is_there(world) {
        for act in acts {
            if world.can(*act, 0) && !is_there(world) {
                let r#move = Move { act: *act, who: 0, arg: arg(world, *act), how: How::Good };
                world.make(r#move);
                moves.push(r#move);
            }
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others need no argument")]
fn argument(world: &World, act: Act, writes: &[u16]) -> u16 {
    match act {
        Act::Write => writes.get(world.written as usize).copied().unwrap_or(0),
        Act::Fetch => 7,
        _ => 0,
    }
}

/// A Watcher has published what clients wrote, and has ended. One Syncer has its partitions, another is about to join.
fn on_a_log(options: Options, writes: &[u16]) -> Vec<Move> {
    let mut world = World::new(options);
    let mut moves = Vec::new();
    lead_watcher(&mut world, &mut moves);
    let write = |world: &World, act: Act| argument(world, act, writes);
    let working = [Act::Write, Act::Replicate, Act::Fetch, Act::Append, Act::Report, Act::Save, Act::Tick];
    lead(&mut world, &working, &mut moves, write, |world| {
        let is_saved = world.store.saved().is_some_and(|saved| saved >= world.mongo.end_seen());
        let is_written = world.written >= world.options.writes && !world.mongo.is_behind();
        is_written && is_saved && world.oracles.delivery.first_owed().is_none()
    });
    push(&mut world, &mut moves, Act::Drain, 0);
    let ending = [Act::Replicate, Act::Append, Act::Report, Act::Save, Act::Release];
    lead(
        &mut world,
        &ending,
        &mut moves,
        |_, _| 0,
        |world| world.watchers[0].as_ref().is_some_and(|it| it.is_stopped()),
    );
    lead_syncer(&mut world, &mut moves);
    if world.options.syncers > 1 {
        push(&mut world, &mut moves, Act::StartSyncer, 1);
        push(&mut world, &mut moves, Act::Connect, 1);
    }
    moves
}

/// Both services wait for a first change.
fn at_work(options: Options) -> Vec<Move> {
    let mut world = World::new(options);
    let mut moves = Vec::new();
    lead_watcher(&mut world, &mut moves);
    lead_syncer(&mut world, &mut moves);
    moves
}

fn push(world: &mut World, moves: &mut Vec<Move>, act: Act, who: u8) {
    let r#move = Move { act, who, arg: 0, how: How::Good };
    world.make(r#move);
    moves.push(r#move);
}

fn lead_watcher(world: &mut World, moves: &mut Vec<Move>) {
    let acts = [Act::Start, Act::Identify, Act::Lease, Act::Prepare, Act::Open, Act::Save];
    lead(
        world,
        &acts,
        moves,
        |_, _| 0,
        |world| {
            world.store.saved().is_some() && world.watchers[0].as_ref().is_some_and(|it| it.fetch.is_some())
        },
    );
}

fn lead_syncer(world: &mut World, moves: &mut Vec<Move>) {
    let acts = [Act::StartSyncer, Act::Connect, Act::Join, Act::News, Act::Acquire];
    lead(
        world,
        &acts,
        moves,
        |_, _| 0,
        |world| {
            world.syncers[0]
                .as_ref()
                .is_some_and(|it| it.fetch.is_some() && it.fetching.iter().all(Option::is_some))
        },
    );
}
