use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, Document, Timestamp, doc};
use cdc_executor::ports::Failure;
use cdc_machine::Fault;
use cdc_watcher::Contents;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, SelectionCriteria};
use mongodb::{Client, Database};
use secrecy::ExposeSecret;

use crate::classify::{self, NOT_A_REPLICA_SET};
use crate::settings::MongoSettings;

/// The name in the server's logs and `currentOp`, and the cursor's comment.
pub(crate) const APP_NAME: &str = "cdc-watcher";
/// One connection for the cursor, one to ask beside it, one to spare while an old cursor is killed.
const POOL_CONNECTIONS_MAX: u32 = 3;

/// What the other end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The replica set's name.
    pub replica_set: String,
    /// The latest operation's cluster time.
    pub(crate) operation_time: Timestamp,
}

/// A client, with what messages say of it.
#[derive(Clone)]
pub(crate) struct Connection {
    database: Database,
    selection: Option<SelectionCriteria>,
    timeout: Duration,
    place: String,
}

impl Connection {
    /// Reads the connection string and makes a client. It connects at its first command.
    pub(crate) async fn new(settings: &MongoSettings) -> Result<Self, Failure> {
        const OPERATION: &str = "mongodb_connect";
        let parsed = ClientOptions::parse(settings.uri.expose_secret()).await;
        // The driver's text may quote the string, and with it a password: it is not passed on.
        let mut options = parsed.map_err(|error| match error.kind.as_ref() {
            ErrorKind::DnsResolve { .. } => Failure::new(
                Fault::Transient,
                OPERATION,
                "the host names of the mongodb+srv:// string in mongodb.uri do not resolve; check DNS; trying \
                 again",
            ),
            _ => Failure::new(
                Fault::Fatal,
                OPERATION,
                "mongodb.uri is not a connection string (mongodb://user:password@host:port/?options); \
                 characters such as @ : / in user and password have to be percent-encoded",
            ),
        })?;
        // The driver must not resume or repeat anything by itself: the machine does, from a saved position.
        options.retry_reads = Some(false);
        options.retry_writes = Some(false);
        options.app_name = Some(APP_NAME.to_owned());
        options.connect_timeout = Some(settings.connection_timeout);
        options.server_selection_timeout = Some(settings.connection_timeout);
        options.max_pool_size = Some(POOL_CONNECTIONS_MAX);
        let mut place = format!("MongoDB database {} at ", settings.database);
        for (index, host) in options.hosts.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            // Writing to a String does not fail.
            let _infallible = write!(place, "{separator}{host}");
        }
        let selection = options.selection_criteria.clone();
        let client = Client::with_options(options)
            .map_err(|error| failure(Fault::Fatal, OPERATION, &place, "check mongodb.uri", error))?;
        let database = client.database(&settings.database);
        Ok(Self { database, selection, timeout: settings.connection_timeout, place })
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn selection(&self) -> Option<SelectionCriteria> {
        self.selection.clone()
    }

    /// Database and hosts, without credentials: for messages.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// A driver's error, classified.
    pub(crate) fn failure(&self, operation: &'static str, error: Error) -> Failure {
        let fault = classify::fault(&error);
        let advice = classify::advice(&error, fault);
        failure(fault, operation, &self.place, advice, error)
    }

    /// Asks who answers. A server that cannot have change streams is refused by name.
    pub(crate) async fn describe(&self) -> Result<Deployment, Failure> {
        const OPERATION: &str = "mongodb_hello";
        let hello =
            self.command(doc! { "hello": 1 }).await.map_err(|error| self.failure(OPERATION, error))?;
        let refused = |what: &str| {
            Err(Failure::new(Fault::Fatal, OPERATION, format!("{} cannot be watched: {what}", self.place)))
        };
        if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
            return refused("it is a mongos, and sharded clusters are not supported yet; name a replica set");
        }
        let Ok(replica_set) = hello.get_str("setName") else { return refused(NOT_A_REPLICA_SET) };
        let Ok(operation_time) = hello.get_timestamp("operationTime") else {
            return refused("it tells no operation time; MongoDB 4.2 or newer is needed");
        };
        Ok(Deployment { replica_set: replica_set.to_owned(), operation_time })
    }

    /// Which documents stand behind the watched names, in their order.
    pub(crate) async fn contents(
        &self,
        collections: &[(String, Arc<str>)],
    ) -> Result<Vec<Contents>, Failure> {
        const OPERATION: &str = "mongodb_collections";
        let names: Vec<&str> = collections.iter().map(|(name, _)| name.as_str()).collect();
        let all = i32::try_from(names.len()).unwrap_or(i32::MAX);
        let list = doc! {
            "listCollections": 1,
            "filter": { "name": { "$in": names } },
            "cursor": { "batchSize": all },
        };
        let reply = self.command(list).await.map_err(|error| self.failure(OPERATION, error))?;
        let found = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let found = found.map_err(|error| {
            let text = format!("{} listed its collections in an unknown form", self.place);
            Failure::new(Fault::Fatal, OPERATION, text).because(error)
        })?;
        let contents = |name: &str| {
            let named = |entry: &&Document| entry.get_str("name").is_ok_and(|found| found == name);
            let Some(entry) = found.iter().filter_map(Bson::as_document).find(named) else {
                return Contents::Absent;
            };
            // A view has none.
            match entry.get_document("info").ok().and_then(|info| info.get("uuid")) {
                Some(Bson::Binary(uuid)) => {
                    uuid.bytes.as_slice().try_into().map_or(Contents::Unknown, Contents::Uuid)
                }
                _ => Contents::Unknown,
            }
        };
        Ok(collections.iter().map(|(name, _)| contents(name)).collect())
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&self, operation: &'static str) -> Result<(), Failure> {
        match tokio::time::timeout(self.timeout, self.command(doc! { "ping": 1 })).await {
            Ok(Ok(_pong)) => Ok(()),
            Ok(Err(error)) => Err(self.failure(operation, error)),
            Err(_elapsed) => Err(Failure::new(
                Fault::Transient,
                operation,
                format!("{} has not answered for {:?}; trying again", self.place, self.timeout),
            )),
        }
    }

    async fn command(&self, command: Document) -> Result<Document, Error> {
        let action = self.database.run_command(command);
        match self.selection() {
            Some(selection) => action.selection_criteria(selection).await,
            None => action.await,
        }
    }
}

fn failure(fault: Fault, operation: &'static str, place: &str, advice: &str, error: Error) -> Failure {
    Failure::new(fault, operation, format!("{place} refused or did not answer; {advice}")).because(error)
}
