//! How often each kind of misfortune may strike in one path.

use std::fmt;
use std::str::FromStr;

use cdc_machine::labels;

use crate::sim::schedule::{Act, How, Move};

labels! {
    /// What may happen only so often.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Misfortune {
        /// A process dies.
        Crash: "crash",
        /// A process freezes, and another one takes its place; it may go on later.
        Freeze: "freeze",
        /// The group takes partitions from one member for another.
        Rebalance: "rebalance",
        /// A producer or a stream is lost.
        Loss: "loss",
        /// The database is copied, or replaced by its copy: two of it are a restore.
        Restore: "restore",
        /// A request ends badly: it is refused, carried out unheard, or carried out late.
        Failure: "failure",
        /// Time passes up to a process's next timer.
        Timer: "timer",
    }
}

impl Misfortune {
    /// The kind of a move of itself; `None` for what costs nothing.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others cost nothing")]
    pub const fn of(act: Act) -> Option<Self> {
        match act {
            Act::Crash | Act::CrashSyncer | Act::CutPower => Some(Self::Crash),
            Act::Supplant | Act::FreezeSyncer => Some(Self::Freeze),
            Act::Shift | Act::Evict | Act::ConsumerFails => Some(Self::Rebalance),
            Act::BackUp | Act::Restore => Some(Self::Restore),
            Act::LoseProducer | Act::BreakStream => Some(Self::Loss),
            Act::Tick | Act::TickSyncer => Some(Self::Timer),
            _ => None,
        }
    }
}

const KINDS: usize = Misfortune::ALL.len();

/// How often each kind may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds([u8; KINDS]);

impl Bounds {
    /// Nothing befalls anybody, and no time passes.
    #[must_use]
    pub const fn none() -> Self {
        Self([0; KINDS])
    }

    /// So often this one.
    #[must_use]
    pub const fn with(mut self, kind: Misfortune, times: u8) -> Self {
        self.0[kind as usize] = times;
        self
    }

    /// How often this kind may strike.
    #[must_use]
    pub const fn of(&self, kind: Misfortune) -> u8 {
        self.0[kind as usize]
    }

    /// What is left after this move; `None` where it may not come any more.
    #[must_use]
    pub fn after(mut self, r#move: Move) -> Option<Self> {
        let failure = (r#move.how != How::Good).then_some(Misfortune::Failure);
        for kind in Misfortune::of(r#move.act).into_iter().chain(failure) {
            self.0[kind as usize] = self.0[kind as usize].checked_sub(1)?;
        }
        Some(self)
    }
}

/// `crash=1,timer=2`
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Misfortune::ALL.iter().filter(|kind| self.of(**kind) > 0);
        let words: Vec<String> = named.map(|kind| format!("{}={}", kind.as_str(), self.of(*kind))).collect();
        f.write_str(&words.join(","))
    }
}

/// As it is displayed; what is not named does not happen.
impl FromStr for Bounds {
    type Err = UnknownBound;

    fn from_str(text: &str) -> Result<Self, UnknownBound> {
        text.split(',').filter(|part| !part.is_empty()).try_fold(Self::none(), |bounds, part| {
            let unknown = || UnknownBound(part.to_owned());
            let (name, times) = part.split_once('=').ok_or_else(unknown)?;
            let kind = Misfortune::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(unknown)?;
            Ok(bounds.with(kind, times.parse().map_err(|_| unknown())?))
        })
    }
}

/// A bound that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBound(String);

impl fmt::Display for UnknownBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = Misfortune::ALL.iter().map(|kind| kind.as_str()).collect();
        write!(f, "{} is no bound; one is written like crash=1, of {}", self.0, known.join(", "))
    }
}
