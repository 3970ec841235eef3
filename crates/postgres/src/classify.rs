//! What PostgreSQL's error codes mean to the pipeline: pure functions over SQLSTATEs.
//!
//! The codes are those of the PostgreSQL manual, appendix A.

use cdc_machine::Fault;
use cdc_syncer::Reject;

/// What a SQLSTATE means: for the machine, and for the dead letter if a batch comes down to one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classification {
    /// For the machine.
    pub fault: Fault,
    /// For the dead letter.
    pub reason: Reject,
}

const fn fault(fault: Fault) -> Classification {
    Classification { fault, reason: Reject::Database }
}

const fn poison(reason: Reject) -> Classification {
    Classification { fault: Fault::Poison, reason }
}

const fn blocked(reason: Reject) -> Classification {
    Classification { fault: Fault::Blocked, reason }
}

/// Classifies a five-character SQLSTATE. Single codes come first, then classes; what nobody foresaw is fatal,
/// because going on would either skip a record or retry for ever.
#[must_use]
pub fn classify(sqlstate: &str) -> Classification {
    let class = sqlstate.get(..2).unwrap_or_default();
    match sqlstate {
        // deadlock_detected, serialization_failure, lock_not_available: another transaction was in the way, and goes on.
        "40P01" | "40001" | "55P03" => fault(Fault::RetryNow),
        // The server ends, has crashed or starts (57P01 to 57P03), its database or this connection was ended by
        // somebody, or it has no connection to spare.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "53300" => fault(Fault::Unreachable),
        // Other rows stand in the way, and may be on their way themselves.
        "23505" => blocked(Reject::UniqueViolation),
        "23P01" => blocked(Reject::ExclusionViolation),
        // restrict_violation is what servers from 18 on say of a delete under ON DELETE RESTRICT.
        "23503" | "23001" => blocked(Reject::ForeignKeyViolation),
        "23502" => poison(Reject::MissingValue),
        "23514" => poison(Reject::CheckViolation),
        // The value's form, not its magnitude.
        "22P02" | "22P03" | "22018" | "22007" => poison(Reject::TypeConflict),
        // insufficient_privilege
        "42501" => fault(Fault::Auth),
        // undefined_table, undefined_column, datatype_mismatch, a cached plan's result type, undefined schema,
        // and a statement or function that somebody changed: the catalog is read again before the next try.
        "42P01" | "42703" | "42804" | "0A000" | "3F000" | "26000" => fault(Fault::Transient),
        // invalid_catalog_name: no such database, or none yet.
        "3D000" => fault(Fault::Unfit),
        // read_only_sql_transaction: connected to a standby that has not been promoted yet.
        "25006" => fault(Fault::Unreachable),
        // idle_in_transaction_session_timeout
        "25P03" => fault(Fault::Transient),
        // transaction_timeout, of servers from 17 on
        "25P04" => fault(Fault::Transient),
        // internal_error: a table that was altered at the same moment, a block that could not be read. Retries
        // are counted, so one that stays ends the service all the same.
        "XX000" => fault(Fault::Transient),
        _ => match class {
            // connection exception
            "08" => fault(Fault::Unreachable),
            // insufficient resources, operator intervention, object not in prerequisite state, transaction rollback,
            // an error of the system beneath the server, snapshot too old
            "53" | "57" | "55" | "40" | "58" | "72" => fault(Fault::Transient),
            "21" | "23" | "44" => poison(Reject::Database),
            "22" => poison(Reject::OutOfRange),
            // program_limit_exceeded: a row, an index entry or a nesting that is too large
            "54" => poison(Reject::TooLarge),
            // RAISE in somebody's trigger, and what triggers in PL/pgSQL and other languages fail with
            "P0" | "09" | "20" | "38" | "39" => poison(Reject::Database),
            "28" => fault(Fault::Auth),
            _ => fault(Fault::Fatal),
        },
    }
}

/// True where the server's own text names objects and never holds a row's values, so that it may be logged.
#[must_use]
pub(crate) fn text_is_safe(sqlstate: &str) -> bool {
    matches!(
        sqlstate.get(..2),
        Some("08" | "25" | "28" | "3D" | "3F" | "40" | "42" | "53" | "55" | "57" | "58" | "0A" | "26")
    )
}

