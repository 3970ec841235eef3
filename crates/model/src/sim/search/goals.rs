//! What has to come to pass in some order of events. A search in which one of them is out of reach has looked at
//! nothing.

use cdc_machine::{Epoch, labels};
use cdc_syncer::{Input, StartOffset, WriteOutcome};

use crate::sim::coverage::Coverage;
use crate::sim::group::{News, Set, each};
use crate::sim::kafka::Log;
use crate::sim::message::Message;
use crate::sim::schedule::{Act, How, Move};
use crate::sim::world::World;

labels! {
    /// What has to come to pass.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Goal {
        /// A Watcher died with work in flight, and a save followed.
        CrashThenSave: "a crash with work in flight is followed by a save",
        /// A save of a process that is gone was taken, since nobody had written since.
        LateSaveTaken: "a save of a process that is gone arrives late and is taken",
        /// A save of a process that is gone was refused.
        LateSaveRefused: "a save of a process that is gone arrives late and is refused",
        /// A save was carried out, and its answer got lost.
        UnheardSave: "a save is carried out and nobody hears of it",
        /// A process went on after another one had taken its place, and was refused.
        ReplacedWatcherEnds: "a Watcher that was replaced goes on, is refused and ends",
        /// A change was appended twice.
        Replayed: "a change is published twice",
        /// A message of a producer that was gone came behind its own repetition.
        LateAppend: "a message of a producer that is gone arrives behind its repetition",
        /// Everything is in Kafka, and a token covers it.
        AllSaved: "a Watcher has died, and every change is in Kafka and covered by a saved token",
        /// A partition was asked back while a batch with rows of it was in flight.
        RevokedInFlight: "a partition is asked back with a batch of it in flight",
        /// The next owner took a partition of which the former one had recorded something.
        HandedOver: "the next owner of a partition goes on where the former one recorded",
        /// A process wrote that owned the partition no longer, and the ledger refused it.
        ZombieRefused: "a zombie's write is refused",
        /// A process heard that the group had given it up with a batch in flight.
        LostInFlight: "a member hears that it has lost a partition with a batch of it in flight",
        /// A transaction was committed whose process was gone.
        OrphanCommits: "a transaction commits after its process is gone",
        /// A record whose row is committed was read again.
        ReadAgain: "a record is read again whose row is written already",
        /// Everything is written and recorded.
        AllRecorded: "a Syncer has died or frozen, and every record is written and covered by the ledger",
        /// A restored database was noticed.
        RestoreNoticed: "a database is replaced by its copy, and its partitions are taken anew",
        /// Everything is in its table, through both services, after a crash.
        ConvergedAfterCrash: "a service has died, and every change is in its table, saved and recorded",
        /// The same, after partitions were taken away.
        ConvergedAfterLoss: "partitions were lost, and every change is in its table, saved and recorded",
    }
}

/// What befell the world on the way here, as far as a goal asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks {
    has_died: bool,
    has_died_busy: bool,
    has_lost: bool,
    is_restored: bool,
}

/// A move, with the world before and after it.
pub struct Sight<'w> {
    /// Before.
    pub before: &'w World,
    /// The move.
    pub r#move: Move,
    /// After.
    pub after: &'w World,
    /// What was counted.
    pub seen: &'w Coverage,
}

