use std::sync::Arc;
use std::time::Duration;

use cdc_event::Sampling;
use cdc_machine::words;
use mongodb::error::ErrorKind;
use mongodb::options::ConnectionString;
use secrecy::SecretString;

words! {
    /// What `full_document` carries in the event of an update.
    #[derive(Default)]
    pub enum UpdateImage {
        /// The document as it is when the event is read: it may be newer than the event, or gone.
        #[default]
        Lookup: "lookup",
        /// The document as the update left it. The start is refused where a collection does not record post-images.
        /// Where one ceases to, or they expire, updates are looked up and counted.
        PostImage: "post_image",
    }
}

/// Which events are followed to their rows, and in whose traces.
#[derive(Clone, Debug)]
pub struct EventTracing {
    /// The share of all events.
    pub sampling: Sampling,
    /// Whether spans leave this process: a context says so to whoever goes on with it.
    pub is_recorded: bool,
    /// The field of a document that carries the application's own context; `None` where there is none.
    pub context_field: Option<Box<str>>,
}

impl EventTracing {
    /// No event is followed.
    pub const OFF: Self = Self { sampling: Sampling::NONE, is_recorded: false, context_field: None };
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
    pub full_document: UpdateImage,
    /// The most events in one reply of the server.
    pub batch_events: u32,
    /// How long the server waits for an event before it sends an empty reply.
    pub max_await: Duration,
    /// Which events are followed.
    pub tracing: EventTracing,
}

impl MongoSettings {
    /// The most events in one reply, unless configured: enough for the round trip not to show.
    pub const DEFAULT_BATCH_EVENTS: u32 = 500;
    /// How long the server waits for an event, unless configured.
    pub const DEFAULT_MAX_AWAIT: Duration = Duration::from_millis(500);
    /// How long to wait for a connection, unless configured.
    pub const DEFAULT_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
}

/// Refuses what the driver would refuse of a connection string, before anything connects. No host is looked up.
///
/// # Errors
/// Why, in words that never repeat a credential: the driver's own only where there is none to repeat.
pub fn check_uri(uri: &str) -> Result<(), String> {
    let Err(error) = ConnectionString::parse(uri) else { return Ok(()) };
    let lower = uri.to_ascii_lowercase();
    let may_hold_secrets = lower.contains('@') || lower.contains("password") || lower.contains("mechanism");
    Err(match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } if !may_hold_secrets => message.clone(),
        _ => "not a connection string (mongodb://user:password@host:port/?options); characters such as @ : / in user and \
              password have to be percent-encoded"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_refuses_is_told_without_credentials() {
        for good in
            ["mongodb://h", "mongodb://u:p%40@a:1,b:2/?replicaSet=rs0", "mongodb+srv://cluster.example.net/"]
        {
            assert_eq!(check_uri(good), Ok(()), "{good}");
        }
        for bad in ["mongodb://h:99999", "mongodb://u:secret@x@h", "mongodb://u:secret@h:port"] {
            let said = check_uri(bad).unwrap_err();
            assert!(!said.contains("secret"), "{said}");
        }
        let said = check_uri("mongodb://h:99999").unwrap_err();
        assert!(said.contains("port"), "{said}");
    }
}
