//! What the commands share that ask a server once: whom, with what, and what is said where it refuses.

use std::time::Duration;

use cdc_machine::Fault;
use cdc_mongo::Deployment;
use cdc_ports::{Failure, Holder};

use crate::config::{AnyConfig, Sources, TokenBackend, WatcherConfig};
use crate::exit::{Exit, Failed};

/// The Watcher's configuration, alone or in a pipeline's file.
pub(super) fn watcher_config(sources: &Sources) -> Result<WatcherConfig, Failed> {
    match AnyConfig::load(sources)? {
        AnyConfig::Watcher(config) => Ok(*config),
        AnyConfig::Pipeline(config) => Ok(config.watcher),
        AnyConfig::Syncer(_) => {
            Err(Failed::new(Exit::Config, "a syncer has no resume token; give the watcher's configuration"))
        }
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::new(Exit::LocalIo, format!("no runtime: {error}")))
}

/// Why nothing is changed while a Watcher runs.
pub(super) fn held(holder: &Holder, expires_in: Duration) -> Failed {
    let seconds = expires_in.as_secs() + 1;
    Failed::new(
        Exit::Temporary,
        format!("{holder} holds the lease for another {seconds} s; stop that Watcher, then try again"),
    )
}

/// The name that a token record is made for.
pub(super) fn source_name(deployment: Deployment, database: &str) -> Result<String, Failed> {
    deployment.source_name(database).map_err(|text| Failed::new(Exit::Config, text))
}

/// What is said where the configured token store does not answer or refuses.
pub(super) fn of_store(config: &WatcherConfig) -> impl Fn(Failure) -> Failed + Copy + use<> {
    let is_file = matches!(config.token_storage, TokenBackend::File { .. });
    move |failure| refused(&failure, is_file)
}

/// What is said where a server does not answer or refuses.
pub(super) fn of_server(failure: Failure) -> Failed {
    refused(&failure, false)
}

fn refused(failure: &Failure, is_file: bool) -> Failed {
    let exit = match failure.fault {
        Fault::Auth => Exit::Refused,
        Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Unfit | Fault::Fatal if is_file => {
            Exit::LocalIo
        }
        Fault::Transient | Fault::Unreachable | Fault::RetryNow => Exit::Unavailable,
        Fault::Unfit | Fault::Fatal => Exit::Config,
        Fault::Bug => Exit::Bug,
        Fault::Blocked | Fault::Poison | Fault::TooLarge | Fault::HistoryLost | Fault::Fenced => {
            Exit::Decision
        }
    };
    Failed::new(exit, failure.chain())
}
