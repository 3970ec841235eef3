use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bson::{Document, RawDocumentBuf, Timestamp, doc};
use cdc_machine::Fault;
use cdc_ports::Failure;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria};
use mongodb::raw_batch_cursor::RawBatchCursor;
use mongodb::{Client, Database};
use secrecy::ExposeSecret;

use crate::classify;
use crate::diagnosis;
use crate::error_text::ErrorText;
use crate::settings::MongoSettings;

/// The name in the server's logs and `currentOp`, and the cursor's comment.
pub(crate) const APP_NAME: &str = "cdc-watcher";
/// How long the server waits for an event that is searched for, before it says how far it has come.
const SEARCH_AWAIT: Duration = Duration::from_millis(500);
/// How long the names of a `mongodb+srv://` string may take. The resolver's own tries take less.
const RESOLVES_WITHIN: Duration = Duration::from_secs(30);
/// What a question for who answers is called in the log.
const HELLO: &str = "mongodb_hello";
/// One connection for the cursor, one to ask beside it, one to spare while an old cursor is killed.
const POOL_CONNECTIONS_MAX: u32 = 3;

/// What the other end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// A replica set.
    ReplicaSet {
        /// Its name.
        name: String,
        /// The latest operation's cluster time.
        operation_time: Timestamp,
    },
    /// Nothing that has change streams, or not what is asked of them; the text says which, and what mends it.
    Unfit(String),
}

impl Deployment {
    /// The name that token records of a database's collections are made for; or why nothing there can be watched.
    ///
    /// # Errors
    /// The text of [`Deployment::Unfit`].
    pub fn source_name(self, database: &str) -> Result<String, String> {
        match self {
            Self::ReplicaSet { name, .. } => Ok(format!("{name}/{database}")),
            Self::Unfit(text) => Err(text),
        }
    }
}

/// A client, with what messages say of it.
#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    database: Database,
    selection: Option<SelectionCriteria>,
    timeout: Duration,
    place: String,
    /// Kept to ask the hosts one by one where the driver finds none.
    options: Arc<ClientOptions>,
}

impl Connection {
    /// Reads the connection string and makes a client. It connects at its first command.
    pub(crate) async fn new(settings: &MongoSettings) -> Result<Self, Failure> {
        const OPERATION: &str = "mongodb_connect";
        let parsing =
            tokio::time::timeout(RESOLVES_WITHIN, ClientOptions::parse(settings.uri.expose_secret()));
        let Ok(parsed) = parsing.await else {
            let text = format!(
                "the host names in mongodb.uri were not resolved within {RESOLVES_WITHIN:?}; check DNS; trying again"
            );
            return Err(Failure::new(Fault::Transient, OPERATION, text));
        };
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
        let client = Client::with_options(options.clone())
            .map_err(|error| failure(Fault::Fatal, OPERATION, &place, "check mongodb.uri", &error))?;
        let database = client.database(&settings.database);
        Ok(Self {
            client,
            database,
            selection,
            timeout: settings.connection_timeout,
            place,
            options: Arc::new(options),
        })
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
        failure(fault, operation, &self.place, advice, &error)
    }

    /// Asks who answers.
    pub(crate) async fn describe(&self) -> Result<Deployment, Failure> {
        let asked = self.command(doc! { "hello": 1 });
        let hello = match self.answered(HELLO, self.patience(), asked).await? {
            Ok(hello) => hello,
            Err(error) => return Err(self.explained(error).await),
        };
        let unfit = |what: &str| Ok(Deployment::Unfit(format!("{} cannot be watched: {what}", self.place)));
        let Ok(replica_set) = hello.get_str("setName") else {
            return match diagnosis::without_set(&hello) {
                (Fault::Unfit, what) => {
                    let text = format!("{} cannot be watched: {what}", self.place);
                    Err(Failure::new(Fault::Unfit, HELLO, text))
                }
                (_, what) => unfit(&what),
            };
        };
        let Ok(operation_time) = hello.get_timestamp("operationTime") else {
            return unfit("it tells no operation time; MongoDB 4.2 or newer is needed");
        };
        Ok(Deployment::ReplicaSet { name: replica_set.to_owned(), operation_time })
    }

