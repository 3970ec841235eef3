//! One connection, with what lives and dies with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use postgres_types::Type;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

use crate::settings::{Endpoint, Settings};

/// How the connections call themselves in `pg_stat_activity`.
const APPLICATION_NAME: &str = "cdc-syncer";
/// A statement that runs longer is cancelled by the server, in milliseconds.
const STATEMENT_TIMEOUT_MS: u32 = 30_000;
/// A transaction that its client forgot is ended by the server after this long, in milliseconds. It bounds
/// how long a frozen former owner of a partition can hold up the next one.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 10_000;
/// Unacknowledged data on a dead network fail after this long.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// A silent connection is probed after this long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// And then this often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Statements that one connection keeps prepared; beyond them it starts over.
const MAX_PREPARED_STATEMENTS: usize = 256;

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    prepared: HashMap<Arc<str>, Statement>,
    /// The temporary tables that this connection has made, as they are quoted.
    pub(crate) stages: HashSet<Arc<str>>,
    /// Whether it may make any, once that was asked.
    pub(crate) may_stage: Option<bool>,
    /// A transaction was begun and its end is not confirmed: the connection must not be used again.
    pub(crate) in_doubt: bool,
}

impl Session {
    fn new(client: Client) -> Self {
        Self { client, prepared: HashMap::new(), stages: HashSet::new(), may_stage: None, in_doubt: false }
    }

    /// The prepared statement of this text, prepared at first use.
    pub(crate) async fn prepare(&mut self, text: &Arc<str>, types: &[Type]) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(text) {
            return Ok(statement.clone());
        }
        if self.prepared.len() >= MAX_PREPARED_STATEMENTS {
            self.prepared.clear();
        }
        let statement = self.client.prepare_typed(text, types).await?;
        self.prepared.insert(Arc::clone(text), statement.clone());
        Ok(statement)
    }

    /// Forgets all prepared statements; they are closed as their last handles go.
    pub(crate) fn forget_statements(&mut self) {
        self.prepared.clear();
    }
}

/// How to reach the server.
pub(crate) fn driver_config(settings: &Settings) -> Config {
    let mut config = Config::new();
    match &settings.endpoint {
        Endpoint::Host(host) => config.host(host),
        Endpoint::SocketDirectory(folder) => config.host_path(folder),
    };
    config
        .port(settings.port)
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name(APPLICATION_NAME)
        .connect_timeout(settings.connection_timeout)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL);
    if let Some(password) = &settings.password {
        config.password(password);
    }
    config
}

/// Opens a connection and sets what every transaction on it relies on.
///
/// `connect_timeout` covers only the socket; a server that accepts and says nothing is what `patience` is for.
pub(crate) async fn open(config: &Config, patience: Duration) -> Result<Session, OpenError> {
    let opening = async {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // Whoever uses the client is told of the same failure by its own request; this is for the curious.
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a PostgreSQL connection ended");
            }
        });
        client.batch_execute(&session_settings()).await?;
        Ok(Session::new(client))
    };
    match tokio::time::timeout(patience, opening).await {
        Ok(opened) => opened.map_err(OpenError::Driver),
        Err(_elapsed) => Err(OpenError::Silent(patience)),
    }
}

/// Why a connection could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The driver says why.
    Driver(Error),
    /// No answer for this long.
    Silent(Duration),
}

/// `synchronous_commit` is raised where a role's default would lower it: an offset must not outlive its rows.
/// A role may be set to read only by default, which would fail each write.
/// The search path stays the role's own, because somebody's triggers may rely on it.
fn session_settings() -> String {
    format!(
        "SET statement_timeout = {STATEMENT_TIMEOUT_MS}; \
         SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}; \
         SET synchronous_commit = on; \
         SET TimeZone = 'UTC'; \
         SET default_transaction_read_only = off"
    )
}
