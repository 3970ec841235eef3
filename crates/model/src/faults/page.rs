use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Fault, Link, Outcome, ROWS, Row, SCENARIOS, Server, Service, State, cells};

/// The text of `specs/faults.md`.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(INTRODUCTION);
    let struck = cells().count();
    let faults: BTreeSet<Fault> = cells().map(|cell| cell.fault).collect();
    let _ = writeln!(
        text,
        "{} faults, {struck} cells struck, and {} scenarios.\n",
        faults.len(),
        SCENARIOS.into_iter().flatten().count()
    );
    for (service, name) in [(Service::Watcher, "Watcher"), (Service::Syncer, "Syncer")] {
        let _ = writeln!(text, "## The {name}\n");
        let states = State::ALL.map(State::as_str).join(" | ");
        let _ = writeln!(text, "| fault | {states} | test |\n|---|---|---|---|---|---|---|");
        for row in ROWS.iter().filter(|row| row.service == service) {
            write_row(&mut text, row);
        }
        text.push('\n');
    }
    write_reasons(&mut text);
    text.push_str(SCENARIOS_TITLE);
    text.push_str("| fault | service | outcome | test |\n|---|---|---|---|\n");
    for it in SCENARIOS.into_iter().flatten() {
        let (fault, outcome) = (it.fault, it.outcome);
        let _ = writeln!(
            text,
            "| {fault} | {:?} | {outcome} | `{}` · `{}` |",
            it.service, it.test.file, it.test.name
        );
    }
    text
}

const INTRODUCTION: &str = "\
# Faults

What breaks, in which state of a service, and what comes of it. Generated from `crates/model/src/faults`, the list
that the end-to-end tests walk through (`make specs` writes it anew): a cell is struck on real servers after the
service was brought into the state, and its `/metrics` said so right before the strike. After the fault is over the
service goes on, or is started again as a supervisor would, until the topic holds every event and the table equals
the collection (missing 0, stale 0, too many 0).

A run of `make test` strikes a third of what the first two tests of `matrix.rs` stand for, another third each day and
all of it within three days, and says which. `make soak` strikes all of it.

| cell | means |
|---|---|
| recovers | the process lives through it |
| exits *n* | it ends with exit code *n*, and goes on once it is started again |
| restarted | it is killed by the fault, and goes on once it is started again |
| n/a | it cannot be; the reasons stand below |
| – | it can be, and no test here strikes it |

";

const SCENARIOS_TITLE: &str = "\
## Scenarios

Faults that tests of their own show.

";

fn write_row(text: &mut String, row: &Row) {
    let _ = write!(text, "| {} |", row.fault.describe());
    for outcome in row.outcomes {
        let _ = match outcome {
            Outcome::Recovers => write!(text, " recovers |"),
            Outcome::Exits(code) => write!(text, " exits {code} |"),
            Outcome::Restarted => write!(text, " restarted |"),
            Outcome::NotApplicable(_) => write!(text, " n/a |"),
            Outcome::Open => write!(text, " – |"),
        };
    }
    if row.outcomes == [Outcome::Open; 5] {
        text.push_str(" – |\n");
    } else {
        let _ = writeln!(text, " `{}` · `{}` |", row.test.file, row.test.name);
    }
}

fn write_reasons(text: &mut String) {
    text.push_str("## Why not\n\n");
    for row in ROWS {
        for (state, outcome) in State::ALL.into_iter().zip(row.outcomes) {
            if let Outcome::NotApplicable(reason) = outcome {
                let fault = row.fault.describe();
                let _ = writeln!(text, "- {:?}, {}, {fault}: {reason}", row.service, state.as_str());
            }
        }
    }
    text.push('\n');
}

impl Fault {
    /// The fault in words.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::ServiceKilled => "the service is killed (SIGKILL)".into(),
            Self::ServiceTerminated => "the service is asked to end (SIGTERM)".into(),
            Self::ServiceFrozen => {
                "the service is frozen (SIGSTOP) until another has taken over, and wakes".into()
            }
            Self::LinkCut(link) => format!("link to {}: cut, connections refused", link.server()),
            Self::LinkLosesRequests(link) => format!("link to {}: requests are lost", link.server()),
            Self::LinkLosesAnswers(link) => format!("link to {}: answers are lost", link.server()),
            Self::LinkSlow(link) => format!("link to {}: slow", link.server()),
            Self::LinkReset(link) => format!("link to {}: reset in the middle of an answer", link.server()),
            Self::ServerKilled(server) => format!("{} is killed and comes back", server.name()),
            Self::ServerRestarted(server) => format!("{} is restarted in order", server.name()),
            Self::ServerFrozen(server) => format!("{} is frozen (SIGSTOP) for seconds", server.name()),
            Self::OutlastsRetries(server) => format!("{} is away for longer than all retries", server.name()),
            Self::CursorKilled => "the change stream's cursor is killed".into(),
            Self::SessionsKilled => "MongoDB kills all sessions".into(),
            Self::NotEnoughReplicas => "the topic has too few replicas (`NOT_ENOUGH_REPLICAS`)".into(),
            Self::LimitLowered => "the topic's `max.message.bytes` is lowered below a batch".into(),
            Self::BackendsTerminated => "all of its connections are ended (`pg_terminate_backend`)".into(),
            Self::StatementsCancelled => "its statements are cancelled (57014)".into(),
            Self::TableLocked => "another session locks the table".into(),
            Self::Deadlock => "a deadlock (40P01)".into(),
            Self::SerializationFailure => "a serialization failure (40001)".into(),
            Self::CommitLostBefore => "the connection is reset before a commit".into(),
            Self::CommitLostDuring => "the connection is reset during a commit".into(),
            Self::CommitLostAfter => "the commit is carried out and its answer lost".into(),
            Self::ConnectionsExhausted => "no connection is to be had (53300)".into(),
            Self::DiskFull => "PostgreSQL's disk is full (53100)".into(),
            Self::ReadOnlyStandby => "PostgreSQL comes back as a standby, and is promoted".into(),
            Self::ReadOnlyReplica => "Redis is a read-only replica".into(),
            Self::OutOfMemory => "Redis is out of memory".into(),
        }
    }
}

impl Link {
    const fn server(self) -> &'static str {
        match self {
            Self::WatcherMongodb => Server::Mongodb.name(),
            Self::WatcherKafka | Self::SyncerKafka => Server::Kafka.name(),
            Self::WatcherRedis => Server::Redis.name(),
            Self::SyncerPostgres => Server::Postgres.name(),
        }
    }
}

impl Server {
    const fn name(self) -> &'static str {
        match self {
            Self::Mongodb => "MongoDB",
            Self::Kafka => "Kafka",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }
}