impl Sight<'_> {
    /// Those of the goals that this move reaches. Only what they ask for is remembered in `marks`, so that it tells no
    /// more situations apart than it has to.
    pub fn goals(&self, marks: &mut Marks, of: &'static [Goal]) -> impl Iterator<Item = Goal> {
        self.remember(marks, of);
        let marks = *marks;
        of.iter().copied().filter(move |goal| self.reaches(*goal, marks))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no goal asks for the others")]
    fn remember(&self, marks: &mut Marks, goals: &[Goal]) {
        let asks = |of: &[Goal]| of.iter().any(|goal| goals.contains(goal));
        match self.r#move.act {
            Act::Crash | Act::CutPower | Act::CrashSyncer | Act::FreezeSyncer => {
                marks.has_died |= asks(&[Goal::AllSaved, Goal::AllRecorded, Goal::ConvergedAfterCrash]);
                marks.has_died_busy |= self.seen.crashes_busy > 0 && asks(&[Goal::CrashThenSave]);
            }
            Act::Restore => marks.is_restored |= asks(&[Goal::RestoreNoticed]),
            Act::Evict | Act::Shift => marks.has_lost |= asks(&[Goal::ConvergedAfterLoss]),
            _ => {}
        }
    }

    fn reaches(&self, goal: Goal, marks: Marks) -> bool {
        let Self { before, after, seen, .. } = self;
        let Move { act, who, how, .. } = self.r#move;
        let is_written = before.store.record() != after.store.record();
        match goal {
            Goal::CrashThenSave => marks.has_died_busy && act == Act::Save && is_written,
            Goal::LateSaveTaken => act == Act::LateSave && is_written,
            Goal::LateSaveRefused => act == Act::LateSave && !is_written,
            Goal::UnheardSave => act == Act::Save && how == How::Unheard && is_written,
            Goal::ReplacedWatcherEnds => {
                let was_replaced = before.watchers[1].as_ref().is_some_and(|it| it.is_replaced);
                was_replaced && after.watchers[1].is_none() && act != Act::Crash
            }
            Goal::Replayed => act == Act::Append && self.appended().any(|message| self.is_in_log(message)),
            Goal::LateAppend => {
                act == Act::LateAppend && self.appended().any(|message| self.is_in_log(message))
            }
            Goal::AllSaved => marks.has_died && self.is_all_saved(),
            Goal::RevokedInFlight => {
                let asked = after.syncers[usize::from(who) % 2].as_ref().and_then(|it| it.revoking.as_ref());
                act == Act::News && asked.is_some_and(|asked| self.is_in_flight(usize::from(who), asked.set))
            }
            Goal::LostInFlight => {
                let who = usize::from(who);
                let is_lost = |world: &World| {
                    let news = world.group.news(who);
                    news.iter().any(|it| matches!(it, News::Lost(set) if self.is_in_flight(who, *set)))
                };
                act == Act::News && is_lost(before) && !is_lost(after)
            }
            Goal::HandedOver => {
                let taken = before.postgres.ledger.iter().zip(&after.postgres.ledger);
                act == Act::Acquire
                    && how == How::Good
                    && taken.into_iter().any(|(old, new)| new.next.is_some() && old.owner.0 != new.owner.0)
            }
            Goal::ZombieRefused => {
                let refused = |(_, fact): &(_, Input<Message>)| {
                    matches!(fact, Input::BatchWritten { result: WriteOutcome::Refused { .. }, .. })
                };
                act == Act::Transact
                    && after.answers.iter().any(refused)
                    && !before.answers.iter().any(refused)
            }
            Goal::OrphanCommits => {
                let orphans = |world: &World| {
                    world.postgres.transactions.iter().filter(|it| it.orphan.is_some()).count()
                };
                act == Act::Transact && orphans(before) > orphans(after) && seen.written > 0
            }
            Goal::ReadAgain => act == Act::Poll && self.reads_again(usize::from(who)),
            Goal::AllRecorded => marks.has_died && self.is_all_recorded(),
            Goal::RestoreNoticed => marks.is_restored && act == Act::Acquire && how == How::Good,
            Goal::ConvergedAfterCrash => marks.has_died && self.is_all_saved() && self.is_all_recorded(),
            Goal::ConvergedAfterLoss => marks.has_lost && self.is_all_saved() && self.is_all_recorded(),
        }
    }

    fn appended(&self) -> impl Iterator<Item = &Message> {
        let logs = self.before.kafka.logs.iter().zip(&self.after.kafka.logs);
        logs.flat_map(|(before, after)| after.from(before.end)).map(|it| &it.message)
    }

    fn is_in_log(&self, message: &Message) -> bool {
        let mut held = self.before.kafka.logs.iter().flat_map(|log| log.from(0));
        held.any(|it| it.message.token == message.token)
    }

    fn is_all_saved(&self) -> bool {
        let after = self.after;
        after.written >= after.options.writes
            && !after.mongo.is_behind()
            && after.kafka.logs.iter().any(Log::holds_messages)
            && after.oracles.delivery.first_owed().is_none()
            && after.store.saved().is_some_and(|saved| saved >= after.mongo.end_seen())
    }

    fn is_all_recorded(&self) -> bool {
        self.after.is_written_out() && self.after.kafka.logs.iter().any(Log::holds_messages)
    }

    fn is_in_flight(&self, who: usize, set: Set) -> bool {
        let life = self.before.syncers[who].as_ref().map(|it| it.life);
        let mut own = self.before.postgres.transactions.iter().filter(|it| Some(it.life) == life);
        own.any(|it| it.partitions().iter().any(|(of, _)| each(set).any(|at| at == of.0 as usize)))
    }

    fn reads_again(&self, who: usize) -> bool {
        let Some(process) = self.before.syncers[who].as_ref() else { return false };
        let next = self.after.syncers[who].as_ref().map(|it| it.fetching);
        (0..process.fetching.len()).any(|at| {
            let log = &self.before.kafka.logs[at];
            let of = |start: Option<(Epoch, StartOffset)>| match start {
                Some((_, StartOffset::At(offset))) => offset,
                Some((_, StartOffset::Beginning)) | None => log.first,
            };
            let (from, to) = (of(process.fetching[at]), of(next.and_then(|it| it[at])));
            log.from(from).take_while(|it| it.offset < to).any(|it| {
                self.before.postgres.version((it.message.table, it.message.key)) >= it.message.version
            })
        })
    }
}
