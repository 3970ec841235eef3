//! Writers that never pause, until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cdc_devstack::source::Source;
use cdc_devstack::workload::{Applied, Writer};
use mongodb::Client;
use tokio::task::JoinSet;

use crate::Failure;

/// Between two tries of a writer whose server is away.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A running load.
#[derive(Debug)]
pub struct Load {
    writers: JoinSet<Result<Applied, mongodb::error::Error>>,
    stop: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
}

/// How writers write.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How many there are.
    pub writers: u32,
    /// Documents of each, in each collection.
    pub players: u32,
    /// Bytes of text in each document.
    pub padding: usize,
    /// The rest after each operation; zero for none.
    pub pause: Duration,
    /// Whether a writer goes on after an error. What it then believes of its documents it reads anew.
    pub survives: bool,
}

impl Load {
    /// Starts `writers` writers with `players` documents each in each collection, which never rest and fail with the
    /// first error.
    #[must_use]
    pub fn start(client: &Client, source: &Source, seed: u64, writers: u32, players: u32) -> Self {
        let manner = Manner { writers, players, padding: 200, pause: Duration::ZERO, survives: false };
        Self::start_as(client, source, seed, manner)
    }

    /// The same in another manner.
    #[must_use]
    pub fn start_as(client: &Client, source: &Source, seed: u64, manner: Manner) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let operations = Arc::new(AtomicU64::new(0));
        let mut set = JoinSet::new();
        for number in 0..manner.writers {
            let range = number * manner.players..(number + 1) * manner.players;
            let writer = Writer::new(client, source, seed + u64::from(number), range, manner.padding);
            set.spawn(write(writer, manner, Arc::clone(&stop), Arc::clone(&operations)));
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

async fn write(
    mut writer: Writer,
    manner: Manner,
    stop: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
) -> Result<Applied, mongodb::error::Error> {
    let mut applied = Applied::default();
    // Documents of an earlier load may be there.
    let mut knows = !manner.survives;
    while !stop.load(Ordering::Relaxed) {
        let step = match knows {
            true => writer.step().await,
            false => writer.relearn().await.map(|()| Applied::default()),
        };
        match step {
            Ok(step) => {
                knows = true;
                operations.fetch_add(step.total(), Ordering::Relaxed);
                applied.add(step);
                if !manner.pause.is_zero() {
                    tokio::time::sleep(manner.pause).await;
                }
            }
            Err(_) if manner.survives => {
                knows = false;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(applied)
}
