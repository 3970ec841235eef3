//! From the driver's errors to the port's failures, without any of a row's values.

use std::fmt::Write as _;
use std::io;

use cdc_executor::ports::Failure;
use cdc_machine::Fault;
use cdc_syncer::{HoldReason, Reject, SqlState};
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::classify::{classify, outdates_catalog, text_is_safe};
use crate::grants;

/// A driver's error, classified and in words.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// For the port.
    pub(crate) failure: Failure,
    /// For the dead letter, if the batch comes down to one row.
    pub(crate) reason: Reject,
    /// What PostgreSQL answered, where it was asked.
    pub(crate) sqlstate: Option<SqlState>,
    /// Whether the tables may look different from what is remembered of them.
    pub(crate) outdates_catalog: bool,
    /// Why the table cannot be written as a whole, where that is the trouble.
    pub(crate) hold: Option<HoldReason>,
}

impl Trouble {
    /// Trouble that is none of the driver's.
    pub(crate) fn new(fault: Fault, operation: &'static str, message: impl Into<String>) -> Self {
        Failure::new(fault, operation, message).into()
    }

    /// A table that cannot be written as a whole.
    pub(crate) fn held(reason: HoldReason, operation: &'static str, message: impl Into<String>) -> Self {
        Self { hold: Some(reason), ..Self::new(Fault::Fatal, operation, message) }
    }

    /// Classifies a driver's error.
    pub(crate) fn of(operation: &'static str, error: Error) -> Self {
        if let Some(words) = never_came_about(&error) {
            return Failure::new(Fault::Unreachable, operation, words).into();
        }
        match error.as_db_error() {
            Some(said) => {
                let code = said.code().code();
                let meaning = classify(code);
                Self {
                    // The driver's error is not kept as the source: its text holds the row's values.
                    failure: Failure::new(meaning.fault, operation, describe(said)),
                    reason: meaning.reason,
                    sqlstate: SqlState::new(code),
                    outdates_catalog: outdates_catalog(code),
                    hold: None,
                }
            }
            None => {
                let (fault, message) = classify_client_side(&error);
                Failure::new(fault, operation, message).because(error).into()
            }
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, reason: Reject::Database, sqlstate: None, outdates_catalog: false, hold: None }
    }
}

/// Why a connection never came about, in words that say what to mend; the driver's text adds nothing to them.
fn never_came_about(error: &Error) -> Option<&'static str> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                return Some("connection refused; start it, or correct postgres.host and postgres.port");
            }
            let is_unknown = error.to_string().starts_with("failed to lookup address");
            return is_unknown.then_some("the name does not resolve; correct postgres.host");
        }
        next = cause.source();
    }
    None
}

/// Classifies what the driver itself found. Its kinds are not public; their names are what it displays, and
/// the chain of causes tells apart what a person must mend from what time mends.
fn classify_client_side(error: &Error) -> (Fault, &'static str) {
    match error.to_string().as_str() {
        "authentication error" => {
            (Fault::Auth, "PostgreSQL's login could not be completed; check postgres.user and its password")
        }
        "invalid configuration" | "invalid connection string" => {
            (Fault::Fatal, "the driver refuses the connection's settings; check the keys under postgres")
        }
        text if text.starts_with("error serializing parameter")
            || text.starts_with("expected ")
            || text.starts_with("invalid column")
            || text.starts_with("error deserializing column") =>
        {
            (Fault::Bug, "a statement and its values do not agree, which is a bug in this program")
        }
        _ => (Fault::Unreachable, "the connection to PostgreSQL failed; it is opened again"),
    }
}

/// What the server said, in words: its code and the names of the objects, and its text only where that
/// cannot hold a row's values. Never its detail, which quotes them.
fn describe(said: &DbError) -> String {
    let code = said.code().code();
    let mut line = format!("PostgreSQL answered with SQLSTATE {code}");
    if text_is_safe(code) {
        let _infallible = write!(line, " ({})", said.message());
    }
    let objects = [
        ("schema", said.schema()),
        ("table", said.table()),
        ("column", said.column()),
        ("type", said.datatype()),
        ("constraint", said.constraint()),
    ];
    for (kind, name) in objects {
        if let Some(name) = name {
            let _infallible = write!(line, ", {kind} {name}");
        }
    }
    match code {
        "42501" => line.push_str(&grants::advice(said.message())),
        _ => line.push_str(advice(code)),
    }
    line
}

/// What to do next, for the codes that a person can mend.
fn advice(code: &str) -> &'static str {
    match code {
        "3D000" => "; create the database or correct postgres.database",
        "53100" => "; make room on the server's disk",
        "53300" => "; raise max_connections on the server or lower postgres.max_connections",
        "25006" => "; the server is a standby: point postgres.host at the primary",
        _ if code.starts_with("28") => "; check postgres.user, its password and pg_hba.conf",
        _ => "",
    }
}
