//! The live stream of changes of all collections, from several writers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cdc_devstack::source::Source;
use cdc_devstack::workload::Writer;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::screen::Screen;

const WRITERS: u32 = 4;
/// Of each writer, in each collection.
const DOCUMENTS_EACH: u32 = 150;
const PADDING_BYTES: usize = 200;

pub(crate) struct Traffic {
    writers: JoinSet<mongodb::error::Result<()>>,
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
}

impl Traffic {
    pub(crate) fn start(mongo: &mongodb::Client, source: &Source) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let changes = Arc::new(AtomicU64::new(0));
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let numbers = number * DOCUMENTS_EACH..(number + 1) * DOCUMENTS_EACH;
            let mut writer = Writer::new(mongo, source, u64::from(number) + 1, numbers, PADDING_BYTES);
            let (stop, changes) = (Arc::clone(&stop), Arc::clone(&changes));
            writers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    changes.fetch_add(writer.step().await?.total(), Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { writers, stop, changes }
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Waits for so many changes, and shows how far it is.
    pub(crate) async fn until(&self, screen: &Screen, changes: u64) -> Outcome<()> {
        let mut last = (self.changes(), tokio::time::Instant::now());
        while self.changes() < changes {
            tokio::time::sleep(Duration::from_millis(50)).await;
            screen.progress(self.changes(), crate::CHANGES);
            if self.changes() > last.0 {
                last = (self.changes(), tokio::time::Instant::now());
            } else if last.1.elapsed() > Duration::from_secs(30) {
                return Err("MongoDB has not acknowledged a change for 30 s".into());
            }
        }
        Ok(())
    }

    /// Ends the stream; returns how many changes there were.
    pub(crate) async fn stop(mut self) -> Outcome<u64> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = self.writers.join_next().await {
            writer??;
        }
        Ok(self.changes())
    }
}