/// True where the tables may look different from what is remembered of them.
#[must_use]
pub(crate) fn outdates_catalog(sqlstate: &str) -> bool {
    matches!(sqlstate, "42P01" | "42703" | "42804" | "42P10" | "0A000" | "3F000" | "26000" | "23502")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn each_code_has_its_meaning() {
        let table = [
            ("40P01", Fault::RetryNow, Reject::Database),
            ("40001", Fault::RetryNow, Reject::Database),
            ("55P03", Fault::RetryNow, Reject::Database),
            ("57014", Fault::Transient, Reject::Database),
            ("57P01", Fault::Unreachable, Reject::Database),
            ("57P02", Fault::Unreachable, Reject::Database),
            ("57P03", Fault::Unreachable, Reject::Database),
            ("08000", Fault::Unreachable, Reject::Database),
            ("08006", Fault::Unreachable, Reject::Database),
            ("53100", Fault::Transient, Reject::Database),
            ("53300", Fault::Unreachable, Reject::Database),
            ("25006", Fault::Unreachable, Reject::Database),
            ("25P03", Fault::Transient, Reject::Database),
            ("42P01", Fault::Transient, Reject::Database),
            ("42703", Fault::Transient, Reject::Database),
            ("58000", Fault::Transient, Reject::Database),
            ("58030", Fault::Transient, Reject::Database),
            ("58P01", Fault::Transient, Reject::Database),
            ("72000", Fault::Transient, Reject::Database),
            ("25P04", Fault::Transient, Reject::Database),
            ("XX000", Fault::Transient, Reject::Database),
            ("40003", Fault::Transient, Reject::Database),
            ("53200", Fault::Transient, Reject::Database),
            ("53400", Fault::Transient, Reject::Database),
            ("55006", Fault::Transient, Reject::Database),
            ("57P04", Fault::Unreachable, Reject::Database),
            ("57P05", Fault::Unreachable, Reject::Database),
            ("08P01", Fault::Unreachable, Reject::Database),
            ("42804", Fault::Transient, Reject::Database),
            ("0A000", Fault::Transient, Reject::Database),
            ("3F000", Fault::Transient, Reject::Database),
            ("26000", Fault::Transient, Reject::Database),
            ("23505", Fault::Blocked, Reject::UniqueViolation),
            ("23502", Fault::Poison, Reject::MissingValue),
            ("23503", Fault::Blocked, Reject::ForeignKeyViolation),
            ("23514", Fault::Poison, Reject::CheckViolation),
            ("23P01", Fault::Blocked, Reject::ExclusionViolation),
            ("22001", Fault::Poison, Reject::OutOfRange),
            ("22003", Fault::Poison, Reject::OutOfRange),
            ("22008", Fault::Poison, Reject::OutOfRange),
            ("22021", Fault::Poison, Reject::OutOfRange),
            ("22P05", Fault::Poison, Reject::OutOfRange),
            ("22012", Fault::Poison, Reject::OutOfRange),
            ("22P02", Fault::Poison, Reject::TypeConflict),
            ("22P03", Fault::Poison, Reject::TypeConflict),
            ("22018", Fault::Poison, Reject::TypeConflict),
            ("22007", Fault::Poison, Reject::TypeConflict),
            ("23000", Fault::Poison, Reject::Database),
            ("23001", Fault::Blocked, Reject::ForeignKeyViolation),
            ("21000", Fault::Poison, Reject::Database),
            ("44000", Fault::Poison, Reject::Database),
            ("09000", Fault::Poison, Reject::Database),
            ("20000", Fault::Poison, Reject::Database),
            ("38000", Fault::Poison, Reject::Database),
            ("39P01", Fault::Poison, Reject::Database),
            ("54000", Fault::Poison, Reject::TooLarge),
            ("54001", Fault::Poison, Reject::TooLarge),
            ("54023", Fault::Poison, Reject::TooLarge),
            ("P0001", Fault::Poison, Reject::Database),
            ("P0004", Fault::Poison, Reject::Database),
            ("28P01", Fault::Auth, Reject::Database),
            ("28000", Fault::Auth, Reject::Database),
            ("42501", Fault::Auth, Reject::Database),
            ("3D000", Fault::Unfit, Reject::Database),
            ("42601", Fault::Fatal, Reject::Database),
            ("25P02", Fault::Fatal, Reject::Database),
            ("XX001", Fault::Fatal, Reject::Database),
            ("", Fault::Fatal, Reject::Database),
        ];
        for (code, fault, reason) in table {
            assert_eq!(classify(code), Classification { fault, reason }, "{code}");
        }
    }

    #[test]
    fn texts_that_may_hold_values_stay_out_of_messages() {
        for code in ["22P02", "23505", "23514", "P0001", "54000", "XX000", "21000"] {
            assert!(!text_is_safe(code), "{code}");
        }
        for code in ["08006", "28P01", "3D000", "42501", "57P03"] {
            assert!(text_is_safe(code), "{code}");
        }
    }
}
