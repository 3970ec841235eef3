//! What an error of MongoDB means: pure functions over its code and the driver's kind.
//!
//! Codes: <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>.

use cdc_machine::Fault;
use mongodb::error::{Error, ErrorKind};

/// `ChangeStreamFatalError`: the token is not in the stream that the pipeline describes.
const CHANGE_STREAM_FATAL: i32 = 280;

/// What the machine has to know of an error.
pub(crate) fn fault(error: &Error) -> Fault {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => code_fault(command.code),
        ErrorKind::Authentication { .. } => Fault::Auth,
        kind => kind_fault(kind),
    }
}

/// True where the server does not find the token in the stream, though its history may be there: the
/// pipeline has changed.
pub(crate) fn is_token_not_in_stream(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == CHANGE_STREAM_FATAL)
}

/// Classifies a server's error by its code. Labels say no more: they mark errors that are transient anyway.
pub(crate) fn code_fault(code: i32) -> Fault {
    match code {
        // ChangeStreamHistoryLost, ChangeStreamFatalError, InvalidResumeToken, an unparsable token,
        // CappedPositionLost, InvalidResumeToken's sibling of newer servers.
        286 | CHANGE_STREAM_FATAL | 260 | 50811 | 136 | 464 => Fault::HistoryLost,
        // AuthenticationFailed, Unauthorized, Atlas's own failure of authentication,
        // ReauthenticationRequired.
        18 | 13 | 8000 | 391 => Fault::Auth,
        // BSONObjectTooLarge.
        10334 => Fault::TooLarge,
        // NoReplicationEnabled, NotAReplicaSet, change streams need a replica set: rs.initiate() may be coming.
        76 | 123 | 40573 => Fault::Unfit,
        // A request that is wrong in itself, or a server that cannot have change streams.
        2 | 9 | 14 | 20 | 59 | 72 | 73 | 115 | 166 | 167 | 238 | 323 | 40324 | 40415 => Fault::Fatal,
        // Elections, shutdowns, killed cursors, time-outs; and a code that nobody foresaw: retries are
        // counted, so that ends too, and with a message.
        _ => Fault::Transient,
    }
}

/// Classifies what the driver itself found.
fn kind_fault(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::InvalidResponse { .. } => Fault::Transient,
        _ => Fault::Fatal,
    }
}

/// What to do about an error, in words for the person who reads it.
pub(crate) fn advice(error: &Error, fault: Fault) -> &'static str {
    if let ErrorKind::Command(command) = error.kind.as_ref()
        && matches!(command.code, 40573 | 76 | 123)
    {
        return NOT_A_REPLICA_SET;
    }
    match fault {
        Fault::Auth => {
            "check the user and password in mongodb.uri, and grant it the role `read` on the database (or \
             changeStream, find and listCollections)"
        }
        Fault::HistoryLost => {
            "the position has left the oplog or belongs to another deployment; on_history_lost decides. A \
             larger oplog (replSetResizeOplog) keeps it longer"
        }
        Fault::TooLarge => "an event is larger than a reply may be (16 MiB); on_too_large decides",
        Fault::Transient | Fault::Unreachable => "trying again",
        _ => "check mongodb.* in the configuration against the server's version",
    }
}

/// What mends a server that stands alone.
pub(crate) const NOT_A_REPLICA_SET: &str =
    "change streams need a replica set: start mongod with --replSet <name> and run rs.initiate() once";

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    /// The driver specification's resumable errors and their kin.
    const TRANSIENT_CODES: [i32; 24] = [
        6,     // HostUnreachable
        7,     // HostNotFound
        43,    // CursorNotFound
        50,    // MaxTimeMSExpired
        63,    // StaleShardVersion
        89,    // NetworkTimeout
        91,    // ShutdownInProgress
        133,   // FailedToSatisfyReadPreference
        134,   // ReadConcernMajorityNotAvailableYet
        150,   // StaleEpoch
        175,   // QueryPlanKilled
        189,   // PrimarySteppedDown
        202,   // NetworkInterfaceExceededTimeLimit
        234,   // RetryChangeStream
        237,   // CursorKilled
        262,   // ExceededTimeLimit
        9001,  // SocketException
        10107, // NotWritablePrimary
        11600, // InterruptedAtShutdown
        11601, // Interrupted
        11602, // InterruptedDueToReplStateChange
        13388, // StaleConfig
        13435, // NotPrimaryNoSecondaryOk
        13436, // NotPrimaryOrSecondary
    ];

    /// Codes that mean something of their own, and two that do not.
    const ROWS: [(i32, Fault); 30] = [
        (286, Fault::HistoryLost),
        (280, Fault::HistoryLost),
        (260, Fault::HistoryLost),
        (50811, Fault::HistoryLost),
        (136, Fault::HistoryLost),
        (464, Fault::HistoryLost),
        (18, Fault::Auth),
        (13, Fault::Auth),
        (8000, Fault::Auth),
        (391, Fault::Auth),
        (10334, Fault::TooLarge),
        (2, Fault::Fatal),     // BadValue
        (9, Fault::Fatal),     // FailedToParse
        (14, Fault::Fatal),    // TypeMismatch
        (20, Fault::Fatal),    // IllegalOperation
        (59, Fault::Fatal),    // CommandNotFound
        (72, Fault::Fatal),    // InvalidOptions
        (73, Fault::Fatal),    // InvalidNamespace
        (76, Fault::Unfit),    // NoReplicationEnabled
        (115, Fault::Fatal),   // CommandNotSupported
        (123, Fault::Unfit),   // NotAReplicaSet
        (166, Fault::Fatal),   // CommandNotSupportedOnView
        (167, Fault::Fatal),   // OptionNotSupportedOnView
        (238, Fault::Fatal),   // NotImplemented
        (323, Fault::Fatal),   // APIStrictError
        (40324, Fault::Fatal), // an unknown stage
        (40415, Fault::Fatal), // an unknown field
        (40573, Fault::Unfit), // change streams need a replica set
        (1, Fault::Transient),
        (999_999, Fault::Transient),
    ];

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn codes() {
        for (code, expected) in ROWS {
            assert_eq!(code_fault(code), expected, "{code}");
        }
        for code in TRANSIENT_CODES {
            assert_eq!(code_fault(code), Fault::Transient, "{code}");
        }
    }

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn any_code_is_retried_unless_it_is_known_to_be_no_use() {
        for code in -1_000..100_000 {
            let known =
                ROWS.iter().find(|(known, _)| *known == code).map_or(Fault::Transient, |(_, fault)| *fault);
            assert_eq!(code_fault(code), known, "{code}");
        }
    }

    #[test]
    fn kinds() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(fault(&Error::from(reset)), Fault::Transient);
        assert_eq!(fault(&Error::custom(Arc::new(()))), Fault::Fatal);
        assert_eq!(kind_fault(&ErrorKind::Io(Arc::new(io::ErrorKind::TimedOut.into()))), Fault::Transient);
        assert_eq!(kind_fault(&ErrorKind::SessionsNotSupported), Fault::Fatal);
        assert_eq!(kind_fault(&ErrorKind::Shutdown), Fault::Fatal);
    }
}
