//! The strikes themselves, and how each is taken back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use cdc_devstack::Stack;
use cdc_devstack::links::LinkName;
use cdc_devstack::pipeline::Role;
use cdc_devstack::proxy::{Direction, Flow, Moment, Proxy};
use cdc_model::faults::{Cell, Fault, Link, Server, State};
use futures_util::TryStreamExt as _;

use super::brake::Brake;
use super::{Pipeline, SOON, link_of, name_of, role_of};
use crate::{Failure, topic};

/// How long a link stays broken, where nothing else is said.
const OUTAGE: Duration = Duration::from_millis(700);
/// The same, for a link on which the client waits for long before it takes silence for a fault: longer than its
/// patience (the change stream's five seconds and a ping of one; Redis' two seconds).
const MONGODB_SILENCE: Duration = Duration::from_millis(6_500);
const REDIS_SILENCE: Duration = Duration::from_millis(2_500);
/// For how long a server is frozen.
const FROZEN: Duration = Duration::from_secs(3);
/// A slow link passes this much in each tick: some tens of KiB in a second.
const SLOW: Flow = Flow::Slow { bytes: 512, tick: Duration::from_millis(10) };
/// A reset comes after this many bytes of an answer, fewer than any answer of the servers has.
const RESET_AFTER: u64 = 9;
/// The longest until something passes that can be reset: the drivers' own heartbeats come every ten seconds.
const RESET_WITHIN: Duration = Duration::from_secs(15);
/// In bytes: some of the workload's messages fit, and few batches do.
const LOWERED_LIMIT: &str = "2000";
/// How far two signals have to be apart to be two: a service takes those within 50 ms for one.
const APART: Duration = Duration::from_millis(100);
/// What the Syncer's commits begin with.
const COMMIT: &[u8] = b"COMMIT;";

impl Pipeline {
    /// Strikes the pipeline.
    ///
    /// # Errors
    /// If the strike is not carried out.
    pub(super) async fn strike(&mut self, cell: Cell) -> Result<(), Failure> {
        self.resets = self.reset_link(cell.fault).resets();
        match cell.fault {
            Fault::ServiceKilled => self.post_mut(role_of(cell)).running()?.kill().await?,
            Fault::ServiceTerminated => {
                if cell.state == State::Draining {
                    tokio::time::sleep(APART).await;
                }
                self.post_mut(role_of(cell)).running()?.request_stop()?;
            }
            Fault::ServiceFrozen => self.post_mut(role_of(cell)).running()?.pause()?,
            Fault::LinkCut(link) => self.links.get(name_of(link)).cut(),
            Fault::LinkLosesRequests(link) => self.set(link, Flow::Hold, Flow::Pass),
            Fault::LinkLosesAnswers(link) => self.set(link, Flow::Pass, Flow::Hold),
            Fault::LinkSlow(link) => self.set(link, SLOW, SLOW),
            Fault::LinkReset(link) => self.set(link, Flow::Pass, Flow::ResetAfter(RESET_AFTER)),
            Fault::CursorKilled => self.kill_cursors().await?,
            Fault::LimitLowered => self.configure_topic("max.message.bytes", LOWERED_LIMIT).await?,
            Fault::BackendsTerminated => self.signal_backends("pg_terminate_backend", "true").await?,
            Fault::StatementsCancelled => {
                self.signal_backends("pg_cancel_backend", "state = 'active'").await?;
            }
            Fault::CommitLostBefore => self.lose_commit(Moment::Before),
            Fault::CommitLostDuring => self.lose_commit(Moment::During),
            Fault::CommitLostAfter => self.lose_commit(Moment::After),
            Fault::ConnectionsExhausted => {
                self.limit_connections(0).await?;
                self.end_backends().await?;
            }
            Fault::TableLocked => self.lock_table().await?,
            Fault::ServerKilled(_)
            | Fault::ServerRestarted(_)
            | Fault::ServerFrozen(_)
            | Fault::OutlastsRetries(_)
            | Fault::SessionsKilled
            | Fault::NotEnoughReplicas
            | Fault::Deadlock
            | Fault::SerializationFailure
            | Fault::DiskFull
            | Fault::ReadOnlyStandby
            | Fault::ReadOnlyReplica
            | Fault::OutOfMemory => {
                return Err(format!("{:?} does not strike one pipeline alone", cell.fault).into());
            }
        }
        Ok(())
    }

