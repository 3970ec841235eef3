//! Where the Watcher keeps its position: `token_storage`.

use std::path::PathBuf;

use cdc_machine::{Dependency, Key, Visitor as _, options, words};
use secrecy::SecretString;

use super::common::is_host_and_port;
use super::described::Preset;
use super::section::Section;
use super::token_place::{self, Places};

words! {
    /// Where the token record is kept.
    pub enum TokenPlace {
        /// In Redis.
        Redis: "redis",
        /// In a file on this machine.
        File: "file",
    }
}

/// Where the resume token is kept.
#[derive(Debug)]
pub enum TokenBackend {
    /// In Redis.
    Redis {
        /// `addr`: host and port
        addr: String,
        /// `username`: the ACL user
        username: Option<String>,
        /// `password`, or what stands in `password_file`
        password: Option<SecretString>,
        /// `db`
        db: u16,
        /// `key`
        key: String,
        /// Where the record may be instead; `None` where `key` is given.
        earlier: Option<Vec<String>>,
    },
    /// In a file on this machine.
    File {
        /// `path`
        path: PathBuf,
        /// Where the record may be instead; `None` where `path` is given.
        earlier: Option<Vec<PathBuf>>,
    },
}

options! {
    /// `token_storage`. Both sections may be given, as in the shipped example; `type` says which one counts.
    #[derive(Debug)]
    pub(super) struct TokenStorageOptions for pub(super) Section<'_> {
        /// Where the saved position is kept.
        place: TokenPlace = TokenPlace::Redis => word("token_storage.type"),
        /// `redis`
        redis: RedisOptions = RedisOptions::default() => nested(),
        /// `file`
        file: FileOptions = FileOptions::default() => nested(),
    }
}

options! {
    /// `token_storage.redis`.
    #[derive(Debug)]
    struct RedisOptions for Section<'_> {
        /// Redis's host and port.
        addr: String = "localhost:6379".to_owned() => redis_address("token_storage.redis.addr"),
        /// The ACL user. None: the default user.
        username: Option<String> = None => text("token_storage.redis.username", Preset::Nothing),
        /// The user's password.
        password: Option<SecretString> = None => secret("token_storage.redis.password"),
        /// The number of the database.
        db: u16 = 0 => number("token_storage.redis.db", 0..=u16::MAX),
        /// The key of the record. Of several collections the default is `cdc:watcher:{database}:resume_token`, so that
        /// the list can change. Where nothing stands there, a record of this pipeline under another default key
        /// (earlier releases: `cdc:watcher:resume_token`) is gone on with in its place.
        key: Option<String> = None
            => text("token_storage.redis.key", Preset::Said("`cdc:watcher:{database}.{collection}:resume_token`")),
    }
}

options! {
    /// `token_storage.file`.
    #[derive(Debug)]
    struct FileOptions for Section<'_> {
        /// The file of the record. Of several collections the default is
        /// `/var/lib/watcher/{database}.resume_token.dat`. Where it is not there, a record of this pipeline under
        /// another default path (earlier releases: `/var/lib/watcher/resume_token.dat`) is gone on with in its place.
        path: Option<String> = None => text(
            "token_storage.file.path",
            Preset::Said("`/var/lib/watcher/{database}.{collection}.resume_token.dat`")
        ),
    }
}

impl TokenStorageOptions {
    /// The place that counts, for what is watched.
    pub(super) fn backend(self, database: &str, collections: &[String]) -> TokenBackend {
        match self.place {
            TokenPlace::Redis => {
                let RedisOptions { addr, username, password, db, key } = self.redis;
                let (key, earlier) = chosen(key, || token_place::key(database, collections));
                TokenBackend::Redis { addr, username, password, db, key, earlier }
            }
            TokenPlace::File => {
                let path = self.file.path.map(PathBuf::from);
                let (path, earlier) = chosen(path, || token_place::path(database, collections));
                TokenBackend::File { path, earlier }
            }
        }
    }
}

impl TokenBackend {
    /// Which dependency it is.
    #[must_use]
    pub const fn dependency(&self) -> Dependency {
        match self {
            Self::Redis { .. } => Dependency::Redis,
            Self::File { .. } => Dependency::TokenFile,
        }
    }
}

/// The place that a person has chosen; or the default one, with those where the record may be instead.
fn chosen<T>(given: Option<T>, by_default: impl FnOnce() -> Places<T>) -> (T, Option<Vec<T>>) {
    match given {
        Some(place) => (place, None),
        None => {
            let Places { place, earlier } = by_default();
            (place, Some(earlier))
        }
    }
}

/// What `token_storage.redis.addr` may be: the rest of a Redis URL has keys of its own.
const ADDR: &str = "a host and a port, such as \"localhost:6379\"; the user, the password and the database have keys of \
                    their own beside it: username, password and db";

impl Section<'_> {
    fn redis_address(&mut self, key: Key, value: &mut String) {
        let preset = Preset::Is(value.clone());
        if let Some(given) =
            self.value(key, ADDR, preset, |text| is_host_and_port(text).then(|| text.to_owned()))
        {
            *value = given;
        }
    }
}
