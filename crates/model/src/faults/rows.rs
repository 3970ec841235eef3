use super::Outcome::{Exits, NotApplicable, Open, Recovers, Restarted};
use super::{Fault, Link, Outcome, Row, Server, Service, Test};

/// Faults of one pipeline: the service itself, its links, what strikes its own resources.
const PIPELINES: Test = Test { file: "tests/tests/matrix.rs", name: "a_fault_of_one_pipeline_in_each_state" };
/// Faults of a server, which strike every pipeline at once.
const SERVERS: Test = Test { file: "tests/tests/matrix.rs", name: "a_fault_of_a_server_in_each_state" };
/// Dependencies that stay away.
const BUDGETS: Test =
    Test { file: "tests/tests/matrix.rs", name: "a_dependency_that_stays_away_ends_the_service" };

/// Three brokers, of which one is lost.
const REPLICAS: Test =
    Test { file: "tests/tests/replicas.rs", name: "a_topic_with_too_few_replicas_is_waited_for" };

/// What PostgreSQL alone goes through.
const fn postgres(name: &'static str) -> Test {
    Test { file: "tests/tests/postgres_faults.rs", name }
}

/// Nothing but a delay, or a retry: the drain ends as if nothing had been.
const RECOVERS: [Outcome; 5] = [Recovers, Recovers, Recovers, Recovers, Exits(0)];
const RESTARTED: [Outcome; 5] = [Restarted; 5];

const fn watcher(fault: Fault, outcomes: [Outcome; 5], test: Test) -> Row {
    Row { fault, service: Service::Watcher, outcomes, test }
}

const fn syncer(fault: Fault, outcomes: [Outcome; 5], test: Test) -> Row {
    Row { fault, service: Service::Syncer, outcomes, test }
}

const NO_CURSOR_YET: Outcome = NotApplicable("there is no cursor before the stream is open");
const NO_CURSOR_ANY_MORE: Outcome = NotApplicable("the cursor is closed before the drain begins");
const SILENT: Outcome = NotApplicable("nothing passes on the link: the stream is closed");
const NOTHING_LOCKED_YET: Outcome = NotApplicable("no row is locked before the group is joined");
const ONE_LOCK_ONLY: Outcome =
    NotApplicable("all rows are written, and the statement that records offsets holds nothing else");
const NO_BACKEND_YET: Outcome = NotApplicable("there is no connection before the first one is made");