    /// Lets the fault last as long as it has to, and sees that it took place.
    pub(super) async fn outlast(&mut self, cell: Cell) -> Result<(), Failure> {
        match cell.fault {
            Fault::ServiceKilled | Fault::ServiceTerminated => {}
            Fault::ServiceFrozen => self.take_over(role_of(cell)).await?,
            Fault::LinkLosesRequests(Link::WatcherMongodb)
            | Fault::LinkLosesAnswers(Link::WatcherMongodb) => {
                tokio::time::sleep(MONGODB_SILENCE).await;
            }
            Fault::LinkLosesRequests(Link::WatcherRedis) | Fault::LinkLosesAnswers(Link::WatcherRedis) => {
                tokio::time::sleep(REDIS_SILENCE).await;
            }
            Fault::LinkReset(_)
            | Fault::CommitLostBefore
            | Fault::CommitLostDuring
            | Fault::CommitLostAfter => {
                if !self.reset_link(cell.fault).reset_since(self.resets, RESET_WITHIN).await {
                    return Err("nothing was reset: nothing passed".into());
                }
            }
            // Until the new limit has been asked for and lived with.
            Fault::LimitLowered => tokio::time::sleep(OUTAGE * 3).await,
            _ => tokio::time::sleep(OUTAGE).await,
        }
        Ok(())
    }

    /// Takes the strike back.
    pub(super) async fn mend(&mut self, fault: Fault) -> Result<(), Failure> {
        if let Some(link) = link_of(fault) {
            self.links.get(link).heal();
        }
        match fault {
            Fault::LimitLowered => self.configure_topic("max.message.bytes", "67108864").await?,
            Fault::ConnectionsExhausted => self.limit_connections(-1).await?,
            _ => {}
        }
        Ok(())
    }

    /// The link that a reset strikes; any other where the fault is none.
    const fn reset_link(&self, fault: Fault) -> &Proxy {
        match link_of(fault) {
            Some(link) => self.links.get(link),
            None => self.links.get(LinkName::SyncerPostgres),
        }
    }

    fn set(&self, link: Link, to_server: Flow, to_client: Flow) {
        let link = self.links.get(name_of(link));
        link.set(Direction::ToServer, to_server);
        link.set(Direction::ToClient, to_client);
    }

    fn lose_commit(&self, moment: Moment) {
        let text = Arc::from(COMMIT);
        self.links.get(LinkName::SyncerPostgres).set(Direction::ToServer, Flow::ResetAt { text, moment });
    }

    /// Kills the cursors of this pipeline's Watcher: they carry its name as a comment.
    async fn kill_cursors(&self) -> Result<(), Failure> {
        let stages = vec![
            doc! { "$currentOp": { "allUsers": true, "idleCursors": true, "localOps": true } },
            doc! { "$match": {
                "ns": { "$regex": format!("^{}\\.", self.name) },
                "cursor.originatingCommand.comment": "cdc-watcher",
            } },
        ];
        let found: Vec<Document> =
            self.mongo.database("admin").aggregate(stages).await?.try_collect().await?;
        let mut killed = 0;
        for operation in found {
            let cursor = operation.get_document("cursor")?.get_i64("cursorId")?;
            let namespace = operation.get_str("ns")?;
            let collection = namespace.split_once('.').map_or(namespace, |(_, collection)| collection);
            let command = doc! { "killCursors": collection, "cursors": [cursor] };
            let answer = self.mongo.database(&self.name).run_command(command).await?;
            killed += answer.get_array("cursorsKilled")?.len();
        }
        if killed == 0 {
            return Err("the Watcher has no cursor that could be killed".into());
        }
        Ok(())
    }

    async fn configure_topic(&self, name: &'static str, value: &'static str) -> Result<(), Failure> {
        for topic in self.source.topics() {
            topic::configure(&self.servers.kafka_brokers, &topic, name, value).await?;
        }
        Ok(())
    }

    /// Signals until it has struck somebody.
    async fn signal_backends(&self, function: &str, condition: &str) -> Result<(), Failure> {
        let name = &self.name;
        let statement =
            format!("SELECT {function}(pid) FROM pg_stat_activity WHERE usename = '{name}' AND {condition}");
        let superuser = self.superuser().await?;
        let deadline = Instant::now() + SOON;
        while superuser.query(&statement, &[]).await?.is_empty() {
            if Instant::now() >= deadline {
                return Err(format!("{function} found nobody to strike").into());
            }
        }
        Ok(())
    }

    /// Ends whatever connections there are.
    async fn end_backends(&self) -> Result<(), Failure> {
        let statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        self.superuser().await?.query(statement, &[&self.name]).await?;
        Ok(())
    }

    /// Locks the table for the time of the outage. Where that is the brake already, it stays on as long.
    async fn lock_table(&mut self) -> Result<(), Failure> {
        let is_brake = self.brakes.iter().any(|brake| matches!(brake, Brake::RowsLocked));
        let held = self.lock.take_if(|_| is_brake);
        let session = match held {
            Some(session) => session,
            None => {
                let session = self.superuser().await?;
                session.batch_execute("BEGIN; LOCK TABLE players IN EXCLUSIVE MODE").await?;
                session
            }
        };
        tokio::spawn(async move {
            tokio::time::sleep(OUTAGE).await;
            drop(session);
        });
        Ok(())
    }

