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

/// What the server was asked when it answered with an error: the same code means another thing of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To let us in, or to read or write the catalog and the bookkeeping: nothing of a record was in it.
    Own,
    /// To keep or compare rows' ids in the bookkeeping: their length and their characters are the rows' own.
    Ids,
    /// To prepare a statement over a table: no row has met it yet.
    Statement,
    /// To write rows.
    Rows,
    /// The same, and what answered is somebody's `RAISE` in a trigger or a function, with a code of their choice.
    Raised,
}

/// Classifies a five-character SQLSTATE.
///
/// Of a statement that writes rows, everything is a row's that is not provably the connection's, the server's or
/// the transaction's: a row is found by halving, and what was none after all has by then been tried again. Of
/// anything else, what nobody foresaw is fatal.
#[must_use]
pub fn classify(asked: Asked, sqlstate: &str) -> Classification {
    // Whoever raises a code of transaction rollback asks for another try; any other says what they like.
    let is_choice = asked == Asked::Raised && !sqlstate.starts_with("40");
    if let Some(passing) = of_the_moment(sqlstate).filter(|_| !is_choice) {
        return fault(passing);
    }
    match asked {
        Asked::Own => of_ours(sqlstate),
        Asked::Ids => match sqlstate.get(..2) {
            Some("22" | "54") => of_rows(sqlstate),
            _ => of_ours(sqlstate),
        },
        // What becomes of it is for another look at the table to say.
        Asked::Statement => fault(Fault::Fatal),
        Asked::Rows | Asked::Raised => of_rows(sqlstate),
    }
}

/// The connection's, the server's or the transaction's trouble, whatever was asked.
fn of_the_moment(sqlstate: &str) -> Option<Fault> {
    match sqlstate {
        // deadlock_detected, serialization_failure, lock_not_available: another transaction was in the way, and goes on.
        "40P01" | "40001" | "55P03" => Some(Fault::RetryNow),
        // The server ends, has crashed or starts (57P01 to 57P03), its database or this connection was ended by
        // somebody, or it has no connection to spare.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "53300" => Some(Fault::Unreachable),
        // read_only_sql_transaction: connected to a standby that has not been promoted yet.
        "25006" => Some(Fault::Unreachable),
        // object_in_use
        "55006" => Some(Fault::Transient),
        // idle_in_transaction_session_timeout, and transaction_timeout of servers from 17 on
        "25P03" | "25P04" => Some(Fault::Transient),
        // in_failed_sql_transaction: this program went on behind an error.
        "25P02" => Some(Fault::Bug),
        // data_corrupted, index_corrupted: the server's storage, whatever was asked. Retries are counted.
        "XX001" | "XX002" => Some(Fault::Transient),
        // invalid_sql_statement_name: somebody deallocated it, or another server answers. It is prepared anew.
        "26000" => Some(Fault::Transient),
        _ => match sqlstate.get(..2) {
            // connection exception
            Some("08") => Some(Fault::Unreachable),
            // insufficient resources, operator intervention, transaction rollback, an error of the system beneath the
            // server, snapshot too old
            Some("53" | "57" | "40" | "58" | "72") => Some(Fault::Transient),
            _ => None,
        },
    }
}

fn of_ours(sqlstate: &str) -> Classification {
    match sqlstate {
        // insufficient_privilege
        "42501" => fault(Fault::Auth),
        // undefined_table, undefined_column, datatype_mismatch, a cached plan's result type, undefined schema:
        // the catalog is read again before the next try.
        "42P01" | "42703" | "42804" | "0A000" | "3F000" => fault(Fault::Transient),
        // invalid_catalog_name: no such database, or none yet.
        "3D000" => fault(Fault::Unfit),
        // Two processes make the bookkeeping at once.
        "23505" | "42P07" | "42710" => fault(Fault::Transient),
        // internal_error: a table that was altered at the same moment. Retries are counted, so one that stays ends
        // the service all the same.
        "XX000" => fault(Fault::Transient),
        _ if sqlstate.starts_with("28") => fault(Fault::Auth),
        _ => fault(Fault::Fatal),
    }
}

