//! Why no broker answered. librdkafka's own code says only that a transport failed; asked one by one, the brokers of
//! `kafka.brokers` show what stands there.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::Failure;

/// How many of the brokers are asked.
const BROKERS_MAX: usize = 5;
/// How long one of their addresses may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// The failure in words that name each broker, where none of them can be connected to. Blocks for at most
/// [`PATIENCE`] for each address of [`BROKERS_MAX`] brokers, and for as long as the system takes to resolve their names.
pub(crate) fn in_words(failure: Failure, brokers: &[String]) -> Failure {
    match failure.fault {
        Fault::Transient | Fault::Unreachable => {}
        Fault::RetryNow
        | Fault::Blocked
        | Fault::Poison
        | Fault::TooLarge
        | Fault::HistoryLost
        | Fault::Fenced
        | Fault::Auth
        | Fault::Unfit
        | Fault::Fatal
        | Fault::Bug => return failure,
    }
    let mut silent = Vec::new();
    for broker in brokers.iter().take(BROKERS_MAX) {
        match reach(broker) {
            Ok(()) => return failure,
            Err(why) => silent.push(format!("{broker} {why}")),
        }
    }
    let text = format!("no broker answered: {}; start one, or correct kafka.brokers", silent.join(", "));
    Failure::new(failure.fault, failure.operation, text)
}

fn reach(broker: &str) -> Result<(), String> {
    let addresses = broker.to_socket_addrs().map_err(|_unknown| "does not resolve".to_owned())?;
    let mut refused = "does not resolve".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_connected) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                "connection refused".clone_into(&mut refused);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                refused = format!("has not accepted a connection for {} s", PATIENCE.as_secs());
            }
            Err(error) => refused = error.to_string(),
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn brokers_that_refuse_are_named_and_one_that_accepts_is_no_reason() {
        let failed =
            || Failure::new(Fault::Transient, "kafka_topics", "the brokers did not list their topics");
        let said = in_words(failed(), &["127.0.0.1:1".to_owned()]);
        assert_eq!(
            said.message,
            "no broker answered: 127.0.0.1:1 connection refused; start one, or correct kafka.brokers"
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let brokers = ["127.0.0.1:1".to_owned(), listener.local_addr().unwrap().to_string()];
        assert_eq!(in_words(failed(), &brokers).message, failed().message);
        let refused = Failure::new(Fault::Auth, "kafka_topics", "who are you");
        assert_eq!(in_words(refused, &brokers[..1]).message, "who are you");
    }
}
