//! What holds after every step, whatever the world does. Tests, simulations and debug monitors ask.

use cdc_machine::Watermark;

use crate::facts::{Facts, Lease, Origin, Saving};
use crate::state::{Awaiting, Connecting, State};
use crate::{Config, TimerKind, Watcher};

impl<R: Clone, T: Clone + Ord> Watcher<R, T> {
    /// Checks the machine's invariants.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check_invariants(&self, config: &Config) -> Result<(), &'static str> {
        self.facts.window.check()?;
        check_bounds(&self.facts, config)?;
        check_save(&self.facts)?;
        check_notes(&self.facts)?;
        match self.state {
            State::Connecting(connecting) => check_connecting(connecting, &self.facts),
            State::Streaming { asked, .. } => {
                check_open(&self.facts)?;
                ensure(asked > 0, "a pull asks for something")?;
                ensure(!self.facts.has_gaps_to_announce(), "gaps are told before the next event")?;
                ensure(u64::from(asked) <= self.facts.room(config), "a pull fits the room")
            }
            State::AwaitingAck(Awaiting::Room { .. }) => {
                check_open(&self.facts)?;
                ensure(self.facts.window.unsettled() > 0, "AwaitingAck waits for a report")
            }
            State::AwaitingAck(Awaiting::Rewind(_)) => {
                ensure(self.facts.window.unsettled() > 0, "a rewind that waits, waits for a report")
            }
            State::SavingToken { .. } => {
                check_open(&self.facts)?;
                ensure(self.facts.window.unsettled() == 0, "SavingToken has nothing in flight")?;
                ensure(self.facts.saving != Saving::No, "SavingToken has a save under way")
            }
            State::Draining { .. } => check_draining(&self.facts),
            State::Stopped(_) => Ok(()),
        }
    }
}

fn ensure(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

fn check_bounds<R, T: Clone + Ord>(facts: &Facts<R, T>, config: &Config) -> Result<(), &'static str> {
    let unsaved = facts.window.unsaved_weight();
    ensure(unsaved <= config.max_replay_events.max(1), "a crash replays at most max_replay_events")?;
    ensure(
        facts.markers.iter().all(|seq| facts.window.is_in_flight(*seq)),
        "a marker stands for a slot in flight",
    )
}

fn check_save<R, T: Clone + Ord>(facts: &Facts<R, T>) -> Result<(), &'static str> {
    match &facts.saving {
        Saving::No => ensure(
            !facts.timers.is_running(TimerKind::SaveRetry),
            "no save waits for a retry that nobody needs",
        ),
        Saving::InFlight { token, notes, .. } => {
            let covered = facts.notes.iter().take(*notes).all(|note| note.at <= *token.position());
            ensure(*notes <= facts.notes.len() && covered, "a save carries notes that it covers")?;
            let prefix = facts.window.prefix().ok_or("a save has a settled prefix")?;
            ensure(token.through() <= prefix.through(), "a saved token is in the settled prefix")?;
            ensure(token.position() <= prefix.position(), "a saved token is not newer than the prefix")
        }
        Saving::BackingOff => {
            ensure(facts.timers.is_running(TimerKind::SaveRetry), "a save that backs off has its timer")
        }
    }
}

fn check_notes<R, T: Clone + Ord>(facts: &Facts<R, T>) -> Result<(), &'static str> {
    ensure(facts.notes.is_sorted_by(|one, next| one.at <= next.at), "notes are in the order of positions")?;
    let newest = facts.newest();
    let is_read = |at: &T| newest.is_some_and(|newest| at <= newest);
    ensure(facts.notes.iter().all(|note| is_read(&note.at)), "a note is of something that was read")?;
    let announcing = facts.announcing.is_none_or(|(seq, count)| {
        facts.window.is_in_flight(seq) && (1..=facts.unannounced.len()).contains(&count)
    });
    ensure(announcing, "an announcement in flight is of gaps that are not announced")
}

fn check_connecting<R, T: Clone + Ord>(
    connecting: Connecting,
    facts: &Facts<R, T>,
) -> Result<(), &'static str> {
    let is_held = matches!(facts.lease, Lease::Held { .. });
    ensure(facts.window.unsettled() == 0, "Connecting has nothing in flight")?;
    match connecting {
        Connecting::NotStarted => ensure(facts.lease == Lease::Free, "nothing is held before the start"),
        Connecting::Lease => {
            let waits = facts.timers.is_running(TimerKind::Reconnect)
                || facts.timers.is_running(TimerKind::LeaseWait);
            let asks = matches!(facts.lease, Lease::Acquiring { .. });
            ensure(waits != asks, "the lease is asked for, or a timer will")
        }
        Connecting::ProducerDue | Connecting::StreamDue => {
            ensure(is_held, "nothing is connected without the lease")?;
            ensure(facts.timers.is_running(TimerKind::Reconnect), "a back-off has its timer")
        }
        Connecting::Producer { .. } | Connecting::Stream { .. } => {
            ensure(is_held, "nothing is connected without the lease")
        }
        Connecting::RecordingStart { .. } => ensure(facts.saving != Saving::No, "a start waits for its save"),
    }
}

fn check_open<R, T: Clone + Ord>(facts: &Facts<R, T>) -> Result<(), &'static str> {
    ensure(matches!(facts.lease, Lease::Held { .. }), "nothing is read without the lease")?;
    ensure(matches!(facts.origin, Origin::Recorded(_)), "nothing is read before a start is recorded")?;
    ensure(facts.lost.is_none(), "nothing is read from a position that is lost")?;
    ensure(!facts.has_start_to_record(), "nothing is read before the gaps before it are recorded")
}

fn check_draining<R, T: Clone + Ord>(facts: &Facts<R, T>) -> Result<(), &'static str> {
    ensure(facts.timers.is_running(TimerKind::Drain), "a drain has its time-out")?;
    let releasing = matches!(facts.lease, Lease::Releasing { .. });
    let settled = is_settled(&facts.window) && facts.saving == Saving::No;
    ensure(settled || !releasing, "the lease is given back last")
}

fn is_settled<T: Clone>(window: &Watermark<T>) -> bool {
    window.unsettled() == 0 && window.unsaved_prefix().is_none()
}