    async fn limit_connections(&self, limit: i32) -> Result<(), Failure> {
        let statement = format!("ALTER ROLE {} CONNECTION LIMIT {limit}", self.name);
        Ok(self.superuser().await?.batch_execute(&statement).await?)
    }

    /// Another instance takes the frozen one's place; then that one wakes, and once it has seen the other at
    /// work the other leaves.
    async fn take_over(&mut self, role: Role) -> Result<(), Failure> {
        let rival = self.post(role).deployment.rival("rival")?;
        let mut rival = rival.start().await?;
        self.post_mut(role).running()?.resume()?;
        // Whatever it had in hand it tries now.
        tokio::time::sleep(OUTAGE).await;
        let status = rival.terminate(SOON).await?;
        if status.code() == Some(0) { Ok(()) } else { Err(format!("the rival: {status}").into()) }
    }
}

/// Strikes a server, and with it every pipeline.
///
/// # Errors
/// If the strike is not carried out.
pub async fn strike_server(stack: &mut Stack, fault: Fault) -> Result<(), Failure> {
    match fault {
        Fault::ServerKilled(Server::Mongodb) => stack.mongod.kill().await,
        Fault::ServerKilled(Server::Kafka) => stack.kafka.kill().await,
        Fault::ServerKilled(Server::Postgres) => stack.postgres.kill().await,
        Fault::ServerKilled(Server::Redis) => stack.redis.kill().await,
        Fault::ServerRestarted(Server::Mongodb) => stack.mongod.stop().await?,
        Fault::ServerRestarted(Server::Kafka) => stack.kafka.stop().await?,
        Fault::ServerRestarted(Server::Postgres) => stack.postgres.stop().await?,
        Fault::ServerRestarted(Server::Redis) => stack.redis.stop().await?,
        Fault::ServerFrozen(Server::Mongodb) => stack.mongod.pause()?,
        Fault::ServerFrozen(Server::Kafka) => stack.kafka.pause()?,
        Fault::ServerFrozen(Server::Postgres) => stack.postgres.pause()?,
        Fault::ServerFrozen(Server::Redis) => stack.redis.pause()?,
        Fault::ReadOnlyStandby => stack.postgres.restart_as_standby().await?,
        Fault::SessionsKilled => {
            let client = mongodb::Client::with_uri_str(stack.mongod.uri()).await?;
            client.database("admin").run_command(doc! { "killAllSessions": [] }).await?;
        }
        // Nobody listens on port 1.
        Fault::ReadOnlyReplica => redis(stack, &["REPLICAOF", "127.0.0.1", "1"]).await?,
        Fault::OutOfMemory => redis(stack, &["CONFIG", "SET", "maxmemory", "1"]).await?,
        _ => return Err(format!("{fault:?} is not a server's").into()),
    }
    Ok(())
}

/// Lets the fault last, and takes it back.
///
/// # Errors
/// If the server does not come back.
pub async fn heal_server(stack: &mut Stack, fault: Fault) -> Result<(), Failure> {
    match fault {
        Fault::ServerKilled(server) | Fault::ServerRestarted(server) => match server {
            Server::Mongodb => stack.mongod.restart().await?,
            Server::Kafka => stack.kafka.restart().await?,
            Server::Postgres => stack.postgres.restart().await?,
            Server::Redis => stack.redis.restart().await?,
        },
        Fault::ServerFrozen(server) => {
            tokio::time::sleep(FROZEN).await;
            match server {
                Server::Mongodb => stack.mongod.resume()?,
                Server::Kafka => stack.kafka.resume()?,
                Server::Postgres => stack.postgres.resume()?,
                Server::Redis => stack.redis.resume()?,
            }
        }
        Fault::ReadOnlyStandby => {
            tokio::time::sleep(OUTAGE).await;
            stack.postgres.execute("SELECT pg_promote()").await?;
        }
        Fault::ReadOnlyReplica => {
            tokio::time::sleep(OUTAGE).await;
            redis(stack, &["REPLICAOF", "NO", "ONE"]).await?;
        }
        Fault::OutOfMemory => {
            tokio::time::sleep(OUTAGE).await;
            redis(stack, &["CONFIG", "SET", "maxmemory", "0"]).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn redis(stack: &Stack, words: &[&str]) -> Result<(), Failure> {
    let client = redis::Client::open(stack.redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    Ok(command.query_async(&mut connection).await?)
}