    /// An error of the driver's; where it found no server, with what the hosts say of themselves.
    async fn explained(&self, error: Error) -> Failure {
        let found_none = matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. });
        let asked = if found_none { diagnosis::why_unreachable(&self.options, HELLO).await } else { None };
        asked.unwrap_or_else(|| self.failure(HELLO, error))
    }

    /// Where the oplog ends; `None` on a member that is not the primary.
    pub(crate) async fn oplog_end(&self) -> Result<Option<Timestamp>, Failure> {
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let asked = self.database.run_command(doc! { "hello": 1 }).selection_criteria(primary);
        let hello = self.answer(HELLO, async move { asked.await }).await?;
        let written = hello.get_document("lastWrite").and_then(|last| last.get_document("opTime"));
        let end = written.and_then(|written| written.get_timestamp("ts")).ok();
        Ok(end.filter(|_| hello.get_bool("isWritablePrimary").unwrap_or(false)))
    }

    /// Where the oplog begins; `None` where this login may not look.
    pub(crate) async fn oplog_begin(&self) -> Result<Option<Timestamp>, Failure> {
        const OPERATION: &str = "mongodb_oplog";
        let local = self.client.database("local");
        let find =
            doc! { "find": "oplog.rs", "sort": { "$natural": 1 }, "limit": 1, "projection": { "ts": 1 } };
        let reply = match self.answered(OPERATION, self.patience(), self.command_in(&local, find)).await? {
            Ok(reply) => reply,
            Err(error) if classify::fault(&error) == Fault::Auth => return Ok(None),
            Err(error) => return Err(self.failure(OPERATION, error)),
        };
        let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let first = batch.ok().and_then(|batch| batch.first()).and_then(bson::Bson::as_document);
        Ok(first.and_then(|entry| entry.get_timestamp("ts").ok()))
    }

    /// Opens a cursor on the answer to this command.
    pub(crate) async fn open(&self, command: Document, batch: u32) -> Result<RawBatchCursor, Error> {
        let action = self.database.run_cursor_command(command).batch_size(batch).max_time(SEARCH_AWAIT);
        match self.selection() {
            Some(selection) => action.selection_criteria(selection).batch().await,
            None => action.batch().await,
        }
    }

    /// Opens a cursor whose only reply has the answer.
    pub(crate) async fn find(&self, command: RawDocumentBuf) -> Result<RawBatchCursor, Error> {
        let action = self.database.run_raw_cursor_command(command);
        match self.selection() {
            Some(selection) => action.selection_criteria(selection).batch().await,
            None => action.batch().await,
        }
    }

    /// How long an answer may take: the driver may search for a server for as long as a connection may take to be made,
    /// and the server may then say nothing for as long again. It knows a refused connection; one that has gone silent,
    /// behind a firewall or in a network that is cut, it would wait for without an end.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout * 2
    }

    /// Waits for an answer, within [`Self::patience`].
    ///
    /// # Errors
    /// The driver's, classified; `Transient` where none came.
    pub(crate) async fn answer<T>(
        &self,
        operation: &'static str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let answered = self.answered(operation, self.patience(), asked).await?;
        answered.map_err(|error| self.failure(operation, error))
    }

    /// Waits for an answer for so long; what the driver says is the caller's to judge.
    ///
    /// # Errors
    /// `Transient` where none came.
    pub(crate) async fn answered<T>(
        &self,
        operation: &'static str,
        within: Duration,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Failure> {
        tokio::time::timeout(within, asked).await.map_err(|_elapsed| {
            let text = format!(
                "{} has not answered for {within:?}: the connection is silent and is given up; see whether a firewall \
                 or the network between drops it; trying again",
                self.place
            );
            Failure::new(Fault::Transient, operation, text)
        })
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&self, operation: &'static str) -> Result<(), Failure> {
        let pong = self.answered(operation, self.timeout, self.command(doc! { "ping": 1 })).await?;
        pong.map(drop).map_err(|error| self.failure(operation, error))
    }

    pub(crate) async fn command(&self, command: Document) -> Result<Document, Error> {
        self.command_in(&self.database, command).await
    }

    async fn command_in(&self, database: &Database, command: Document) -> Result<Document, Error> {
        let action = database.run_command(command);
        match self.selection() {
            Some(selection) => action.selection_criteria(selection).await,
            None => action.await,
        }
    }
}

fn failure(fault: Fault, operation: &'static str, place: &str, advice: &str, error: &Error) -> Failure {
    let told = ErrorText::new(error);
    let brief = told.in_brief(error).map(String::into_boxed_str);
    let failure = Failure::new(fault, operation, format!("{place} refused or did not answer; {advice}"));
    Failure { brief, ..failure.because(told) }
}
