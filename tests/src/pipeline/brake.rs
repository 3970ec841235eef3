//! How a service is brought into a state, and held there until it is struck.

use std::time::Instant;

use cdc_devstack::links::LinkName;
use cdc_devstack::pipeline::Role;
use cdc_model::faults::State;

use super::{LOOK_INTERVAL, Pipeline, SOON};
use crate::Failure;
use crate::site::until_metric;

/// What holds a service where it is. A lock is held by the session in `Pipeline::lock`.
#[derive(Debug)]
pub(super) enum Brake {
    /// A link on which nothing arrives.
    Held(LinkName),
    /// Nobody writes rows.
    RowsLocked,
    /// Nobody records offsets.
    OffsetsLocked,
}

/// Nobody writes rows, everybody may read them.
const LOCK_ROWS: &str = "BEGIN; LOCK TABLE players IN EXCLUSIVE MODE";
/// Batches may hold their partitions (`FOR KEY SHARE`), and nobody records offsets.
const LOCK_OFFSETS: &str = "BEGIN; LOCK TABLE cdc.partitions IN SHARE MODE";

/// So many changes are made before a strike, so that something is at stake.
const OPERATIONS_BEFORE: u64 = 10;

impl Pipeline {
    /// Brings a service into a state. The last thing that it does is to read `cdc_state` from `/metrics`.
    /// `striking` is the link that will be struck: where there is a choice, another one is held.
    ///
    /// # Errors
    /// If the state is not reached.
    pub async fn bring(
        &mut self,
        role: Role,
        state: State,
        striking: Option<LinkName>,
    ) -> Result<(), Failure> {
        match (role, state) {
            (Role::Watcher, State::Connecting) => {
                let link = match striking {
                    Some(LinkName::WatcherRedis) => LinkName::WatcherKafka,
                    _ => LinkName::WatcherRedis,
                };
                self.start_held(role, link).await?;
            }
            (Role::Syncer, State::Connecting) => {
                let link = match striking {
                    Some(LinkName::SyncerPostgres) => LinkName::SyncerKafka,
                    _ => LinkName::SyncerPostgres,
                };
                self.start_held(role, link).await?;
            }
            (_, State::Streaming) => {}
            (Role::Watcher, State::AwaitingAck | State::Draining) => self.hold(LinkName::WatcherKafka),
            (Role::Watcher, State::SavingToken) => self.hold(LinkName::WatcherRedis),
            (Role::Syncer, State::AwaitingAck | State::Draining) => {
                self.lock(LOCK_ROWS, Brake::RowsLocked).await?;
            }
            (Role::Syncer, State::SavingToken) => self.lock(LOCK_OFFSETS, Brake::OffsetsLocked).await?,
        }
        self.start_load();
        while self.operations() < OPERATIONS_BEFORE {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        if state == State::Draining {
            self.reach(role, State::AwaitingAck).await?;
            self.post_mut(role).running()?.request_stop()?;
        }
        self.reach(role, state).await
    }

    /// Takes the brake off, unless it is on the link that was struck: what was ordered there stays.
    pub fn release(&mut self, struck: Option<LinkName>) {
        for brake in self.brakes.drain(..) {
            match brake {
                Brake::Held(link) if Some(link) != struck => self.links.get(link).heal(),
                Brake::Held(_) | Brake::RowsLocked | Brake::OffsetsLocked => {}
            }
        }
        // The session's end is the lock's.
        self.lock = None;
    }

    /// Waits until the service says that it is in this state.
    ///
    /// # Errors
    /// If it ends, or does not within a minute.
    pub async fn reach(&mut self, role: Role, state: State) -> Result<(), Failure> {
        let deadline = Instant::now() + SOON;
        loop {
            let seen = self.post(role).state().await;
            if seen == Some(state) {
                return Ok(());
            }
            if let Some(status) = self.post_mut(role).running()?.exit_status()? {
                return Err(format!("{} ended on its way to {state:?}: {status}", role.name()).into());
            }
            if Instant::now() >= deadline {
                return Err(format!("{} did not reach {state:?}; it is in {seen:?}", role.name()).into());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Starts the service anew while a link that it needs first is held, and waits until it waits there.
    async fn start_held(&mut self, role: Role, link: LinkName) -> Result<(), Failure> {
        let post = self.post_mut(role);
        if let Some(mut service) = post.service.take() {
            let status = service.terminate(SOON).await?;
            if status.code() != Some(0) {
                return Err(format!("{} did not drain in peace: {status}", role.name()).into());
            }
        }
        let before = self.links.get(link).accepted();
        self.hold(link);
        let post = self.post_mut(role);
        post.service = Some(post.deployment.spawn()?);
        let deadline = Instant::now() + SOON;
        while self.links.get(link).accepted() == before {
            if Instant::now() >= deadline {
                return Err(format!("{} does not come to the held link {link:?}", role.name()).into());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    fn hold(&mut self, link: LinkName) {
        self.links.get(link).hold();
        self.brakes.push(Brake::Held(link));
    }

    /// Once the Syncer writes: one that has no partition yet would wait for it in front of the lock.
    async fn lock(&mut self, statements: &str, brake: Brake) -> Result<(), Failure> {
        self.start_load();
        let syncer = self.post_mut(Role::Syncer).running()?;
        until_metric(syncer, "syncer_messages_written_total", &[], 1.0, SOON).await?;
        let session = self.superuser().await?;
        session.batch_execute(statements).await?;
        self.lock = Some(session);
        self.brakes.push(brake);
        Ok(())
    }
}
