use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// What `full_document` carries in the event of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullDocument {
    /// The document as it is when the event is read: it may be newer than the event, or gone.
    #[default]
    Lookup,
    /// The document as the update left it, where the collection records post-images; else nothing.
    PostImage,
}

/// Which change stream to read, and how.
#[derive(Clone, Debug)]
pub struct MongoSettings {
    /// The connection string, credentials and TLS options included.
    pub uri: SecretString,
    /// The database.
    pub database: String,
    /// The watched collections, each with the topic of its messages.
    pub collections: Vec<(String, Arc<str>)>,
    /// How long to wait for a connection, and for a server to be there at all.
    pub connection_timeout: Duration,
    /// What the events of updates carry.
    pub full_document: FullDocument,
    /// The most events in one reply of the server.
    pub batch_events: u32,
    /// How long the server waits for an event before it sends an empty reply.
    pub max_await: Duration,
}

impl MongoSettings {
    /// The most events in one reply, unless configured: enough for the round trip not to show.
    pub const DEFAULT_BATCH_EVENTS: u32 = 500;
    /// How long the server waits for an event, unless configured.
    pub const DEFAULT_MAX_AWAIT: Duration = Duration::from_millis(500);
    /// How long to wait for a connection, unless configured.
    pub const DEFAULT_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
}
