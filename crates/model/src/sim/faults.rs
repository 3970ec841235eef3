//! What may go wrong in one schedule, drawn from its seed: not everything everywhere, since faults that always come
//! together hide what each of them finds alone.

use std::fmt;
use std::time::Duration;

use cdc_machine::Retry;
use cdc_watcher::{Config, OnHistoryLost, Retries};

use super::random::Random;
use super::schedule::Act;

/// The options of one schedule.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed that they are drawn from.
    pub seed: u64,
    /// The Watcher's limits and policies.
    pub watcher: Config,
    /// The Syncer's.
    pub syncer: cdc_syncer::Config,
    /// Processes with a Syncer.
    pub syncers: usize,
    /// Documents exchange their unique names. Where something gets lost, one may hold a name for ever that another one
    /// has by now, so they do not there.
    pub exchanges: bool,
    /// Some documents fit no table.
    pub poisons: bool,
    /// Moves of the safety phase.
    pub moves: u32,
    /// Writes of clients.
    pub writes: u32,
    /// Faults in the safety phase.
    pub faults: u32,
    /// Which.
    pub kinds: Vec<Act>,
    /// How often requests end badly, of a thousand.
    pub bad: u32,
    /// How often bad ends are none that a retry mends, of a thousand.
    pub odd: u32,
    /// How willingly time passes while something is outstanding.
    pub haste: u32,
    /// How willingly PostgreSQL's answers arrive.
    pub answers: u32,
    /// True where an update comes with the document as it is when it is read.
    pub looks_up: bool,
    /// A second instance stands by.
    pub standby: bool,
}

/// Faults that lose something: then a gap has to say so.
const LOSSES: [Act; 4] = [Act::Forget, Act::FlushStore, Act::DamageStore, Act::Expire];

/// Faults that lose nothing.
const OTHERS: [Act; 15] = [
    Act::CrashSyncer,
    Act::FreezeSyncer,
    Act::Evict,
    Act::Shift,
    Act::ConsumerFails,
    Act::Restore,
    Act::DrainSyncer,
    Act::Supplant,
    Act::LoseProducer,
    Act::BreakStream,
    Act::Elect,
    Act::Lag,
    Act::CutPower,
    Act::RollBackStore,
    Act::Drain,
];

impl Options {
    /// Those of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let loses = random.permille(250);
        let mut kinds: Vec<Act> = OTHERS.into_iter().filter(|_| random.permille(600)).collect();
        kinds.extend(LOSSES.into_iter().filter(|_| loses && random.permille(500)));
        kinds.push(Act::Crash);
        let max_replay_events = random.pick(&[1_u64, 2, 3, 4, 8, 20]).unwrap_or(4);
        let watcher = Config {
            max_replay_events,
            token_save_interval: u64::from(random.below(4) + 1),
            max_fetch_events: random.below(6) + 1,
            max_in_flight_bytes: random.pick(&[1_u64, 4, 12, 100]).unwrap_or(12),
            on_history_lost: if random.permille(500) { OnHistoryLost::FromNow } else { OnHistoryLost::Stop },
            retries: Retries {
                mongodb: Retry::times(random.below(5) + 1),
                kafka: Retry::times(random.below(5) + 1),
                token_store: Retry::times(random.below(4) + 1),
            },
            ..Config::default()
        };
        let looks_up = random.permille(500);
        let poisons = !loses && !looks_up && random.permille(300);
        Self {
            seed,
            watcher,
            syncer: syncer(&mut random),
            syncers: if random.permille(750) { 2 } else { 1 },
            exchanges: !loses && !poisons,
            poisons,
            moves: 600 + random.below(500),
            writes: 50 + random.below(30),
            faults: 3 + random.below(6),
            kinds,
            bad: random.pick(&[0, 10, 40, 120, 250]).unwrap_or(40),
            odd: random.pick(&[0, 0, 50, 200]).unwrap_or(0),
            answers: random.pick(&[1, 4, 24]).unwrap_or(24),
            haste: random.pick(&[1, 4, 12]).unwrap_or(4),
            looks_up,
            standby: random.permille(250),
        }
    }
}

fn syncer(random: &mut Random) -> cdc_syncer::Config {
    let lingers = random.permille(500);
    cdc_syncer::Config {
        buffer_size: random.below(5) + 1,
        buffer_bytes: u64::from(random.below(8) + 1),
        linger: if lingers { Duration::from_millis(5) } else { Duration::ZERO },
        pool_size: random.below(3) + 1,
        channel_buffer: random.below(6),
        max_buffered_bytes: random.pick(&[2_u64, 8, 24, 100]).unwrap_or(24),
        max_fetch_records: random.below(7) + 1,
        commit_spacing: if random.permille(700) { Duration::from_millis(10) } else { Duration::ZERO },
        retries: cdc_syncer::Retries {
            kafka: Retry::times(random.below(5) + 1),
            postgres_connect: Retry::times(random.below(5) + 1),
            postgres_write: Retry::times(random.below(4) + 1),
        },
        ..cdc_syncer::Config::default()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let Self { seed, watcher, moves, writes, faults, bad, odd, haste, looks_up, standby, .. } = self;
        let Self { syncer, syncers, exchanges, poisons, answers, .. } = self;
        write!(
            f,
            "seed={seed} moves={moves} writes={writes} faults={faults} of {kinds:?} bad={bad}‰ odd={odd}‰ haste={haste} \
             answers={answers} looks_up={looks_up} standby={standby}; watcher: max_replay_events={} token_save_interval={} \
             max_fetch_events={} max_in_flight_bytes={} on_history_lost={:?} retries={:?}",
            watcher.max_replay_events,
            watcher.token_save_interval,
            watcher.max_fetch_events,
            watcher.max_in_flight_bytes,
            watcher.on_history_lost,
            watcher.retries,
        )?;
        write!(
            f,
            "; {syncers} syncers: buffer_size={} buffer_bytes={} linger={:?} pool_size={} channel_buffer={} \
             max_buffered_bytes={} max_fetch_records={} commit_spacing={:?} retries={:?}; exchanges={exchanges} \
             poisons={poisons}",
            syncer.buffer_size,
            syncer.buffer_bytes,
            syncer.linger,
            syncer.pool_size,
            syncer.channel_buffer,
            syncer.max_buffered_bytes,
            syncer.max_fetch_records,
            syncer.commit_spacing,
            syncer.retries,
        )
    }
}
