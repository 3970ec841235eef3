//! From the driver's errors to the port's failures, without any of a row's values.

use std::fmt::Write as _;
use std::io;

use cdc_machine::Fault;
use cdc_ports::Failure;
use cdc_syncer::{HoldReason, Reject, SqlState};
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::server::classify::{Asked, classify, doubts_table, outdates_catalog, text_is_safe};
use crate::server::grants;
use crate::table::Table;

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
    /// What may be the trouble in place of the row, where that is for another look at the table to say.
    pub(crate) doubt: Option<Box<TableDoubt>>,
}

/// A trouble that may be a table's as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableDoubt {
    /// The table's name in statements and in the bookkeeping; nothing where it may be any of the batch.
    pub(crate) table: Option<String>,
    /// What it is if another look finds nothing wrong with the table.
    pub(crate) otherwise: Otherwise,
}

/// What a doubtful trouble is if another look finds nothing wrong with the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// A row's own.
    Row,
    /// Of the table all the same: PostgreSQL refuses a statement over it that no row has met yet.
    Statement,
    /// Of the table all the same: PostgreSQL misses a privilege, be it one on something that the table needs.
    Privilege,
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

    /// A policy came to bind the role since the table was looked at, and may have hidden rows from a statement.
    pub(crate) fn hidden(operation: &'static str, table: &Table) -> Self {
        let label = table.label();
        let message =
            format!("row-level security of table {label} may have hidden rows that were to be deleted");
        let doubt = TableDoubt { table: Some(label), otherwise: Otherwise::Row };
        Self { doubt: Some(Box::new(doubt)), ..Self::new(Fault::RetryNow, operation, message) }
    }

    /// Classifies a driver's error in a statement that knows nothing of a record.
    pub(crate) fn of(operation: &'static str, error: Error) -> Self {
        Self::by(Asked::Own, operation, error)
    }

    /// The same of a statement that brings rows' ids to the bookkeeping.
    pub(crate) fn of_ids(operation: &'static str, error: Error) -> Self {
        Self::by(Asked::Ids, operation, error)
    }

    /// The same of the preparation of a statement over a table.
    pub(crate) fn of_statement(operation: &'static str, table: &Table, error: Error) -> Self {
        let mut trouble = Self::by(Asked::Statement, operation, error);
        trouble.outdates_catalog = true;
        if trouble.failure.fault == Fault::Fatal && trouble.sqlstate.is_some() {
            let (table, otherwise) = (Some(table.label()), Otherwise::Statement);
            trouble.doubt = Some(Box::new(TableDoubt { table, otherwise }));
        }
        trouble
    }

    /// The same of a statement that writes rows, or of the commit that checks what was deferred.
    pub(crate) fn of_rows(operation: &'static str, table: Option<&Table>, error: Error) -> Self {
        let (is_raised, misses_privilege) = error
            .as_db_error()
            .map_or((false, false), |said| (is_routine(said, "exec_stmt_raise"), is_privilege(said)));
        let names_table = error.as_db_error().is_some_and(|said| said.table().is_some());
        let mut trouble = Self::by(if is_raised { Asked::Raised } else { Asked::Rows }, operation, error);
        if matches!(trouble.failure.fault, Fault::Poison | Fault::Blocked)
            && let Some(table) = table.filter(|_| !names_table)
        {
            let _infallible = write!(trouble.failure.message, ", of a row of table {}", table.label());
        }
        let code = trouble.sqlstate.as_ref().map_or("", SqlState::as_str);
        if trouble.failure.fault == Fault::Poison && doubts_table(code) {
            let otherwise = if misses_privilege { Otherwise::Privilege } else { Otherwise::Row };
            trouble.doubt = Some(Box::new(TableDoubt { table: table.map(Table::label), otherwise }));
        }
        trouble
    }

    fn by(asked: Asked, operation: &'static str, error: Error) -> Self {
        if let Some(words) = never_came_about(&error) {
            return Failure::new(Fault::Unreachable, operation, words).into();
        }
        match error.as_db_error() {
            Some(said) => {
                let code = said.code().code();
                let meaning = classify(asked, code);
                Self {
                    // The driver's error is not kept as the source: its text holds the row's values.
                    failure: Failure::new(meaning.fault, operation, describe(said)),
                    reason: meaning.reason,
                    sqlstate: SqlState::new(code),
                    outdates_catalog: outdates_catalog(code),
                    hold: None,
                    doubt: None,
                }
            }
            None => {
                let (fault, message) = classify_client_side(&error);
                Failure::new(fault, operation, message).because(error).into()
            }
        }
    }
}