/// Every fault of the matrix.
pub const ROWS: &[Row] = &[
    watcher(Fault::ServiceKilled, RESTARTED, PIPELINES),
    watcher(Fault::ServiceTerminated, [Exits(0), Exits(0), Exits(0), Exits(0), Exits(75)], PIPELINES),
    watcher(Fault::LinkCut(Link::WatcherMongodb), RECOVERS, PIPELINES),
    watcher(Fault::LinkLosesRequests(Link::WatcherMongodb), RECOVERS, PIPELINES),
    watcher(Fault::LinkLosesAnswers(Link::WatcherMongodb), RECOVERS, PIPELINES),
    watcher(Fault::LinkSlow(Link::WatcherMongodb), RECOVERS, PIPELINES),
    watcher(
        Fault::LinkReset(Link::WatcherMongodb),
        [Recovers, Recovers, Recovers, Recovers, SILENT],
        PIPELINES,
    ),
    watcher(Fault::LinkCut(Link::WatcherKafka), RECOVERS, PIPELINES),
    watcher(Fault::LinkLosesRequests(Link::WatcherKafka), RECOVERS, PIPELINES),
    watcher(Fault::LinkLosesAnswers(Link::WatcherKafka), RECOVERS, PIPELINES),
    watcher(Fault::LinkSlow(Link::WatcherKafka), RECOVERS, PIPELINES),
    watcher(Fault::LinkReset(Link::WatcherKafka), RECOVERS, PIPELINES),
    watcher(Fault::LinkCut(Link::WatcherRedis), RECOVERS, PIPELINES),
    watcher(Fault::LinkLosesRequests(Link::WatcherRedis), RECOVERS, PIPELINES),
    watcher(Fault::LinkLosesAnswers(Link::WatcherRedis), RECOVERS, PIPELINES),
    watcher(Fault::LinkSlow(Link::WatcherRedis), RECOVERS, PIPELINES),
    watcher(Fault::LinkReset(Link::WatcherRedis), RECOVERS, PIPELINES),
    watcher(
        Fault::CursorKilled,
        [NO_CURSOR_YET, Recovers, Recovers, Recovers, NO_CURSOR_ANY_MORE],
        PIPELINES,
    ),
    watcher(Fault::NotEnoughReplicas, [Open, Recovers, Recovers, Open, Exits(0)], REPLICAS),
    watcher(Fault::LimitLowered, [Recovers, Recovers, Recovers, Recovers, Exits(75)], PIPELINES),
    watcher(Fault::ServiceFrozen, [Recovers, Exits(75), Exits(75), Exits(75), Exits(75)], PIPELINES),
    watcher(Fault::ServerKilled(Server::Mongodb), RECOVERS, SERVERS),
    watcher(Fault::ServerFrozen(Server::Mongodb), RECOVERS, SERVERS),
    watcher(Fault::SessionsKilled, RECOVERS, SERVERS),
    watcher(Fault::ServerKilled(Server::Kafka), RECOVERS, SERVERS),
    watcher(Fault::ServerFrozen(Server::Kafka), RECOVERS, SERVERS),
    watcher(Fault::ServerKilled(Server::Redis), RECOVERS, SERVERS),
    watcher(Fault::ServerRestarted(Server::Redis), RECOVERS, SERVERS),
    watcher(Fault::ServerFrozen(Server::Redis), RECOVERS, SERVERS),
    watcher(Fault::ReadOnlyReplica, RECOVERS, SERVERS),
    watcher(Fault::OutOfMemory, RECOVERS, SERVERS),
    watcher(Fault::OutlastsRetries(Server::Mongodb), [Open, Exits(69), Open, Open, Open], BUDGETS),
    watcher(Fault::OutlastsRetries(Server::Kafka), [Open, Exits(69), Open, Open, Open], BUDGETS),
    watcher(Fault::OutlastsRetries(Server::Redis), [Open, Exits(69), Open, Open, Open], BUDGETS),
    syncer(Fault::ServiceKilled, RESTARTED, PIPELINES),
    syncer(Fault::ServiceTerminated, [Exits(0), Exits(0), Exits(0), Exits(0), Exits(75)], PIPELINES),
    syncer(Fault::LinkCut(Link::SyncerKafka), RECOVERS, PIPELINES),
    syncer(Fault::LinkLosesRequests(Link::SyncerKafka), RECOVERS, PIPELINES),
    syncer(Fault::LinkLosesAnswers(Link::SyncerKafka), RECOVERS, PIPELINES),
    syncer(Fault::LinkSlow(Link::SyncerKafka), RECOVERS, PIPELINES),
    syncer(Fault::LinkReset(Link::SyncerKafka), RECOVERS, PIPELINES),
    syncer(Fault::LinkCut(Link::SyncerPostgres), RECOVERS, PIPELINES),
    syncer(Fault::LinkLosesRequests(Link::SyncerPostgres), RECOVERS, PIPELINES),
    syncer(Fault::LinkLosesAnswers(Link::SyncerPostgres), RECOVERS, PIPELINES),
    syncer(Fault::LinkSlow(Link::SyncerPostgres), RECOVERS, PIPELINES),
    syncer(Fault::LinkReset(Link::SyncerPostgres), RECOVERS, PIPELINES),
    syncer(Fault::CommitLostBefore, RECOVERS, PIPELINES),
    syncer(Fault::CommitLostDuring, RECOVERS, PIPELINES),
    syncer(Fault::CommitLostAfter, RECOVERS, PIPELINES),
    syncer(Fault::BackendsTerminated, [NO_BACKEND_YET, Recovers, Recovers, Recovers, Exits(0)], PIPELINES),
    syncer(Fault::StatementsCancelled, [NO_BACKEND_YET, Recovers, Recovers, Recovers, Exits(0)], PIPELINES),
    syncer(Fault::TableLocked, RECOVERS, PIPELINES),
    syncer(Fault::ConnectionsExhausted, RECOVERS, PIPELINES),
    syncer(
        Fault::Deadlock,
        [NOTHING_LOCKED_YET, Recovers, Recovers, ONE_LOCK_ONLY, Exits(0)],
        postgres("a_deadlock_is_tried_again"),
    ),
    syncer(
        Fault::DiskFull,
        [Open, Recovers, Recovers, Open, Exits(0)],
        postgres("a_full_disk_is_waited_for"),
    ),
    syncer(Fault::SerializationFailure, [NotApplicable(READ_COMMITTED); 5], PIPELINES),
    syncer(Fault::ServiceFrozen, RECOVERS, PIPELINES),
    syncer(Fault::ServerKilled(Server::Kafka), RECOVERS, SERVERS),
    syncer(Fault::ServerFrozen(Server::Kafka), RECOVERS, SERVERS),
    syncer(Fault::ServerKilled(Server::Postgres), RECOVERS, SERVERS),
    syncer(Fault::ServerRestarted(Server::Postgres), RECOVERS, SERVERS),
    syncer(Fault::ServerFrozen(Server::Postgres), RECOVERS, SERVERS),
    syncer(Fault::ReadOnlyStandby, RECOVERS, SERVERS),
    syncer(Fault::OutlastsRetries(Server::Postgres), [Open, Exits(69), Open, Open, Open], BUDGETS),
    syncer(Fault::OutlastsRetries(Server::Kafka), [Exits(69), Open, Open, Open, Open], BUDGETS),
];

const READ_COMMITTED: &str = "every transaction of the Syncer is read committed, where PostgreSQL raises none; classified as transient all the same";
