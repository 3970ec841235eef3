use cdc_event::ResumeToken;
use cdc_executor::ports::{Acquisition, Failure, StoreIdentity, TokenRecord, TokenStore};
use cdc_machine::{Dependency, Lineage};
use cdc_tokens::{FileStore, RedisSettings, RedisStore};

use crate::config::{TokenBackend, WatcherConfig};

/// Whichever store the configuration names.
pub enum AnyTokenStore {
    /// In Redis.
    Redis(Box<RedisStore>),
    /// In a file on this machine.
    File(Box<FileStore>),
}

/// Makes the configured store for a source.
///
/// # Errors
/// When its address or path cannot be used.
pub fn token_store(config: &WatcherConfig, source: String) -> Result<AnyTokenStore, Failure> {
    let mut topics = config.topics();
    topics.sort();
    let mut collections = config.mongodb.collections.clone();
    collections.sort();
    let identity = StoreIdentity { source, collections, topics };
    match &config.token_storage.backend {
        TokenBackend::Redis { addr, password, db, key } => {
            let settings = RedisSettings {
                addr: addr.clone(),
                username: None,
                password: password.clone(),
                db: i64::from(*db),
                key: key.clone(),
            };
            let store = RedisStore::new(settings, identity, config.instance.as_str())?;
            Ok(AnyTokenStore::Redis(Box::new(store)))
        }
        TokenBackend::File { path } => {
            let store = FileStore::new(path, identity, config.instance.as_str())?;
            Ok(AnyTokenStore::File(Box::new(store)))
        }
    }
}

/// Which dependency the configured store is.
pub(super) const fn dependency(backend: &TokenBackend) -> Dependency {
    match backend {
        TokenBackend::Redis { .. } => Dependency::Redis,
        TokenBackend::File { .. } => Dependency::TokenFile,
    }
}

impl TokenStore for AnyTokenStore {
    async fn acquire(&mut self) -> Result<Acquisition, Failure> {
        match self {
            Self::Redis(store) => store.acquire().await,
            Self::File(store) => store.acquire().await,
        }
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        match self {
            Self::Redis(store) => store.renew().await,
            Self::File(store) => store.renew().await,
        }
    }

    async fn save(&mut self, token: &ResumeToken, lineage: Lineage) -> Result<(), Failure> {
        match self {
            Self::Redis(store) => store.save(token, lineage).await,
            Self::File(store) => store.save(token, lineage).await,
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
