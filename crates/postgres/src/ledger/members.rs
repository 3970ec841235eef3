//! Who is a member of the group, by name. A Syncer's `instance` is its static membership in the consumer group: of two
//! processes with one name Kafka throws the first one out, for ever in turn. So the name is taken here first, by the
//! database's clock.
//!
//! Where the holder of a name runs or ran beside the asking process, the system tells whether it lives. Elsewhere it
//! lives as long as it goes on refreshing its row.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::{Life, ProcessId};
use postgres_types::ToSql;
use tokio_postgres::Row;

use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::settings::Member;

/// How long a name is its holder's after the last refreshment. That comes with each look at the ledger, every five
/// seconds, or with a sign of life, every ten at the least.
const TTL: Duration = Duration::from_secs(15);

/// How often the name is asked for again where its row has changed meanwhile. More than two processes at once do not
/// happen.
const ATTEMPTS: u32 = 4;

const OPERATION: &str = "member_join";

/// Takes a name that nobody has, or refreshes the own row; a row of another owner stays as it is.
const KEEP: &str = "\
INSERT INTO cdc.members AS m \
(consumer_group, instance, owner, host, boot_id, pid_namespace, pid, started, since_ms, seen_at) \
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp()) \
ON CONFLICT (consumer_group, instance) DO UPDATE SET seen_at = clock_timestamp() WHERE m.owner = excluded.owner \
RETURNING m.owner";

const READ: &str = "\
SELECT owner, host, boot_id, pid_namespace, pid, started, since_ms, seen_at::text, \
(extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint FROM cdc.members \
WHERE consumer_group = $1 AND instance = $2";

const TAKE_OVER: &str = "\
UPDATE cdc.members SET owner = $3, host = $4, boot_id = $5, pid_namespace = $6, pid = $7, started = $8, \
since_ms = $9, seen_at = clock_timestamp() \
WHERE consumer_group = $1 AND instance = $2 AND owner = $10 AND seen_at::text = $11 RETURNING owner";

const LEAVE: &str = "DELETE FROM cdc.members WHERE consumer_group = $1 AND instance = $2 AND owner = $3";

/// The place of one process among the members of its group.
#[derive(Debug)]
pub(crate) struct Members {
    consumer_group: String,
    member: Member,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// What the own row is known by.
    owner: Option<String>,
    is_joined: bool,
    /// The owner of the name and its last refreshment, when it was refused to us.
    seen: Option<(String, String)>,
}

/// The row of a name.
#[derive(Debug)]
struct Holder {
    owner: String,
    process: Option<ProcessId>,
    seen_at: String,
    silent_ms: i64,
}

/// What becomes of a name that has a row.
#[derive(Debug, PartialEq, Eq)]
enum NameVerdict {
    /// It is free.
    Take,
    Leave(Refusal),
}

/// Why a name is left to its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Its holder lives.
    Taken,
    /// Its holder may live for this much longer.
    Perhaps(Duration),
}

