use std::fmt;

use cdc_machine::Cause;

/// How a service ended, for the last line that it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why the machine stopped.
    pub cause: Cause,
    /// The failure that was logged last: the operation, and the chain of its causes.
    pub last_failure: Option<String>,
}

impl From<Cause> for Ended {
    /// An end without a failure before it.
    fn from(cause: Cause) -> Self {
        Self { cause, last_failure: None }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        match (self.cause, &self.last_failure) {
            // These are ends by failure; of any other the cause says all.
            (
                Cause::Unavailable(_)
                | Cause::Refused(_)
                | Cause::Failed(_)
                | Cause::TokenDamaged
                | Cause::TokenUnreadable
                | Cause::OtherSource
                | Cause::LeaseLost,
                Some(failure),
            ) => {
                write!(f, ". The last failure was {failure}")
            }
            // Each complaint says what mends it.
            (Cause::Unsupported(_), Some(complaints)) => write!(f, ": {complaints}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use cdc_machine::Dependency;

    use super::*;

    #[test]
    fn an_end_by_failure_says_which() {
        let last_failure = Some("kafka_publish: no broker".to_owned());
        let cause = Cause::Unavailable(Dependency::Kafka);
        let ended = Ended { cause, last_failure: last_failure.clone() };
        assert_eq!(ended.to_string(), format!("{cause}. The last failure was kafka_publish: no broker"));
        let cause = Cause::Unsupported(Dependency::MongoDb);
        let ended = Ended { cause, last_failure: Some("v is a view".to_owned()) };
        assert_eq!(ended.to_string(), format!("{cause}: v is a view"));
        let ended = Ended { cause: Cause::Aborted, last_failure };
        assert_eq!(ended.to_string(), Cause::Aborted.to_string());
    }
}
