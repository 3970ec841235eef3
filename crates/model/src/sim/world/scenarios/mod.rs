//! Failures that real pipelines had, each played by a script: what is held back, lost or late is named, and everything
//! else goes its way. `specs/scenarios.md` lists them.

mod watcher;
mod writes;

use super::World;
use crate::sim::faults::Options;
use crate::sim::message::{PARTITIONS, Token, partition_of};
use crate::sim::schedule::{Act, How, Move};
use crate::sim::world::WATCHERS;

/// What goes its way by itself, one after the other.
const ALL: [Act; 27] = [
    Act::Start,
    Act::Replicate,
    Act::Identify,
    Act::Lease,
    Act::Renew,
    Act::Release,
    Act::Prepare,
    Act::Open,
    Act::Append,
    Act::Report,
    Act::Save,
    Act::Fetch,
    Act::LateFetch,
    Act::StartSyncer,
    Act::Connect,
    Act::Join,
    Act::News,
    Act::Acquire,
    Act::MoveOffsets,
    Act::CheckLedger,
    Act::Poll,
    Act::Transact,
    Act::Answer,
    Act::DeadLetter,
    Act::Commit,
    Act::Leave,
    Act::LateSave,
];

/// Rounds in which a script's world comes to rest.
const ROUNDS: usize = 30;

/// The shapes of writes: see the model of MongoDB.
const PUT: u8 = 8;
const DELETE: u8 = 4;

/// A world, and who acts in it: the script.
struct Script {
    world: World,
}

impl Script {
    /// Everything runs, and has come to rest.
    fn of(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            watcher: cdc_watcher::Config { token_save_interval: 1, ..cdc_watcher::Config::default() },
            syncer: cdc_syncer::Config {
                buffer_size: 4,
                linger: std::time::Duration::ZERO,
                pool_size: 1,
                ..cdc_syncer::Config::default()
            },
            syncers: 1,
            exchanges: false,
            poisons: false,
            looks_up: false,
            standby: false,
            writes: 64,
            ..Options::of(0)
        };
        change(&mut options);
        let mut script = Self { world: World::new(options) };
        script.go_on();
        script
    }

    /// Makes one move, which is possible.
    fn make(&mut self, act: Act, who: usize, arg: u16, how: How) {
        assert!(self.world.can(act, who), "{} {who} is not possible", act.as_str());
        self.world.make(Move { act, who: u8::try_from(who).unwrap_or(0), arg, how });
        assert_eq!(self.world.violation, None);
    }

    /// The same, and it ends as asked.
    fn good(&mut self, act: Act) {
        self.make(act, 0, 7, How::Good);
    }

    /// A client writes, and a majority has it: the change's token.
    fn write(&mut self, shape: u8, key: u8) -> Token {
        self.make(Act::Write, 0, u16::from_le_bytes([shape, key << 1]), How::Good);
        while self.world.can(Act::Replicate, 0) {
            self.make(Act::Replicate, 0, 0, How::Good);
        }
        self.world.mongo.now()
    }

    /// Everything goes its way but what is held back. No time passes.
    fn go_on_without(&mut self, held: &[Act]) {
        for round in 0..ROUNDS {
            for act in ALL.into_iter().filter(|act| !held.contains(act)) {
                for who in 0..WATCHERS {
                    if self.world.can(act, who) {
                        // Reports are of all partitions; transactions take turns.
                        let takes_turns = matches!(act, Act::Transact | Act::Append);
                        let arg = if takes_turns { round % 8 } else { 7 * usize::from(act != Act::Report) };
                        self.make(act, who, u16::try_from(arg).unwrap_or(0), How::Good);
                    }
                }
            }
        }
    }

    fn go_on(&mut self) {
        self.go_on_without(&[]);
    }

    /// Time passes until a process may do this; nothing else happens meanwhile.
    fn wait_for(&mut self, act: Act, who: usize) {
        let tick = if act.is_of_a_syncer() || act == Act::Transact { Act::TickSyncer } else { Act::Tick };
        for _ in 0..ROUNDS {
            if self.world.can(act, who) {
                return;
            }
            self.make(tick, who, 0, How::Good);
        }
        panic!("{} does not come up", act.as_str());
    }

    /// So many timers of the Watcher run out, and whatever is to be saved is.
    fn let_it_save(&mut self) {
        for _ in 0..ROUNDS {
            self.go_on_without(&[Act::Append, Act::Report, Act::Fetch]);
            self.make(Act::Tick, 0, 0, How::Good);
        }
    }

    fn saved(&self) -> Token {
        self.world.store.saved().unwrap_or(0)
    }

    /// The name that a document's row holds.
    fn row(&self, key: u8) -> Option<u16> {
        self.world.postgres.tables.rows[0][usize::from(key)].map(|row| row.name)
    }

    /// A row is as its document is.
    fn is_as_its_document(&self, key: u8) -> bool {
        self.row(key) == self.world.mongo.documents()[0][usize::from(key)]
    }

    /// Who has a document's partition.
    fn owner_of(&self, partition: usize) -> usize {
        usize::from(!self.world.group.owns(0, partition))
    }

    /// The world gets well, with some more writes: everything comes to rest with every table as its collection, and to a
    /// clean end.
    fn end(mut self) {
        self.world.options.writes = self.world.written();
        self.world.recover();
        assert_eq!(self.world.violation, None);
    }
}

/// Two documents of the first collection in different partitions.
fn apart() -> (u8, u8) {
    let other = (1..6).find(|key| partition_of(0, *key) != partition_of(0, 0));
    (0, other.unwrap_or_else(|| panic!("all documents are in one of {PARTITIONS} partitions")))
}
