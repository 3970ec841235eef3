//! The pool of connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb8::{ManageConnection, Pool as Bb8Pool, PooledConnection, RunError};
use cdc_machine::Fault;
use tokio::sync::Notify;
use tokio_postgres::Config;

use crate::server::session::{OpenError, Session, driver_config, open};
use crate::server::trouble::Trouble;
use crate::settings::Settings;

/// How often connections beyond their lifetime or idle time are looked for.
const REAPER_INTERVAL: Duration = Duration::from_secs(10);

/// Connections, at most so many; whoever finds them all in use waits for one.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    connections: Bb8Pool<Connector>,
    failures: Arc<OpenFailures>,
    max_connections: u32,
    patience: Duration,
    target: Arc<str>,
}

/// A connection on loan; dropping it gives it back.
pub(crate) type Loan<'a> = PooledConnection<'a, Connector>;

impl Pool {
    /// A pool whose idle minimum is opened in the background.
    pub(crate) fn new(settings: &Settings) -> Self {
        let failures = Arc::new(OpenFailures::default());
        let target: Arc<str> = settings.target().into();
        let connector = Connector {
            config: driver_config(settings),
            patience: settings.connection_timeout,
            failures: Arc::clone(&failures),
        };
        let connections = Bb8Pool::builder()
            .max_size(settings.max_connections.max(1))
            .min_idle(settings.min_connections.min(settings.max_connections))
            .max_lifetime(settings.max_connection_lifetime)
            .idle_timeout(settings.idle_timeout)
            .connection_timeout(settings.connection_timeout)
            .test_on_check_out(true)
            // Back-off belongs to the machine, which sees each failure.
            .retry_connection(false)
            .reaper_rate(REAPER_INTERVAL)
            .build_unchecked(connector);
        Self {
            connections,
            failures,
            max_connections: settings.max_connections.max(1),
            patience: settings.connection_timeout,
            target,
        }
    }

    /// A tested connection. Waits as long as all connections are in use; fails where none can be opened.
    pub(crate) async fn get(&self, operation: &'static str) -> Result<Loan<'_>, Trouble> {
        loop {
            let failed = self.failures.some.notified();
            tokio::select! {
                biased;
                loan = self.connections.get() => match loan {
                    Ok(loan) => return Ok(loan),
                    Err(RunError::TimedOut | RunError::User(NotOpened)) => {
                        if let Some(trouble) = self.why_none(operation) {
                            return Err(trouble);
                        }
                    }
                },
                () = failed => {
                    // With connections in use, one of them will come back; without any, nothing will.
                    if self.connections.state().connections == 0 {
                        return Err(self.last_failure(operation));
                    }
                }
            }
        }
    }

    /// What to say of a wait that brought no connection; nothing where the pool is merely exhausted.
    fn why_none(&self, operation: &'static str) -> Option<Trouble> {
        let state = self.connections.state();
        let exhausted = state.connections >= self.max_connections && state.idle_connections == 0;
        if exhausted {
            tracing::warn!(
                operation,
                connections = state.connections,
                waited_ms = self.patience.as_millis(),
                "all PostgreSQL connections are in use; waiting on"
            );
            return None;
        }
        Some(self.last_failure(operation))
    }

    fn last_failure(&self, operation: &'static str) -> Trouble {
        let last = self.failures.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        match last {
            Some(OpenError::Driver(error)) => {
                let mut trouble = Trouble::of(operation, error);
                trouble.failure.message =
                    format!("PostgreSQL at {}: {}", self.target, trouble.failure.message);
                trouble
            }
            Some(OpenError::Silent(patience)) => Trouble::new(
                Fault::Unreachable,
                operation,
                format!(
                    "PostgreSQL at {} accepts connections but did not answer within {patience:?}",
                    self.target
                ),
            ),
            None => Trouble::new(
                Fault::Unreachable,
                operation,
                format!(
                    "no connection to PostgreSQL at {} could be had within {:?}",
                    self.target, self.patience
                ),
            ),
        }
    }
}

/// The last failure to open a connection, for those who wait for one.
#[derive(Debug, Default)]
struct OpenFailures {
    last: Mutex<Option<OpenError>>,
    some: Notify,
}

/// The pool is told no more than this; the waiters are told why.
#[derive(Debug)]
pub(crate) struct NotOpened;

/// Opens, tests and judges connections for the pool.
#[derive(Debug)]
pub(crate) struct Connector {
    config: Config,
    patience: Duration,
    failures: Arc<OpenFailures>,
}

impl ManageConnection for Connector {
    type Connection = Session;
    type Error = NotOpened;

    async fn connect(&self) -> Result<Session, NotOpened> {
        open(&self.config, self.patience).await.map_err(|error| {
            *self.failures.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            self.failures.some.notify_waiters();
            NotOpened
        })
    }

    async fn is_valid(&self, session: &mut Session) -> Result<(), NotOpened> {
        session.client.check_connection().await.map_err(|error| {
            tracing::debug!(error = %error, "an idle PostgreSQL connection is gone; it is replaced");
            NotOpened
        })
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.in_doubt || session.client.is_closed()
    }
}
