//! What an error of a token store's backend means: pure functions.

use std::io;

use cdc_machine::Fault;
use redis::{ErrorKind, ServerErrorKind};

/// How Redis 7 says that a script may run and a command in it may not; its code is a plain `ERR`.
const SCRIPT_NOT_PERMITTED: &str = "The user executing the script can't run this command";

/// Classifies a Redis error by its kind, the server's own code (the first word of its message) and the rest.
pub(crate) fn redis_fault(kind: ErrorKind, code: Option<&str>, detail: Option<&str>) -> Fault {
    if let Some(fault) = code.and_then(code_fault) {
        return fault;
    }
    if detail.is_some_and(|detail| detail.contains(SCRIPT_NOT_PERMITTED)) {
        return Fault::Auth;
    }
    match kind {
        ErrorKind::AuthenticationFailed => Fault::Auth,
        ErrorKind::Io | ErrorKind::Parse => Fault::Transient,
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::NoPerm => Fault::Auth,
            ServerErrorKind::BusyLoading
            | ServerErrorKind::NoScript
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NotBusy => Fault::Transient,
            // The rest says that the key, the database or the server is not what the configuration means.
            _ => Fault::Fatal,
        },
        _ => Fault::Fatal,
    }
}

fn code_fault(code: &str) -> Option<Fault> {
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Some(Fault::Auth),
        "READONLY" | "LOADING" | "OOM" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "MISCONF"
        | "NOREPLICAS" | "NOSCRIPT" | "UNBLOCKED" => Some(Fault::Transient),
        "WRONGTYPE" | "MOVED" | "ASK" | "CROSSSLOT" => Some(Fault::Fatal),
        _ => None,
    }
}

/// Classifies an error of the file store: a disk that is full may be emptied, a disk that fails or refuses
/// is a person's matter.
pub(crate) fn file_fault(kind: io::ErrorKind) -> Fault {
    match kind {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::Interrupted
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::TimedOut
        | io::ErrorKind::ResourceBusy
        | io::ErrorKind::StaleNetworkFileHandle => Fault::Transient,
        _ => Fault::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn redis_errors() {
        let general = ErrorKind::Server(ServerErrorKind::ResponseError);
        let cases = [
            (ErrorKind::Extension, Some("NOAUTH"), Fault::Auth),
            (ErrorKind::Extension, Some("WRONGPASS"), Fault::Auth),
            (ErrorKind::Server(ServerErrorKind::NoPerm), Some("NOPERM"), Fault::Auth),
            (ErrorKind::AuthenticationFailed, None, Fault::Auth),
            (ErrorKind::AuthenticationFailed, Some("LOADING"), Fault::Transient),
            (ErrorKind::Server(ServerErrorKind::ReadOnly), Some("READONLY"), Fault::Transient),
            (ErrorKind::Server(ServerErrorKind::BusyLoading), Some("LOADING"), Fault::Transient),
            (ErrorKind::Server(ServerErrorKind::MasterDown), Some("MASTERDOWN"), Fault::Transient),
            (ErrorKind::Server(ServerErrorKind::ClusterDown), Some("CLUSTERDOWN"), Fault::Transient),
            (ErrorKind::Server(ServerErrorKind::NoScript), Some("NOSCRIPT"), Fault::Transient),
            (ErrorKind::Extension, Some("OOM"), Fault::Transient),
            (ErrorKind::Extension, Some("MISCONF"), Fault::Transient),
            (ErrorKind::Extension, Some("BUSY"), Fault::Transient),
            (ErrorKind::Extension, Some("NOPERM"), Fault::Auth),
            (ErrorKind::Extension, Some("NOREPLICAS"), Fault::Transient),
            (ErrorKind::Extension, Some("UNBLOCKED"), Fault::Transient),
            (ErrorKind::Extension, Some("TRYAGAIN"), Fault::Transient),
            (ErrorKind::Server(ServerErrorKind::TryAgain), None, Fault::Transient),
            (ErrorKind::Server(ServerErrorKind::NotBusy), None, Fault::Transient),
            (ErrorKind::Extension, Some("ASK"), Fault::Fatal),
            (ErrorKind::Extension, Some("CROSSSLOT"), Fault::Fatal),
            (ErrorKind::Io, None, Fault::Transient),
            (ErrorKind::Parse, None, Fault::Transient),
            (ErrorKind::Extension, Some("WRONGTYPE"), Fault::Fatal),
            (ErrorKind::Server(ServerErrorKind::Moved), Some("MOVED"), Fault::Fatal),
            (ErrorKind::UnexpectedReturnType, None, Fault::Fatal),
            (ErrorKind::InvalidClientConfig, None, Fault::Fatal),
            (general, Some("ERR"), Fault::Fatal),
        ];
        for (kind, code, expected) in cases {
            assert_eq!(redis_fault(kind, code, None), expected, "{kind:?} {code:?}");
        }
        let detail = "The user executing the script can't run this command or subcommand";
        assert_eq!(redis_fault(general, Some("ERR"), Some(detail)), Fault::Auth);
    }

    /// Feature: cdc-pipeline, Property 26: Error Type Classification
    /// Validates: Requirements 12.5
    #[test]
    fn file_errors() {
        let cases = [
            (io::ErrorKind::StorageFull, Fault::Transient),
            (io::ErrorKind::QuotaExceeded, Fault::Transient),
            (io::ErrorKind::TimedOut, Fault::Transient),
            (io::ErrorKind::Interrupted, Fault::Transient),
            (io::ErrorKind::WouldBlock, Fault::Transient),
            (io::ErrorKind::ResourceBusy, Fault::Transient),
            (io::ErrorKind::StaleNetworkFileHandle, Fault::Transient),
            (io::ErrorKind::NotFound, Fault::Fatal),
            (io::ErrorKind::PermissionDenied, Fault::Fatal),
            (io::ErrorKind::ReadOnlyFilesystem, Fault::Fatal),
            (io::ErrorKind::IsADirectory, Fault::Fatal),
            (io::ErrorKind::Other, Fault::Fatal),
        ];
        for (kind, expected) in cases {
            assert_eq!(file_fault(kind), expected, "{kind:?}");
        }
    }
}
