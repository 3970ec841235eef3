use std::collections::BTreeMap;

use cdc_event::ResumeToken;
use cdc_machine::Lineage;
use cdc_ports::ProcessId;
use cdc_ports::{Acquisition, Failure, Recorded, StoreIdentity, TokenRecord, TokenStore, Watched};
use cdc_tokens::{
    Examination, Examined, FileRegister, FileStore, Look, RedisRegister, RedisSettings, RedisStore, Reset,
    ResetOutcome,
};
use cdc_watcher::RecordChange;

use crate::config::{TokenBackend, WatcherConfig};

/// Whichever store the configuration names.
pub enum AnyTokenStore {
    /// In Redis.
    Redis(Box<RedisStore>),
    /// In a file on this machine.
    File(Box<FileStore>),
}

/// Makes the configured store for a source; its name may be told later.
///
/// # Errors
/// When its address or path cannot be used.
pub fn token_store(config: &WatcherConfig, source: String) -> Result<AnyTokenStore, Failure> {
    let identity = identity(config, source);
    let (instance, process) = (config.instance.as_str(), ProcessId::own());
    match &config.token_storage {
        TokenBackend::Redis { addr, username, password, db, key, earlier } => {
            let settings = |key: &String| RedisSettings {
                addr: addr.clone(),
                username: username.clone(),
                password: password.clone(),
                db: i64::from(*db),
                key: key.clone(),
            };
            let store = RedisStore::new(settings(key), identity, instance)?.of_process(process);
            let store = match earlier {
                Some(keys) => store.by_default(each(keys, |key| RedisRegister::new(settings(key)))?),
                None => store,
            };
            Ok(AnyTokenStore::Redis(Box::new(store)))
        }
        TokenBackend::File { path, earlier } => {
            let store = FileStore::new(path, identity, instance)?.of_process(process);
            let store = match earlier {
                Some(paths) => store.by_default(each(paths, FileRegister::new)?),
                None => store,
            };
            Ok(AnyTokenStore::File(Box::new(store)))
        }
    }
}

/// A register for each place.
fn each<'p, P, R>(
    places: &'p [P],
    register: impl Fn(&'p P) -> Result<R, Failure>,
) -> Result<Vec<R>, Failure> {
    places.iter().map(register).collect()
}

/// What the configured store's records belong to. The configuration's collections are sorted.
#[must_use]
pub fn identity(config: &WatcherConfig, source: String) -> StoreIdentity {
    let names = config.mongodb.collections.iter().cloned();
    let collections = names.zip(config.topics()).map(|(name, topic)| Watched { name, topic }).collect();
    StoreIdentity { source, collections }
}

impl AnyTokenStore {
    /// What there is, for somebody who wants to move the position.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn look(&mut self) -> Result<Look, Failure> {
        match self {
            Self::Redis(store) => store.look().await,
            Self::File(store) => store.look().await,
        }
    }

    /// Looks at the record in order to change it.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn examine(&mut self, operation: &'static str, ours: bool) -> Result<Examination, Failure> {
        match self {
            Self::Redis(store) => store.examine(operation, ours).await,
            Self::File(store) => store.examine(operation, ours).await,
        }
    }

    /// Records how many partitions keys are spread among.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn repartition(
        &mut self,
        examined: Examined,
        partitions: &BTreeMap<String, u32>,
    ) -> Result<(), Failure> {
        match self {
            Self::Redis(store) => store.repartition(examined, partitions).await,
            Self::File(store) => store.repartition(examined, partitions).await,
        }
    }

    /// Marks every open gap as seen.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn acknowledge_gaps(&mut self, examined: Examined) -> Result<u64, Failure> {
        match self {
            Self::Redis(store) => store.acknowledge_gaps(examined).await,
            Self::File(store) => store.acknowledge_gaps(examined).await,
        }
    }

    /// Moves the position.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn reset(&mut self, reset: Reset) -> Result<ResetOutcome, Failure> {
        match self {
            Self::Redis(store) => store.reset(reset).await,
            Self::File(store) => store.reset(reset).await,
        }
    }
}

impl TokenStore for AnyTokenStore {
    fn set_source(&mut self, source: &str) {
        match self {
            Self::Redis(store) => store.set_source(source),
            Self::File(store) => store.set_source(source),
        }
    }

    async fn acquire(&mut self, over_damage: bool) -> Result<Acquisition, Failure> {
        match self {
            Self::Redis(store) => store.acquire(over_damage).await,
            Self::File(store) => store.acquire(over_damage).await,
        }
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        match self {
            Self::Redis(store) => store.renew().await,
            Self::File(store) => store.renew().await,
        }
    }

    async fn save(
        &mut self,
        token: &ResumeToken,
        lineage: Lineage,
        change: &RecordChange<ResumeToken>,
    ) -> Result<Recorded, Failure> {
        match self {
            Self::Redis(store) => store.save(token, lineage, change).await,
            Self::File(store) => store.save(token, lineage, change).await,
        }
    }

    async fn release(&mut self) -> Result<(), Failure> {
        match self {
            Self::Redis(store) => store.release().await,
            Self::File(store) => store.release().await,
        }
    }

    async fn peek(&mut self) -> Result<Option<TokenRecord>, Failure> {
        match self {
            Self::Redis(store) => store.peek().await,
            Self::File(store) => store.peek().await,
        }
    }
}
