//! A configuration of whichever kind the files hold.

use super::described::Described;
use super::layers::{self, Sources};
use super::pipeline::PipelineConfig;
use super::problem::ConfigError;
use super::section::{Reading, read_tree};
use super::syncer::SyncerConfig;
use super::tree::{Node, Origin};
use super::watcher::WatcherConfig;

/// What a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `cdc watch`
    Watcher,
    /// `cdc sync`
    Syncer,
    /// `cdc run`
    Pipeline,
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
        Self::read(&sources.tree()?).and_then(|reading| reading.value)
    }

    /// Reads a tree of any kind.
    ///
    /// # Errors
    /// When it is of no kind, or of two.
    pub(super) fn read(root: &Node) -> Result<Reading<Self>, ConfigError> {
        let has = |keys: &[&str]| keys.iter().any(|key| root.get(key).is_some());
        match (has(&["watcher", "syncer"]), has(&["mongodb", "token_storage"]), has(&["postgres", "batch", "workers"])) {
            (true, false, false) => Ok(Self::read_kind(Kind::Pipeline, root)),
            (false, true, false) => Ok(Self::read_kind(Kind::Watcher, root)),
            (false, false, true) => Ok(Self::read_kind(Kind::Syncer, root)),
            (false, false, false) => Err(layers::missing(
                root,
                "neither a watcher's configuration (mongodb, token_storage) nor a syncer's (postgres, batch, \
                 workers) nor a pipeline's (watcher, syncer)",
            )
            .into()),
            _ => Err(layers::missing(
                root,
                "keys of different services stand side by side; check each service's files on their own, or put \
                 them under watcher: and syncer: for `cdc run`",
            )
            .into()),
        }
    }

    fn read_kind(kind: Kind, root: &Node) -> Reading<Self> {
        read_tree(root, |top| match kind {
            Kind::Watcher => Self::Watcher(Box::new(WatcherConfig::read(top))),
            Kind::Syncer => Self::Syncer(Box::new(SyncerConfig::read(top))),
            Kind::Pipeline => Self::Pipeline(Box::new(PipelineConfig::read(top))),
        })
    }
}

/// The options of a kind of file: what is read of it where nothing is written.
#[must_use]
pub fn described(kind: Kind) -> Vec<Described> {
    AnyConfig::read_kind(kind, &Node::section(Origin::Flag("".into()))).options
}
