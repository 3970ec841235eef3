//! Both services in one file, for one process.

use super::common;
use super::layers::Sources;
use super::problem::ConfigError;
use super::section::{Section, read_tree};
use super::syncer::SyncerConfig;
use super::watcher::WatcherConfig;

/// Both services in one process, `pipeline.yaml`.
#[derive(Debug)]
pub struct PipelineConfig {
    /// `watcher`
    pub watcher: WatcherConfig,
    /// `syncer`
    pub syncer: SyncerConfig,
}

impl PipelineConfig {
    /// Reads and checks `pipeline.yaml` and the layers above it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        read_tree(&sources.tree()?, Self::read).value
    }

    pub(super) fn read(pipeline: &mut Section<'_>) -> Self {
        let watcher = pipeline.section("watcher", WatcherConfig::read);
        let filled = watcher.namespaces();
        let syncer = pipeline.section("syncer", |syncer| SyncerConfig::read_beside(syncer, &filled));
        let read = Self { watcher, syncer };
        let (watcher, syncer) = (&read.watcher, &read.syncer);
        // Port 0 asks for any free one.
        if watcher.http_listen == syncer.http_listen && watcher.http_listen.port() != 0 {
            let text = format!("watcher.http.listen and syncer.http.listen are both {}", watcher.http_listen);
            pipeline.contradiction(&["syncer"], &text);
        }
        // Those that come back to their own service were told of there.
        let (filled, taken) = (&watcher.topics(), &syncer.kafka.topics);
        for (own, template, others) in
            [(filled, &watcher.dead_letter_topic, taken), (taken, &syncer.dead_letter_topic, filled)]
        {
            let dead = own.iter().map(|topic| (topic, template.for_topic(topic)));
            for (topic, dead) in dead.filter(|(_, dead)| others.contains(dead) && !own.contains(dead)) {
                pipeline.contradiction(&["syncer"], &common::come_back(topic, &dead));
            }
        }
        if watcher.logging != syncer.logging {
            let text = "watcher.logging and syncer.logging differ, but one process has one log";
            pipeline.contradiction(&["syncer"], text);
        }
        read
    }
}
