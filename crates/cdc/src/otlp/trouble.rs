//! What a collector's answer, or its silence, comes to.

use std::fmt;

use http::StatusCode;
use tonic::{Code, Status};

/// Why a request was not taken.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// What was heard.
    pub(super) text: String,
}

/// What is to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody answers, or not in time.
    Unreachable,
    /// Whoever answers is not trusted, or trusts nobody.
    Untrusted,
    /// It has too much to do.
    Overloaded,
    /// It wants other credentials.
    Unauthorized,
    /// Whoever answers takes no spans this way.
    Misaddressed,
    /// It refuses what it was sent.
    Refused,
}

impl Kind {
    /// True where the same request may be taken later.
    pub(super) const fn is_retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::Untrusted | Self::Overloaded)
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "check that the collector runs, and tracing.endpoint",
            Self::Untrusted => {
                "check that tracing.certificate holds the authority of the collector's certificate, and that this is for the \
                 name in tracing.endpoint"
            }
            Self::Overloaded => "give the collector more room",
            Self::Unauthorized => "check tracing.headers",
            Self::Misaddressed => "check tracing.endpoint, its path and tracing.protocol",
            Self::Refused => "the collector's log says why",
        }
    }
}

impl Trouble {
    /// Nobody answers, and this is why.
    pub(super) fn unreachable(error: &(dyn std::error::Error + 'static)) -> Self {
        let kind = if is_of_tls(error) { Kind::Untrusted } else { Kind::Unreachable };
        Self { kind, text: chain(error) }
    }

    /// No answer came in time.
    pub(super) fn timed_out() -> Self {
        Self { kind: Kind::Unreachable, text: "no answer within tracing.timeout".to_owned() }
    }

    /// An answer over HTTP that is no success.
    pub(super) fn of_http(status: StatusCode) -> Self {
        let kind = match status.as_u16() {
            401 | 403 | 407 => Kind::Unauthorized,
            404 | 405 | 406 | 415 | 300..=399 => Kind::Misaddressed,
            429 | 503 => Kind::Overloaded,
            408 | 502 | 504 => Kind::Unreachable,
            _ => Kind::Refused,
        };
        Self { kind, text: format!("HTTP status {status}") }
    }

    /// An answer that is none of OTLP's.
    pub(super) fn no_otlp(error: &dyn std::error::Error) -> Self {
        Self { kind: Kind::Misaddressed, text: format!("the answer is not OTLP's: {}", chain(error)) }
    }

    /// An answer over gRPC that is no success.
    pub(super) fn of_grpc(status: &Status) -> Self {
        let kind = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Kind::Unauthorized,
            Code::Unimplemented | Code::NotFound => Kind::Misaddressed,
            Code::ResourceExhausted => Kind::Overloaded,
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss => Kind::Unreachable,
            // A peer that does not speak gRPC ends the stream in ways that the client has no code for.
            Code::Unknown | Code::Internal => Kind::Misaddressed,
            Code::Ok | Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition => {
                Kind::Refused
            }
        };
        let source = std::error::Error::source(status);
        let kind = if source.is_some_and(is_of_tls) { Kind::Untrusted } else { kind };
        let text = match source.map(chain) {
            Some(source) => format!("{:?}: {}: {source}", status.code(), status.message()),
            None => format!("{:?}: {}", status.code(), status.message()),
        };
        Self { kind, text }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.kind.advice())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// True where TLS is what failed. An error of a connection holds that of TLS as its content, which is not its source.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>()
        || held.is_some_and(|held| is_of_tls(held))
        || error.source().is_some_and(is_of_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_says_what_is_to_follow() {
        let http = [
            (401, Kind::Unauthorized),
            (403, Kind::Unauthorized),
            (404, Kind::Misaddressed),
            (302, Kind::Misaddressed),
            (415, Kind::Misaddressed),
            (429, Kind::Overloaded),
            (503, Kind::Overloaded),
            (502, Kind::Unreachable),
            (504, Kind::Unreachable),
            (400, Kind::Refused),
            (413, Kind::Refused),
            (500, Kind::Refused),
        ];
        for (code, kind) in http {
            assert_eq!(Trouble::of_http(StatusCode::from_u16(code).unwrap()).kind, kind, "{code}");
        }
        let grpc = [
            (Code::Unauthenticated, Kind::Unauthorized),
            (Code::PermissionDenied, Kind::Unauthorized),
            (Code::Unimplemented, Kind::Misaddressed),
            (Code::Unknown, Kind::Misaddressed),
            (Code::ResourceExhausted, Kind::Overloaded),
            (Code::Unavailable, Kind::Unreachable),
            (Code::DeadlineExceeded, Kind::Unreachable),
            (Code::InvalidArgument, Kind::Refused),
        ];
        for (code, kind) in grpc {
            let trouble = Trouble::of_grpc(&Status::new(code, "said so"));
            assert_eq!(trouble.kind, kind, "{code:?}");
            assert!(trouble.to_string().starts_with(&format!("{code:?}: said so; ")), "{trouble}");
        }
        assert!(Kind::Unreachable.is_retryable() && Kind::Overloaded.is_retryable());
        assert!(
            ![Kind::Unauthorized, Kind::Misaddressed, Kind::Refused].iter().any(|kind| kind.is_retryable())
        );
    }
}