/// The server names the function of its own source that speaks, which no trigger and no language can change.
fn is_routine(said: &DbError, routine: &str) -> bool {
    said.routine().is_some_and(|speaker| speaker == routine)
}

/// True of a missing privilege; a policy that refuses a row answers with the same code.
fn is_privilege(said: &DbError) -> bool {
    said.code().code() == "42501"
        && said.routine().is_some_and(|speaker| speaker.starts_with("aclcheck_error"))
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            reason: Reject::Database,
            sqlstate: None,
            outdates_catalog: false,
            hold: None,
            doubt: None,
        }
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
    let named = Named {
        constraint: said.constraint(),
        schema: said.schema(),
        table: said.table(),
        column: said.column(),
        domain: said.datatype(),
    };
    if let Some(words) = named.refusal(code) {
        return words;
    }
    let mut line = format!("PostgreSQL answered with SQLSTATE {code}");
    // Somebody's function may say what it likes under any code.
    let is_the_server = said.where_().is_none() || is_privilege(said);
    if text_is_safe(code) && is_the_server {
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
        "42501" if is_the_server => line.push_str(&grants::advice(said.message())),
        _ => line.push_str(advice(code)),
    }
    line
}

/// The objects that the server names beside an error of a constraint.
#[derive(Clone, Copy, Debug, Default)]
struct Named<'a> {
    constraint: Option<&'a str>,
    schema: Option<&'a str>,
    table: Option<&'a str>,
    column: Option<&'a str>,
    /// The constraint may be one of a domain.
    domain: Option<&'a str>,
}

impl Named<'_> {
    /// The refusal of a constraint: first what refused, then where, then the code. Nothing where the server does not name
    /// both, as in a `RAISE` with a code of these.
    fn refusal(&self, code: &str) -> Option<String> {
        let kind = match code {
            "23505" => "unique",
            "23P01" => "exclusion",
            "23503" | "23001" => "foreign key",
            "23514" => "check",
            "23502" => "NOT NULL",
            _ => return None,
        };
        let what = match (self.constraint, self.column) {
            (Some(name), _) => format!("{kind} constraint {name}"),
            (None, Some(column)) if code == "23502" => format!("NOT NULL of column {column}"),
            (None, _) => return None,
        };
        let (of, name) = self.table.map(|table| ("table", table)).or(self.domain.map(|of| ("domain", of)))?;
        let schema = self.schema.map_or_else(String::new, |schema| format!("{schema}."));
        Some(format!("PostgreSQL refused it: {what} of {of} {schema}{name} (SQLSTATE {code})"))
    }
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

#[cfg(test)]
mod tests {
    use super::Named;

    #[test]
    fn a_constraint_s_refusal_says_which_of_what() {
        let table = Named { schema: Some("public"), table: Some("orders"), ..Named::default() };
        let named = |name| Named { constraint: Some(name), ..table };
        let domain = Named { domain: Some("price"), table: None, ..named("positive") };
        let cases = [
            ("23514", named("chk"), "check constraint chk of table public.orders (SQLSTATE 23514)"),
            ("23505", named("one"), "unique constraint one of table public.orders (SQLSTATE 23505)"),
            ("23503", named("fk"), "foreign key constraint fk of table public.orders (SQLSTATE 23503)"),
            ("23P01", named("room"), "exclusion constraint room of table public.orders (SQLSTATE 23P01)"),
            (
                "23502",
                Named { column: Some("n"), ..table },
                "NOT NULL of column n of table public.orders (SQLSTATE 23502)",
            ),
            ("23514", domain, "check constraint positive of domain public.price (SQLSTATE 23514)"),
        ];
        for (code, named, words) in cases {
            assert_eq!(named.refusal(code), Some(format!("PostgreSQL refused it: {words}")), "{code}");
        }
        // A missing partition, somebody's RAISE, and what is no constraint.
        let nothing = Named::default();
        assert_eq!((table.refusal("23514"), nothing.refusal("23505")), (None, None));
        assert_eq!(named("chk").refusal("22P02"), None);
    }
}
