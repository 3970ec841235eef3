//! After the fault: the services run, as a supervisor sees to, the topic holds every event and each table
//! equals its collection; and what was struck came through it as the cell says.

use std::time::{Duration, Instant};

use cdc_devstack::compare;
use cdc_devstack::pipeline::{HEALTHY_WITHIN, Role};
use cdc_model::faults::{Cell, Outcome};

use super::{LOOK_INTERVAL, Pipeline, SOON, role_of};
use crate::{Failure, history, topic, verdict};

/// Between two comparisons.
const COMPARE_INTERVAL: Duration = Duration::from_millis(200);

impl Pipeline {
    /// Ends the load, waits until everything has arrived, and says whether the cells' outcomes are what happened.
    ///
    /// # Errors
    /// If something is missing, stale or too many after a minute, or a service fared otherwise.
    pub async fn converge(&mut self, cells: &[Cell]) -> Result<(), Failure> {
        self.arrive().await?;
        self.links.heal();
        for role in [Role::Watcher, Role::Syncer] {
            let cell = cells.iter().find(|cell| role_of(**cell) == role);
            self.judge(role, cell.map_or(Outcome::Recovers, |cell| cell.outcome))?;
        }
        Ok(())
    }

    /// Ends the load and waits until everything that happened since [`Pipeline::begin`] is in the topic and in the
    /// table, and both services are ready. Returns the codes with which they have ended by themselves.
    ///
    /// # Errors
    /// If something is missing, stale or too many after a minute.
    pub async fn arrive(&mut self) -> Result<Vec<i32>, Failure> {
        if let Some(load) = self.load.take() {
            load.stop().await?;
        }
        let deadline = Instant::now() + SOON;
        let happened = history::changes_after(&self.mongo, &self.source, self.since).await?;
        if happened.is_empty() {
            return Err("nothing happened in the source, so nothing was shown".into());
        }
        loop {
            self.supervise()?;
            let found = self.compare(&happened).await;
            match found {
                Ok(None) => break,
                Ok(Some(difference)) if Instant::now() >= deadline => return Err(difference.into()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Ok(Some(_)) | Err(_) => tokio::time::sleep(COMPARE_INTERVAL).await,
            }
        }
        self.ensure_running().await?;
        Ok([self.watcher.exits.as_slice(), &self.syncer.exits].concat())
    }

    /// Nothing, or the first difference.
    async fn compare(&self, happened: &[history::Change]) -> Result<Option<String>, Failure> {
        let postgres = self.superuser().await?;
        let comparison = compare::all(&self.mongo, &postgres, &self.source).await?;
        if !comparison.is_equal() {
            return Ok(Some(comparison.to_string()));
        }
        let (brokers, topics, ends) =
            (self.servers.kafka_brokers.clone(), self.source.topics(), self.ends.clone());
        let published =
            tokio::task::spawn_blocking(move || topic::read_topics(&brokers, &topics, &ends)).await??;
        let absent = verdict::absent(happened, &published);
        let reordered = verdict::reordered(&published);
        Ok(match (absent.first(), reordered.first()) {
            (None, None) => None,
            (Some(first), _) => {
                Some(format!("{} of {} events are not in the topic: {first:?}", absent.len(), happened.len()))
            }
            (None, Some(key)) => Some(format!("the positions of {key} go back in the topic")),
        })
    }

    /// Waits, and starts again meanwhile what ends.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn wait(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.supervise()?;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// SIGKILL for a service; if it has just ended by itself, that is as good.
    ///
    /// # Errors
    /// If it cannot be started again.
    pub async fn kill(&mut self, role: Role) -> Result<(), Failure> {
        self.supervise()?;
        // Gone between the look and the blow: the next look finds it.
        _ = self.post_mut(role).running()?.kill().await;
        Ok(())
    }

    /// Waits until a service has ended by itself. It is not started again yet.
    ///
    /// # Errors
    /// If it still runs after `within`.
    pub async fn gone(&mut self, role: Role, within: Duration) -> Result<(), Failure> {
        self.post_mut(role).running()?.exited(within).await?;
        Ok(())
    }

    /// After a failed cell: everything passes, whatever was held is let go, both services run.
    ///
    /// # Errors
    /// If they do not.
    pub async fn recover(&mut self) -> Result<(), Failure> {
        self.release(None);
        self.links.heal();
        if let Some(load) = self.load.take() {
            load.stop().await?;
        }
        for post in [&mut self.watcher, &mut self.syncer] {
            post.service = None;
        }
        self.ensure_running().await
    }

    /// Starts again what has ended.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn supervise(&mut self) -> Result<(), Failure> {
        for post in [&mut self.watcher, &mut self.syncer] {
            if let Some(service) = &mut post.service
                && let Some(status) = service.exit_status()?
            {
                match status.code() {
                    Some(code) => post.exits.push(code),
                    None => post.kills += 1,
                }
                post.service = None;
            }
            if post.service.is_none() {
                post.service = Some(post.deployment.spawn()?);
            }
        }
        Ok(())
    }

    /// Both services are up and ready.
    ///
    /// # Errors
    /// If one is not within a minute.
    pub async fn ensure_running(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + HEALTHY_WITHIN;
        loop {
            self.supervise()?;
            let mut ready = true;
            for post in [&mut self.watcher, &mut self.syncer] {
                ready &= post.running()?.get("/readyz").await.is_ok_and(|answer| answer.status == 200);
            }
            if ready {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("{} is not ready", self.name).into());
            }
            tokio::time::sleep(COMPARE_INTERVAL).await;
        }
    }

    fn judge(&self, role: Role, outcome: Outcome) -> Result<(), Failure> {
        let post = self.post(role);
        let fared = (post.exits.as_slice(), post.kills);
        let is_as_said = match outcome {
            Outcome::Recovers => fared == (&[], 0),
            Outcome::Exits(code) => fared == (&[i32::from(code)], 0),
            Outcome::Restarted => fared == (&[], 1),
            Outcome::NotApplicable(_) | Outcome::Open => false,
        };
        if is_as_said {
            return Ok(());
        }
        Err(format!(
            "{} was to be {outcome:?}, and ended {:?} times by itself and {} times by a kill",
            role.name(),
            post.exits,
            post.kills
        )
        .into())
    }
}
