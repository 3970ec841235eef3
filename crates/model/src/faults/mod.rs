//! What breaks, in which state of a service, and what comes of it: the rows behind `specs/faults.md`, which the
//! end-to-end tests walk through. A cell that no test has struck is not in the list.

mod page;
mod rows;
mod scenarios;

pub use page::page;
pub use rows::ROWS;
pub use scenarios::SCENARIOS;

/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Service {
    Watcher,
    Syncer,
}

/// What a service waits for: the states of `cdc_state`, without `Stopped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "ARCHITECTURE.md says what they are")]
pub enum State {
    Connecting,
    Streaming,
    AwaitingAck,
    SavingToken,
    Draining,
}

impl State {
    /// Every state, in the order of the page's columns.
    pub const ALL: [Self; 5] =
        [Self::Connecting, Self::Streaming, Self::AwaitingAck, Self::SavingToken, Self::Draining];

    /// The label in `cdc_state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "Connecting",
            Self::Streaming => "Streaming",
            Self::AwaitingAck => "AwaitingAck",
            Self::SavingToken => "SavingToken",
            Self::Draining => "Draining",
        }
    }
}

/// A link between a service and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Link {
    WatcherMongodb,
    WatcherKafka,
    WatcherRedis,
    SyncerKafka,
    SyncerPostgres,
}

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Server {
    Mongodb,
    Kafka,
    Postgres,
    Redis,
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of the service.
    ServiceKilled,
    /// SIGTERM of the service.
    ServiceTerminated,
    /// SIGSTOP of the service for longer than its lease or session, while another instance takes over.
    ServiceFrozen,
    /// All connections end, new ones are refused.
    LinkCut(Link),
    /// What the service sends is lost; what the server sends arrives.
    LinkLosesRequests(Link),
    /// What the server sends is lost; what the service sends arrives.
    LinkLosesAnswers(Link),
    /// A few bytes in each tick.
    LinkSlow(Link),
    /// An answer is reset in the middle of its bytes.
    LinkReset(Link),
    /// SIGKILL of the server, which comes back.
    ServerKilled(Server),
    /// The server is ended in order, and comes back.
    ServerRestarted(Server),
    /// SIGSTOP of the server for some seconds: connections stay open, nothing answers.
    ServerFrozen(Server),
    /// The server is away for longer than all retries.
    OutlastsRetries(Server),
    /// The change stream's cursor is killed.
    CursorKilled,
    /// The server kills the client's sessions.
    SessionsKilled,
    /// The topic asks for more replicas than there are.
    NotEnoughReplicas,
    /// The topic's limit on a message is lowered below what is sent.
    LimitLowered,
    /// `pg_terminate_backend` on all of the service's connections.
    BackendsTerminated,
    /// A running statement is cancelled, as by `statement_timeout`.
    StatementsCancelled,
    /// Another session holds the table.
    TableLocked,
    /// Another session locks rows in the opposite order.
    Deadlock,
    /// A transaction that cannot be serialized.
    SerializationFailure,
    /// The connection is reset in front of a `COMMIT`.
    CommitLostBefore,
    /// The connection is reset while a `COMMIT` is on its way.
    CommitLostDuring,
    /// The `COMMIT` is carried out, and its answer lost.
    CommitLostAfter,
    /// No connection may be opened, and those that were open are ended.
    ConnectionsExhausted,
    /// The tables' disk is full.
    DiskFull,
    /// The server comes back as a read-only standby, and is promoted.
    ReadOnlyStandby,
    /// The store is a replica, and refuses writes.
    ReadOnlyReplica,
    /// The store is out of memory, and refuses writes.
    OutOfMemory,
}

/// What comes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service goes on by itself once the fault is over.
    Recovers,
    /// It ends with this code, and goes on where it was once it is started again.
    Exits(u8),
    /// It is gone, and goes on where it was once it is started again.
    Restarted,
    /// It cannot be, for this reason.
    NotApplicable(&'static str),
    /// It can be, and nothing here shows what comes of it.
    Open,
}

/// A test: its file from the repository's root, and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the type's own line says it")]
pub struct Test {
    pub file: &'static str,
    pub name: &'static str,
}

/// One fault against one service, in each of its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What breaks.
    pub fault: Fault,
    /// Whom it strikes.
    pub service: Service,
    /// What comes of it, by [`State::ALL`].
    pub outcomes: [Outcome; 5],
    /// What shows it.
    pub test: Test,
}

/// One fault in one state of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `Row`")]
pub struct Cell {
    pub fault: Fault,
    pub service: Service,
    pub state: State,
    pub outcome: Outcome,
    pub test: Test,
}

/// Every cell that a test strikes.
pub fn cells() -> impl Iterator<Item = Cell> {
    ROWS.iter().flat_map(|row| {
        State::ALL.into_iter().zip(row.outcomes).filter_map(|(state, outcome)| {
            let Row { fault, service, test, .. } = *row;
            (!matches!(outcome, Outcome::NotApplicable(_) | Outcome::Open)).then_some(Cell {
                fault,
                service,
                state,
                outcome,
                test,
            })
        })
    })
}

/// A fault that a test of its own shows, with whatever state the test brings the service into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What happens, in words.
    pub fault: &'static str,
    /// Whom it strikes.
    pub service: Service,
    /// What comes of it, in words.
    pub outcome: &'static str,
    /// What shows it.
    pub test: Test,
}
