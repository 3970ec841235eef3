//! The configurations of both services, for commands that ask both: in one pipeline's file, or each in files of its own.

use std::collections::BTreeSet;

use super::any::{AnyConfig, Kind, described};
use super::layers::Sources;
use super::problem::ConfigError;
use super::syncer::SyncerConfig;
use super::watcher::WatcherConfig;

/// Whichever services the files configure.
#[derive(Debug)]
pub struct Services {
    /// The Watcher's.
    pub watcher: Option<WatcherConfig>,
    /// The Syncer's.
    pub syncer: Option<SyncerConfig>,
}

impl Services {
    /// Reads files of one service, of both, or of a pipeline. Where both have files of their own, a variable or `--set`
    /// counts for the service that has its section, else for both.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let (of_watcher, of_syncer) = (sections(Kind::Watcher), sections(Kind::Syncer));
        let watchers = of(sources, &(&of_watcher - &of_syncer), &(&of_syncer - &of_watcher))?;
        let syncers = of(sources, &(&of_syncer - &of_watcher), &(&of_watcher - &of_syncer))?;
        if !watchers.files.is_empty() && !syncers.files.is_empty() {
            let (watcher, syncer) = (WatcherConfig::load(&watchers)?, SyncerConfig::load(&syncers)?);
            return Ok(Self { watcher: Some(watcher), syncer: Some(syncer) });
        }
        Ok(match AnyConfig::load(sources)? {
            AnyConfig::Watcher(watcher) => Self { watcher: Some(*watcher), syncer: None },
            AnyConfig::Syncer(syncer) => Self { watcher: None, syncer: Some(*syncer) },
            AnyConfig::Pipeline(pipeline) => {
                let pipeline = *pipeline;
                Self { watcher: Some(pipeline.watcher), syncer: Some(pipeline.syncer) }
            }
        })
    }
}

/// The keys and sections at the top of a kind of file.
fn sections(kind: Kind) -> BTreeSet<String> {
    let top = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
    described(kind).iter().map(|option| top(&option.path)).collect()
}

/// The files that have such keys, and none of the other kind; with the variables and overrides that may be theirs.
fn of(sources: &Sources, own: &BTreeSet<String>, others: &BTreeSet<String>) -> Result<Sources, ConfigError> {
    let mut found = Sources::default();
    for file in &sources.files {
        let alone = Sources { files: vec![file.clone()], ..Sources::default() }.tree()?;
        let has = |keys: &BTreeSet<String>| keys.iter().any(|key| alone.get(key).is_some());
        if has(own) && !has(others) {
            found.files.push(file.clone());
        }
    }
    let is_others = |key: &str, separator: &str| {
        let section = key.split(separator).next().unwrap_or(key).to_lowercase();
        others.contains(&section)
    };
    found.environment = sources.environment.clone();
    found.environment.retain(|name, _| !is_others(name.strip_prefix("CDC__").unwrap_or(name), "__"));
    found.overrides = sources.overrides.clone();
    found.overrides.retain(|given| !is_others(given.split('=').next().unwrap_or(given), "."));
    Ok(found)
}