impl Members {
    pub(crate) fn new(consumer_group: String, member: Member) -> Self {
        Self { consumer_group, member, state: Mutex::new(State::default()) }
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes the name.
    ///
    /// # Errors
    /// `Fenced` where another process has it, `Transient` where that may be gone.
    pub(crate) async fn join(&self, session: &Session) -> Result<(), Trouble> {
        let owner = match self.state().owner {
            Some(owner) => owner,
            None => {
                let row = session.client.query_one("SELECT gen_random_uuid()::text", &[]).await;
                row.map_err(|error| Trouble::of(OPERATION, error))?.get(0)
            }
        };
        self.set(|state| state.owner = Some(owner.clone()));
        if let Some((holder, refusal)) = self.ask(session, &owner).await? {
            return Err(self.refused(&holder, refusal));
        }
        self.set(|state| state.is_joined = true);
        Ok(())
    }

    /// Refreshes the row, where the name was taken.
    ///
    /// # Errors
    /// `Fenced` where another process has taken the name meanwhile. A row that may be a dead one's is none: it comes
    /// with a database that was restored from a copy.
    pub(crate) async fn refresh(&self, session: &Session) -> Result<(), Trouble> {
        let State { owner: Some(owner), is_joined: true, .. } = self.state() else { return Ok(()) };
        match self.ask(session, &owner).await? {
            Some((holder, refusal @ Refusal::Taken)) => Err(self.refused(&holder, refusal)),
            Some((_, Refusal::Perhaps(_))) | None => Ok(()),
        }
    }

    /// Writes the own row, where that may be. Otherwise returns who stands there.
    async fn ask(&self, session: &Session, owner: &str) -> Result<Option<(Holder, Refusal)>, Trouble> {
        for _ in 0..ATTEMPTS {
            if self.write(session, owner, None).await? {
                self.set(|state| state.seen = None);
                return Ok(None);
            }
            let found = session.client.query_opt(READ, &[&self.consumer_group, &self.member.instance]).await;
            let found = found.map_err(|error| Trouble::of(OPERATION, error))?;
            let Some(holder) = found.map(|row| Holder::from(&row)) else { continue };
            match self.decide(&holder) {
                NameVerdict::Take => {
                    if self.write(session, owner, Some(&holder)).await? {
                        self.set(|state| state.seen = None);
                        return Ok(None);
                    }
                }
                NameVerdict::Leave(refusal) => {
                    self.set(|state| {
                        // Kept from the first refusal on: any later change of the same owner shows that it lives.
                        if state.seen.as_ref().is_none_or(|(owner, _)| *owner != holder.owner) {
                            state.seen = Some((holder.owner.clone(), holder.seen_at.clone()));
                        }
                    });
                    return Ok(Some((holder, refusal)));
                }
            }
        }
        Err(Trouble::new(
            Fault::Transient,
            OPERATION,
            format!(
                "the row of {:?} in cdc.members changed {ATTEMPTS} times while it was asked for; trying again",
                self.member.instance
            ),
        ))
    }

    /// Gives the name back, where it was taken.
    pub(crate) async fn leave(&self, session: &Session) -> Result<(), tokio_postgres::Error> {
        let State { owner: Some(owner), is_joined: true, .. } = self.state() else { return Ok(()) };
        self.set(|state| state.is_joined = false);
        let instance = &self.member.instance;
        session.client.execute(LEAVE, &[&self.consumer_group, instance, &owner]).await.map(drop)
    }

    /// True while there is something to give back.
    pub(crate) fn is_joined(&self) -> bool {
        self.state().is_joined
    }

    /// Writes the own row, over that of `holder` where one is named. False where another one stands there.
    async fn write(&self, session: &Session, owner: &str, over: Option<&Holder>) -> Result<bool, Trouble> {
        let (group, instance) = (&self.consumer_group, &self.member.instance);
        let process = self.member.process.as_ref();
        let host = process.map(|process| process.host.as_str());
        let boot_id = process.map(|process| process.boot_id.as_str());
        let namespace = process.map(|process| process.pid_namespace.as_str());
        let pid = process.map(|process| process.pid);
        let started = process.and_then(|process| i64::try_from(process.started).ok());
        let since_ms = process.map(|process| process.since_ms);
        let (text, theirs) = match over {
            None => (KEEP, None),
            Some(holder) => (TAKE_OVER, Some((&holder.owner, &holder.seen_at))),
        };
        let mut values: Vec<&(dyn ToSql + Sync)> =
            vec![group, instance, &owner, &host, &boot_id, &namespace, &pid, &started, &since_ms];
        if let Some((owner, seen_at)) = theirs {
            values.extend([owner as &(dyn ToSql + Sync), seen_at]);
        }
        let written = session.client.query_opt(text, &values).await;
        written.map(|row| row.is_some()).map_err(|error| Trouble::of(OPERATION, error))
    }

    fn decide(&self, holder: &Holder) -> NameVerdict {
        let process = holder.process.as_ref();
        let life =
            process.map_or(Life::Unknown, |process| process.life_seen_by(self.member.process.as_ref()));
        decide(holder, life, self.state().seen.as_ref())
    }

    fn refused(&self, holder: &Holder, refusal: Refusal) -> Trouble {
        let (group, instance) = (&self.consumer_group, &self.member.instance);
        let who = holder
            .process
            .as_ref()
            .map_or_else(String::new, |process| format!(" ({process}, since {})", process.since()));
        let (fault, words) = match refusal {
            Refusal::Perhaps(left) => (
                Fault::Transient,
                format!(
                    "the name {instance:?} in group {group} was last used {} s ago by another process{who}; if that is \
                     gone, its name is free in {} s; if not, set `instance` per process. Nothing is lost",
                    // A clock that was set back shows a moment that is still to come.
                    holder.silent_ms.max(0) / 1000,
                    left.as_secs() + 1
                ),
            ),
            Refusal::Taken => (
                Fault::Fenced,
                format!(
                    "another process joined group {group} as {instance:?}{who}; set `instance` per process. Nothing \
                     is lost"
                ),
            ),
        };
        Trouble::new(fault, OPERATION, words)
    }
}

fn decide(holder: &Holder, life: Life, seen: Option<&(String, String)>) -> NameVerdict {
    match life {
        Life::Gone => return NameVerdict::Take,
        Life::Lives => return NameVerdict::Leave(Refusal::Taken),
        Life::Unknown => {}
    }
    let left_ms = i64::try_from(TTL.as_millis()).unwrap_or(i64::MAX).saturating_sub(holder.silent_ms.max(0));
    if left_ms <= 0 {
        return NameVerdict::Take;
    }
    // A holder that is gone refreshes nothing.
    if seen.is_some_and(|(owner, seen_at)| *owner == holder.owner && *seen_at != holder.seen_at) {
        return NameVerdict::Leave(Refusal::Taken);
    }
    NameVerdict::Leave(Refusal::Perhaps(Duration::from_millis(left_ms.unsigned_abs())))
}

impl From<&Row> for Holder {
    fn from(row: &Row) -> Self {
        let process = || -> Option<ProcessId> {
            Some(ProcessId {
                host: row.get::<_, Option<String>>(1)?,
                boot_id: row.get::<_, Option<String>>(2)?,
                pid_namespace: row.get::<_, Option<String>>(3)?,
                pid: row.get::<_, Option<i32>>(4)?,
                started: u64::try_from(row.get::<_, Option<i64>>(5)?).ok()?,
                since_ms: row.get::<_, Option<i64>>(6)?,
            })
        };
        Self { owner: row.get(0), process: process(), seen_at: row.get(7), silent_ms: row.get(8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_once_its_holder_is_gone_or_silent_for_long() {
        let holder = |silent_ms| Holder {
            owner: "theirs".to_owned(),
            process: None,
            seen_at: "12:00:05".to_owned(),
            silent_ms,
        };
        let seen = |owner: &str, at: &str| Some((owner.to_owned(), at.to_owned()));
        let taken = || NameVerdict::Leave(Refusal::Taken);
        let perhaps = |ms| NameVerdict::Leave(Refusal::Perhaps(Duration::from_millis(ms)));
        let cases = [
            ("gone", 0, Life::Gone, None, NameVerdict::Take),
            ("alive, whatever its row says", 60_000, Life::Lives, None, taken()),
            ("elsewhere, at the first look", 3_000, Life::Unknown, None, perhaps(12_000)),
            ("elsewhere, no sign since", 5_000, Life::Unknown, seen("theirs", "12:00:05"), perhaps(10_000)),
            ("elsewhere, a sign since", 1_000, Life::Unknown, seen("theirs", "12:00:00"), taken()),
            ("another since", 1_000, Life::Unknown, seen("hers", "12:00:00"), perhaps(14_000)),
            ("elsewhere, silent", 15_000, Life::Unknown, None, NameVerdict::Take),
            ("a clock that was set back", -5_000, Life::Unknown, None, perhaps(15_000)),
        ];
        for (name, silent_ms, life, seen, expected) in cases {
            assert_eq!(decide(&holder(silent_ms), life, seen.as_ref()), expected, "{name}");
        }
    }
}
