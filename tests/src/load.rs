//! Writers that never pause, until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cdc_devstack::workload::{Applied, Writer};
use mongodb::Client;
use tokio::task::JoinSet;

use crate::Failure;

/// A running load.
#[derive(Debug)]
pub struct Load {
    writers: JoinSet<Result<Applied, mongodb::error::Error>>,
    stop: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
}

impl Load {
    /// Starts `writers` writers with `players` players each.
    #[must_use]
    pub fn start(client: &Client, database: &str, seed: u64, writers: u32, players: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let operations = Arc::new(AtomicU64::new(0));
        let mut set = JoinSet::new();
        for number in 0..writers {
            let range = number * players..(number + 1) * players;
            let mut writer = Writer::new(client, database, seed + u64::from(number), range, 200);
            let (stop, operations) = (Arc::clone(&stop), Arc::clone(&operations));
            set.spawn(async move {
                let mut applied = Applied::default();
                while !stop.load(Ordering::Relaxed) {
                    let step = writer.step().await?;
                    operations.fetch_add(step.total(), Ordering::Relaxed);
                    applied.add(step);
                }
                Ok(applied)
            });
        }
        Self { writers: set, stop, operations }
    }

    /// Changes that MongoDB has acknowledged so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Ends the load and says what it did.
    ///
    /// # Errors
    /// If a writer failed.
    pub async fn stop(mut self) -> Result<Applied, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut applied = Applied::default();
        while let Some(writer) = self.writers.join_next().await {
            applied.add(writer??);
        }
        Ok(applied)
    }
}
