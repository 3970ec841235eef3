//! Which process this is, in a form that another process on the same machine can look up: so that a name that two of
//! them were given is told from one that a dead one has left behind.

use std::fmt;
use std::fs;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Where the start time stands in `/proc/<pid>/stat`, counted from the state, the first field behind the name.
const START_TIME: usize = 19;

/// How the kernel counts for its users, on every machine that this program runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process of some machine, for as long as that machine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// The machine's name, for people.
    pub host: String,
    /// `/proc/sys/kernel/random/boot_id`: one for each boot of a machine.
    pub boot_id: String,
    /// What `/proc/self/ns/pid` points to: numbers of processes mean something within it.
    pub pid_namespace: String,
    /// Its number there.
    pub pid: i32,
    /// When it started, in the kernel's ticks since the boot: numbers are used again.
    pub started: u64,
    /// Since when it runs, in Unix milliseconds, for people.
    pub since_ms: i64,
}

/// What one process can tell of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs beside this one.
    Lives,
    /// It ran beside this one, and is gone.
    Gone,
    /// It ran elsewhere, or nobody can look.
    Unknown,
}

impl ProcessId {
    /// This process; `None` where `/proc` does not tell.
    #[must_use]
    pub fn own() -> Option<Self> {
        static OWN: OnceLock<Option<ProcessId>> = OnceLock::new();
        OWN.get_or_init(|| Self::read().ok().flatten()).clone()
    }

    /// The process of this number beside this one; `None` where none runs, or `/proc` does not tell.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let Stat { started, is_dead: false } = stat(&pid.to_string()).ok()?? else { return None };
        Some(Self { pid, started, since_ms: since_ms(started)?, ..Self::own()? })
    }

    fn read() -> io::Result<Option<Self>> {
        let Some(Stat { started, is_dead: false }) = stat("self")? else { return Ok(None) };
        let since = unix_now();
        Ok(Some(Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            pid_namespace: fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned(),
            pid: rustix::process::getpid().as_raw_pid(),
            started,
            since_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        }))
    }

    /// Since when it runs, to the second: `2026-11-27T18:20:01Z`.
    #[must_use]
    pub fn since(&self) -> String {
        // A time beyond the calendar comes from nowhere but a record that was edited by hand.
        jiff::Timestamp::from_second(self.since_ms / 1000).unwrap_or_default().to_string()
    }

    /// What the process of `observer` can tell of this one. It says nothing of itself: what stands under its own
    /// name is not another's.
    #[must_use]
    pub fn life_seen_by(&self, observer: Option<&Self>) -> Life {
        let Some(observer) = observer else { return Life::Unknown };
        let is_neighbour = self.boot_id == observer.boot_id && self.pid_namespace == observer.pid_namespace;
        let is_itself = (self.pid, self.started) == (observer.pid, observer.started);
        if !is_neighbour || is_itself {
            return Life::Unknown;
        }
        match stat(&self.pid.to_string()) {
            Ok(Some(Stat { started, is_dead: false })) if started == self.started => Life::Lives,
            Ok(Some(_)) => Life::Gone,
            Ok(None) => Life::Unknown,
            // A mount with `hidepid` does not show the processes of other users; a signal still finds them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match Pid::from_raw(self.pid) {
                Some(pid) if test_kill_process(pid) == Err(Errno::SRCH) => Life::Gone,
                Some(_) | None => Life::Unknown,
            },
            Err(_) => Life::Unknown,
        }
    }
}

/// `pid 123 on host-a`
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} on {}", self.pid, self.host)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    started: u64,
    /// It has ended, and its parent has not asked how.
    is_dead: bool,
}

fn stat(process: &str) -> io::Result<Option<Stat>> {
    fs::read_to_string(format!("/proc/{process}/stat")).map(|text| parse(&text))
}

/// When a process started, by the kernel's ticks, in Unix milliseconds.
fn since_ms(started: u64) -> Option<i64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let age = (uptime - started as f64 / TICKS_PER_SECOND).max(0.0);
    let since = unix_now().checked_sub(Duration::try_from_secs_f64(age).ok()?)?;
    i64::try_from(since.as_millis()).ok()
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The name stands in parentheses and may hold any character, these too.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X" | "x");
    Some(Stat { started: fields.nth(START_TIME - 1)?.parse().ok()?, is_dead })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "7 (a) Z (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse(stat), Some(Stat { started: 4711, is_dead: false }));
        assert_eq!(parse("7 (a) Z 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_neighbour_lives_until_it_is_killed_whether_or_not_somebody_has_asked_for_its_end() {
        let own = ProcessId::own().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let neighbour = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!(neighbour.life_seen_by(Some(&own)), Life::Lives);
        let later_with_that_number = ProcessId { started: neighbour.started + 1, ..neighbour.clone() };
        assert_eq!(later_with_that_number.life_seen_by(Some(&own)), Life::Gone);
        child.kill().unwrap();
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let pid = Pid::from_raw(neighbour.pid).unwrap();
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), ended).unwrap();
        assert_eq!(neighbour.life_seen_by(Some(&own)), Life::Gone, "a zombie");
        assert_eq!(ProcessId::of(neighbour.pid), None);
        child.wait().unwrap();
        assert_eq!(neighbour.life_seen_by(Some(&own)), Life::Gone);
        assert_eq!(ProcessId::of(neighbour.pid), None);
    }

    #[test]
    fn a_process_is_the_same_by_its_number_and_by_itself() {
        let own = ProcessId::own().unwrap();
        let by_number = ProcessId::of(own.pid).unwrap();
        assert_eq!(ProcessId { since_ms: own.since_ms, ..by_number }, own);
    }

    #[test]
    fn nothing_is_known_of_another_boot_or_namespace_nor_told_of_itself() {
        let own = ProcessId::own().unwrap();
        let others = [
            own.clone(),
            ProcessId { boot_id: "another".to_owned(), pid: 1, ..own.clone() },
            ProcessId { pid_namespace: "another".to_owned(), pid: 1, ..own.clone() },
        ];
        for other in others {
            assert_eq!(other.life_seen_by(Some(&own)), Life::Unknown, "{other:?}");
        }
        assert_eq!(own.life_seen_by(None), Life::Unknown);
    }
}
