//! Configuration: files, environment and flags, into types.
//!
//! Every key is read with its legal values; unknown keys, illegal values and values whose mechanism does not
//! exist are errors, and all errors of a configuration are told at once. Nothing is parsed and ignored.

mod common;
mod layers;
mod namespaces;
mod problem;
mod section;
mod services;
mod syncer;
mod token_place;
mod tree;
mod watcher;
mod yaml;

#[cfg(test)]
mod tests;

pub use common::{LogFormat, LogLevel, Logging, OnBlocked, OnReject, Properties, TopicTemplate};
pub use layers::Sources;
pub use namespaces::Namespaces;
pub use problem::{ConfigError, Problem};
pub use services::Services;
pub use syncer::{BatchConfig, ConsumerConfig, DEFAULT_GROUP, PostgresConfig, SyncerConfig, WorkersConfig};
pub use watcher::{
    FullDocument, MongoConfig, OnHistoryLost, PerformanceConfig, ProducerConfig, TokenBackend,
    TokenStorageConfig, WatcherConfig,
};

use section::Section;
use tree::Node;

/// Both services in one process, `pipeline.yaml`.
#[derive(Debug)]
pub struct PipelineConfig {
    /// `watcher`
    pub watcher: WatcherConfig,
    /// `syncer`
    pub syncer: SyncerConfig,
}

/// A configuration of whichever kind the files hold.
#[derive(Debug)]
pub enum AnyConfig {
    /// `mongodb` stands in it.
    Watcher(Box<WatcherConfig>),
    /// `postgres` stands in it.
    Syncer(Box<SyncerConfig>),
    /// `watcher` and `syncer` stand in it.
    Pipeline(Box<PipelineConfig>),
}

impl AnyConfig {
    /// `watcher`, `syncer` or `pipeline`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Watcher(_) => "watcher",
            Self::Syncer(_) => "syncer",
            Self::Pipeline(_) => "pipeline",
        }
    }

    /// What its Syncer must be told, where nobody has told it yet.
    #[must_use]
    pub fn needed_namespaces(&self) -> Option<String> {
        match self {
            Self::Watcher(watcher) => watcher.needed_namespaces(),
            // A topic of these has its collection, or the configuration is refused.
            Self::Syncer(_) | Self::Pipeline(_) => None,
        }
    }

    /// Reads and checks a configuration of any kind.
    ///
    /// # Errors
    /// Everything that is wrong with it; also when it is of no kind, or of two.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let root = sources.tree()?;
        let has = |keys: &[&str]| keys.iter().any(|key| root.get(key).is_some());
        match (has(&["watcher", "syncer"]), has(&["mongodb", "token_storage"]), has(&["postgres", "batch", "workers"])) {
            (true, false, false) => Ok(Self::Pipeline(Box::new(PipelineConfig::read_all(&root)?))),
            (false, true, false) => Ok(Self::Watcher(Box::new(section::finish(&root, WatcherConfig::read)?))),
            (false, false, true) => Ok(Self::Syncer(Box::new(section::finish(&root, SyncerConfig::read)?))),
            (false, false, false) => Err(layers::missing(
                &root,
                "neither a watcher's configuration (mongodb, token_storage) nor a syncer's (postgres, batch, \
                 workers) nor a pipeline's (watcher, syncer)",
            )
            .into()),
            _ => Err(layers::missing(
                &root,
                "keys of different services stand side by side; check each service's files on their own, or put \
                 them under watcher: and syncer: for `cdc run`",
            )
            .into()),
        }
    }
}

impl WatcherConfig {
    /// Reads and checks `watcher.yaml` and the layers above it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        section::finish(&sources.tree()?, Self::read)
    }
}

impl SyncerConfig {
    /// Reads and checks `syncer.yaml` and the layers above it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        section::finish(&sources.tree()?, Self::read)
    }
}

impl PipelineConfig {
    /// Reads and checks `pipeline.yaml` and the layers above it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read_all(&sources.tree()?)
    }

    fn read_all(root: &Node) -> Result<Self, ConfigError> {
        section::finish(root, Self::read)
    }

    fn read(pipeline: &mut Section<'_>) -> Self {
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