fn of_rows(sqlstate: &str) -> Classification {
    match sqlstate {
        // Other rows stand in the way, and may be on their way themselves.
        "23505" => blocked(Reject::UniqueViolation),
        "23P01" => blocked(Reject::ExclusionViolation),
        // restrict_violation is what servers from 18 on say of a delete under ON DELETE RESTRICT.
        "23503" | "23001" => blocked(Reject::ForeignKeyViolation),
        "23502" => poison(Reject::MissingValue),
        "23514" => poison(Reject::CheckViolation),
        // The value's form, not its magnitude.
        "22P02" | "22P03" | "22018" | "22007" => poison(Reject::TypeConflict),
        _ => match sqlstate.get(..2) {
            Some("22") => poison(Reject::OutOfRange),
            // program_limit_exceeded: a row, an index entry or a nesting that is too large
            Some("54") => poison(Reject::TooLarge),
            // Policies, triggers and functions of people fail with whatever they like.
            _ => poison(Reject::Database),
        },
    }
}

/// True where the code, in an answer about rows, is as likely to be their table's: it is looked at again before a row
/// is given up.
#[must_use]
pub(crate) fn doubts_table(sqlstate: &str) -> bool {
    matches!(sqlstate, "23502" | "55000" | "XX000") || matches!(sqlstate.get(..2), Some("42" | "0A" | "3F"))
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
    doubts_table(sqlstate) || sqlstate == "26000"
}

#[cfg(test)]
mod tests {
    use cdc_machine::Fault::{Auth, Blocked, Bug, Fatal, Poison, RetryNow, Transient, Unfit, Unreachable};
    use proptest::prelude::{Strategy, prop_assert, prop_oneof};
    use proptest::sample::select;

    use super::*;

    /// Code, and its fault of our own statements, of ids, of a table's statement and of rows.
    const FAULTS: [(&str, [Fault; 4]); 51] = [
        ("40P01", [RetryNow; 4]),
        ("40001", [RetryNow; 4]),
        ("40003", [Transient; 4]),
        ("55P03", [RetryNow; 4]),
        ("55006", [Transient; 4]),
        ("57014", [Transient; 4]),
        ("57P01", [Unreachable; 4]),
        ("57P03", [Unreachable; 4]),
        ("57P05", [Unreachable; 4]),
        ("08000", [Unreachable; 4]),
        ("08P01", [Unreachable; 4]),
        ("53100", [Transient; 4]),
        ("53300", [Unreachable; 4]),
        ("53400", [Transient; 4]),
        ("58030", [Transient; 4]),
        ("58P01", [Transient; 4]),
        ("72000", [Transient; 4]),
        ("25006", [Unreachable; 4]),
        ("25P03", [Transient; 4]),
        ("25P04", [Transient; 4]),
        ("26000", [Transient; 4]),
        ("25P02", [Bug; 4]),
        ("42501", [Auth, Auth, Fatal, Poison]),
        ("28P01", [Auth, Auth, Fatal, Poison]),
        ("28000", [Auth, Auth, Fatal, Poison]),
        ("42P01", [Transient, Transient, Fatal, Poison]),
        ("42703", [Transient, Transient, Fatal, Poison]),
        ("42804", [Transient, Transient, Fatal, Poison]),
        ("0A000", [Transient, Transient, Fatal, Poison]),
        ("3F000", [Transient, Transient, Fatal, Poison]),
        ("XX000", [Transient, Transient, Fatal, Poison]),
        ("23505", [Transient, Transient, Fatal, Blocked]),
        ("23503", [Fatal, Fatal, Fatal, Blocked]),
        ("23001", [Fatal, Fatal, Fatal, Blocked]),
        ("23P01", [Fatal, Fatal, Fatal, Blocked]),
        ("23502", [Fatal, Fatal, Fatal, Poison]),
        ("22021", [Fatal, Poison, Fatal, Poison]),
        ("22P05", [Fatal, Poison, Fatal, Poison]),
        ("54000", [Fatal, Poison, Fatal, Poison]),
        ("54011", [Fatal, Poison, Fatal, Poison]),
        ("P0001", [Fatal, Fatal, Fatal, Poison]),
        ("ZZ001", [Fatal, Fatal, Fatal, Poison]),
        ("45000", [Fatal, Fatal, Fatal, Poison]),
        ("XX001", [Transient; 4]),
        ("XX002", [Transient; 4]),
        ("42601", [Fatal, Fatal, Fatal, Poison]),
        ("42P10", [Fatal, Fatal, Fatal, Poison]),
        ("55000", [Fatal, Fatal, Fatal, Poison]),
        ("25001", [Fatal, Fatal, Fatal, Poison]),
        ("3D000", [Unfit, Unfit, Fatal, Poison]),
        ("", [Fatal, Fatal, Fatal, Poison]),
    ];

