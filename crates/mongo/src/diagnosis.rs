//! Why the driver found no server to talk to: its own text tells of the topology that it hoped for. Asked one by one,
//! the hosts of the connection string tell what they are.

use std::io;
use std::time::Duration;

use bson::{Document, doc};
use cdc_machine::Fault;
use cdc_ports::Failure;
use mongodb::Client;
use mongodb::error::Error;
use mongodb::options::{ClientOptions, ServerAddress};
use tokio::net::TcpStream;

use crate::classify::NOT_A_REPLICA_SET;

/// How many of the connection string's hosts are asked.
const HOSTS_MAX: usize = 5;
/// How long one of them may take to answer.
const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// MongoDB's port where the connection string names none.
const DEFAULT_PORT: u16 = 27017;

/// What is wrong with a server that answers `hello` without naming a replica set, and whether it may come right.
pub(crate) fn without_set(hello: &Document) -> (Fault, String) {
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        let text =
            "it is a mongos, and sharded clusters are not supported yet; name a replica set in mongodb.uri";
        return (Fault::Fatal, text.to_owned());
    }
    if hello.get_bool("isreplicaset").unwrap_or(false) {
        return (
            Fault::Unfit,
            "its replica set is not initiated yet; run rs.initiate() on it once".to_owned(),
        );
    }
    (Fault::Unfit, format!("it stands alone, and {NOT_A_REPLICA_SET}"))
}

/// Asks the hosts why none of them could be used. `None` where they show no reason.
pub(crate) async fn why_unreachable(options: &ClientOptions, operation: &'static str) -> Option<Failure> {
    let patience = options.server_selection_timeout.unwrap_or(PATIENCE_MAX).min(PATIENCE_MAX);
    let mut silent = Vec::new();
    for host in options.hosts.iter().take(HOSTS_MAX) {
        if let Err(why) = reach(host, patience).await {
            silent.push(format!("{host}: {why}"));
        } else {
            return match hello(options, host, patience).await {
                Ok(hello) => {
                    let (fault, text) = unusable(&hello, host, options.repl_set_name.as_deref());
                    Some(Failure::new(fault, operation, text))
                }
                Err(_said_nothing_of_itself) => None,
            };
        }
    }
    let silent = silent.join(", ");
    let text = format!("MongoDB at {silent}; start it, or correct mongodb.uri");
    (!silent.is_empty()).then(|| Failure::new(Fault::Transient, operation, text).in_brief(silent))
}

/// What keeps a host that answers from being used.
fn unusable(hello: &Document, host: &ServerAddress, expected: Option<&str>) -> (Fault, String) {
    let Ok(found) = hello.get_str("setName") else {
        let (fault, text) = without_set(hello);
        return (fault, format!("MongoDB at {host} cannot be watched: {text}"));
    };
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        let text = format!(
            "MongoDB at {host} belongs to replica set \"{found}\"; mongodb.uri says \"{expected}\": correct replicaSet= in it"
        );
        return (Fault::Unfit, text);
    }
    match hello.get_str("primary") {
        Ok(primary) => {
            let text = format!(
                "MongoDB at {host} answers, and says that the primary of replica set \"{found}\" is {primary}, which cannot be \
                 reached from here under that name; make it resolve here, or put directConnection=true into mongodb.uri"
            );
            (Fault::Transient, text)
        }
        Err(_none) => {
            let text = format!(
                "MongoDB at {host} answers, and replica set \"{found}\" has no primary; see rs.status(): an election may be under way, \
                 or a majority of members is down"
            );
            (Fault::Transient, text)
        }
    }
}

async fn reach(host: &ServerAddress, patience: Duration) -> Result<(), String> {
    let ServerAddress::Tcp { host: name, port } = host else { return Ok(()) };
    match tokio::time::timeout(patience, TcpStream::connect((name.as_str(), port.unwrap_or(DEFAULT_PORT))))
        .await
    {
        Ok(Ok(_reached)) => Ok(()),
        Ok(Err(error)) => Err(in_words(&error)),
        Err(_elapsed) => Err(format!("no answer for {} s", patience.as_secs())),
    }
}

/// What a connection came to, without the system's numbers.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no way there".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ if error.raw_os_error().is_none() => "the name does not resolve".to_owned(),
        _ => error.to_string(),
    }
}

/// `hello` needs no login.
async fn hello(options: &ClientOptions, host: &ServerAddress, patience: Duration) -> Result<Document, Error> {
    let mut alone = options.clone();
    alone.hosts = vec![host.clone()];
    alone.repl_set_name = None;
    alone.credential = None;
    alone.direct_connection = Some(true);
    alone.server_selection_timeout = Some(patience);
    let client = Client::with_options(alone)?;
    let answer = client.database("admin").run_command(doc! { "hello": 1 }).await;
    client.shutdown().immediate(true).await;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> ServerAddress {
        ServerAddress::Tcp { host: "db".to_owned(), port: Some(27017) }
    }

    #[test]
    fn a_host_says_why_it_cannot_be_used() {
        let rows = [
            (doc! {}, None, Fault::Unfit, "stands alone"),
            (doc! {}, Some("rs0"), Fault::Unfit, "rs.initiate()"),
            (doc! { "isreplicaset": true }, Some("rs0"), Fault::Unfit, "not initiated yet"),
            (doc! { "msg": "isdbgrid" }, None, Fault::Fatal, "mongos"),
            (
                doc! { "setName": "rs0" },
                Some("rsX"),
                Fault::Unfit,
                "db:27017 belongs to replica set \"rs0\"; mongodb.uri says \"rsX\"",
            ),
            (
                doc! { "setName": "rs0", "primary": "mongo:27017" },
                Some("rs0"),
                Fault::Transient,
                "mongo:27017",
            ),
            (doc! { "setName": "rs0" }, None, Fault::Transient, "no primary"),
        ];
        for (hello, expected, fault, words) in rows {
            let (found, text) = unusable(&hello, &host(), expected);
            assert_eq!(found, fault, "{text}");
            assert!(text.contains(words), "{text}");
        }
    }
}
