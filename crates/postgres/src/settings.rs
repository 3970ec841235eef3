use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cdc_machine::words;
use cdc_ports::ProcessId;

use crate::mapping::{Naming, TableMapping};
use crate::namespace::Namespace;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host name or an address.
    Host(String),
    /// The folder of a Unix socket.
    SocketDirectory(PathBuf),
}

words! {
    /// What becomes of a table that has no column for the position.
    #[derive(Default)]
    pub enum Fence {
        /// Nothing is written to it until the column is there.
        #[default]
        Required: "required",
        /// Where the column cannot be added, the table is written without it, which `cdc_unfenced_tables` counts.
        IfPossible: "if_possible",
    }
}

/// What a Syncer is called in its consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its `instance`.
    pub instance: String,
    /// Its process, where that can be looked up.
    pub process: Option<ProcessId>,
}

/// All that the adapter has to know. A plain value: whoever reads the configuration fills it in.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// Its port; it also names the socket in a folder.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role to log in as.
    pub user: String,
    /// Its password, where the server asks for one.
    pub password: Option<String>,
    /// How long opening a connection may take, and how long an exhausted pool may stay so before that is said.
    pub connection_timeout: Duration,
    /// Connections kept open while idle.
    pub min_connections: u32,
    /// Connections at most.
    pub max_connections: u32,
    /// A connection is replaced when it is this old, as the design document has it.
    pub max_connection_lifetime: Duration,
    /// A connection beyond the minimum is closed when it has been idle for this long, as the design document has it.
    pub idle_timeout: Duration,
    /// Names the owner of the offsets and of the tables.
    pub consumer_group: String,
    /// The name that is taken in `cdc.members` before anything else; `None` takes none.
    pub member: Option<Member>,
    /// Rows of one statement from which COPY is used in place of a prepared statement.
    pub copy_threshold: usize,
    /// Whether missing tables and columns may be created.
    pub manage_schema: bool,
    /// What becomes of a table that has no column for the position.
    pub fence: Fence,
    /// The schema of every table that has none of its own. `{database}` in it stands for the collection's database.
    pub schema: String,
    /// Whether somebody chose that schema. Where nobody did, a table of the name elsewhere in the role's search path is told of
    /// before a mirror is made.
    pub is_schema_chosen: bool,
    /// How a column is found for a field where nobody maps it.
    pub naming: Naming,
    /// What is said of the tables of some topics.
    pub tables: BTreeMap<String, TableMapping>,
    /// The collection that each topic carries: every topic that is read, and no collection twice.
    pub namespaces: BTreeMap<String, Namespace>,
}

impl Settings {
    /// The consumer group of a Syncer that names none.
    pub const DEFAULT_GROUP: &str = "cdc-syncer";

    /// The schema of tables where nobody chooses one.
    pub const DEFAULT_SCHEMA: &str = "public";
    /// What stands for the collection's database in a schema's name.
    pub const DATABASE: &str = "{database}";

    /// The defaults, for a database on a host or in a socket's folder. They bind no topic.
    #[must_use]
    pub fn new(endpoint: Endpoint, database: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            endpoint,
            port: 5432,
            database: database.into(),
            user: user.into(),
            password: None,
            connection_timeout: Duration::from_secs(10),
            min_connections: 10,
            max_connections: 50,
            max_connection_lifetime: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(5 * 60),
            consumer_group: Self::DEFAULT_GROUP.to_owned(),
            member: None,
            copy_threshold: 100,
            manage_schema: true,
            fence: Fence::default(),
            schema: Self::DEFAULT_SCHEMA.to_owned(),
            is_schema_chosen: false,
            naming: Naming::default(),
            tables: BTreeMap::new(),
            namespaces: BTreeMap::new(),
        }
    }

    /// The schema and the name of the table that a topic's records go to.
    #[must_use]
    pub fn table_of(&self, topic: &str, namespace: &Namespace) -> (String, String) {
        let mapping = self.tables.get(topic);
        let schema = mapping.and_then(|it| it.schema.as_ref()).unwrap_or(&self.schema);
        let name = mapping.and_then(|it| it.table.as_deref()).unwrap_or(namespace.collection());
        (schema.replace(Self::DATABASE, namespace.database()), name.to_owned())
    }

    /// The server as it stands in messages: no credentials.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.endpoint {
            Endpoint::Host(host) => format!("{host}:{}/{}", self.port, self.database),
            Endpoint::SocketDirectory(folder) => {
                format!("{}/.s.PGSQL.{}/{}", folder.display(), self.port, self.database)
            }
        }
    }
}

/// Without the password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("target", &self.target())
            .field("user", &self.user)
            .field("connection_timeout", &self.connection_timeout)
            .field("min_connections", &self.min_connections)
            .field("max_connections", &self.max_connections)
            .field("max_connection_lifetime", &self.max_connection_lifetime)
            .field("idle_timeout", &self.idle_timeout)
            .field("consumer_group", &self.consumer_group)
            .field("member", &self.member)
            .field("copy_threshold", &self.copy_threshold)
            .field("manage_schema", &self.manage_schema)
            .field("fence", &self.fence)
            .field("schema", &self.schema)
            .field("naming", &self.naming)
            .field("tables", &self.tables)
            .field("namespaces", &self.namespaces)
            .finish_non_exhaustive()
    }
}