    /// Codes of every kind: those that mean something here, others of their classes, and any.
    fn codes() -> impl Strategy<Value = String> {
        let known = || select(&FAULTS[..]).prop_map(|(code, _)| code);
        prop_oneof![
            known().prop_map(str::to_owned),
            (known(), "[0-9A-Z]{3}")
                .prop_map(|(code, rest)| format!("{}{rest}", code.get(..2).unwrap_or("ZZ"))),
            "[0-9A-Z]{5}",
        ]
    }

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn each_code_has_its_meaning_by_what_was_asked() {
        for (code, faults) in FAULTS {
            let asked = [Asked::Own, Asked::Ids, Asked::Statement, Asked::Rows];
            assert_eq!(asked.map(|asked| classify(asked, code).fault), faults, "{code}");
        }
    }

    #[test]
    fn each_row_s_code_has_its_reason() {
        let table = [
            ("23505", Reject::UniqueViolation),
            ("23502", Reject::MissingValue),
            ("23503", Reject::ForeignKeyViolation),
            ("23001", Reject::ForeignKeyViolation),
            ("23514", Reject::CheckViolation),
            ("23P01", Reject::ExclusionViolation),
            ("22001", Reject::OutOfRange),
            ("22003", Reject::OutOfRange),
            ("22008", Reject::OutOfRange),
            ("22021", Reject::OutOfRange),
            ("22P05", Reject::OutOfRange),
            ("22012", Reject::OutOfRange),
            ("22P02", Reject::TypeConflict),
            ("22P03", Reject::TypeConflict),
            ("22018", Reject::TypeConflict),
            ("22007", Reject::TypeConflict),
            ("54000", Reject::TooLarge),
            ("54001", Reject::TooLarge),
            ("54023", Reject::TooLarge),
            ("23000", Reject::Database),
            ("21000", Reject::Database),
            ("44000", Reject::Database),
            ("09000", Reject::Database),
            ("20000", Reject::Database),
            ("38000", Reject::Database),
            ("39P01", Reject::Database),
            ("P0001", Reject::Database),
            ("P0004", Reject::Database),
            ("42501", Reject::Database),
            ("ZZ001", Reject::Database),
        ];
        for (code, reason) in table {
            assert_eq!(classify(Asked::Rows, code).reason, reason, "{code}");
        }
    }

    proptest::proptest! {
        /// Feature: cdc-pipeline, Property 26: Error Type Classification
        /// Validates: Requirements 12.5
        ///
        /// No code that a trigger may raise ends the service, but for the one that only this program can cause.
        #[test]
        fn no_row_ends_the_service(code in codes()) {
            let found = classify(Asked::Rows, &code).fault;
            prop_assert!(code == "25P02" || !matches!(found, Fatal | Auth | Unfit | Bug), "{found:?}");
            let raised = classify(Asked::Raised, &code).fault;
            prop_assert!(code.starts_with("40") || matches!(raised, Poison | Blocked), "{raised:?}");
        }
    }

    #[test]
    fn what_a_trigger_raises_as_the_server_s_is_the_row_s() {
        for code in ["XX001", "XX002", "53100", "57014"] {
            assert_eq!(classify(Asked::Raised, code).fault, Poison, "{code}");
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
