//! A MongoDB replica set.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{Client, options::ClientOptions};

use crate::{
    Error, binaries,
    folder::RunFolder,
    members::Members,
    ports::free_port,
    process::Lifetime,
    server::{Place, START_ATTEMPTS_MAX, Server},
};

const SET_NAME: &str = "rs0";
/// For a secondary to call an election; MongoDB's own 10 s would be most of a test's time.
const ELECTION_TIMEOUT_MS: i32 = 2_000;
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// How MongoDB is started.
#[derive(Clone, Debug)]
pub struct MongodOptions {
    /// 1 or 3.
    pub members: usize,
    /// Whether the members are a replica set.
    pub set: ReplicaSet,
    /// The oplog's size in MB (at least 16; a small one lets a test roll over it).
    pub oplog_mb: u32,
    /// The storage engine's cache of each member, in GB.
    pub cache_gb: f32,
    /// More arguments for `mongod`, such as `["--syncdelay", "1"]`.
    pub args: Vec<String>,
}

impl Default for MongodOptions {
    fn default() -> Self {
        Self { members: 1, set: ReplicaSet::Initiated, oplog_mb: 1_024, cache_gb: 0.5, args: Vec::new() }
    }
}

/// How far the members are a replica set. What is none has no change streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaSet {
    /// With a primary.
    Initiated,
    /// Started as members of a set that nobody has initiated.
    Named,
    /// Each stands alone.
    Absent,
}

/// One or three `mongod`, by default a replica set with a primary: change streams and transactions work.
#[derive(Debug)]
pub struct Mongod {
    members: Members,
    addrs: Vec<String>,
    set: ReplicaSet,
    /// Goes after the servers that write into it.
    _folder: Option<RunFolder>,
}

super::ends_and_pauses!(Mongod, members);

impl Mongod {
    /// Starts the members in a folder of their own and waits until they answer, and for the primary of an initiated set.
    ///
    /// # Errors
    /// If MongoDB is not installed, a member does not come up, or no primary is elected.
    pub async fn start(options: MongodOptions) -> Result<Self, Error> {
        let folder = RunFolder::create(None)?;
        let mut mongod =
            Self::start_in(Place { folder: folder.path(), lifetime: Lifetime::Scoped }, options).await?;
        mongod._folder = Some(folder);
        Ok(mongod)
    }

    pub(crate) async fn start_in(place: Place<'_>, options: MongodOptions) -> Result<Self, Error> {
        let mut attempt = 1;
        let mut mongod = loop {
            let ports = (0..options.members).map(|_| free_port()).collect::<Result<Vec<_>, _>>()?;
            let servers = (1..).zip(&ports).map(|(number, port)| member(place, &options, number, *port));
            let mut mongod = Self {
                members: Members::new(servers.collect::<Result<_, _>>()?),
                addrs: ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
                set: options.set,
                _folder: None,
            };
            mongod.members.spawn()?;
            match mongod.all_answer().await {
                Err(_) if attempt < START_ATTEMPTS_MAX && mongod.members.port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => break mongod,
            }
        };
        if options.set == ReplicaSet::Initiated {
            mongod.initiate().await?;
            mongod.restart().await?;
        }
        Ok(mongod)
    }

    /// `mongodb://127.0.0.1:PORT,…/?replicaSet=rs0`, without the option where the members are no set.
    #[must_use]
    pub fn uri(&self) -> String {
        let addrs = self.addrs.join(",");
        match self.set {
            ReplicaSet::Initiated | ReplicaSet::Named => format!("mongodb://{addrs}/?replicaSet={SET_NAME}"),
            ReplicaSet::Absent => format!("mongodb://{addrs}/"),
        }
    }

    /// `127.0.0.1:PORT` of each member, in the order of [`Self::members`].
    #[must_use]
    pub fn addrs(&self) -> &[String] {
        &self.addrs
    }

    /// Starts the members that do not run, on the same ports and data, and waits until all are primary or secondary.
    ///
    /// # Errors
    /// If one does not come up, or no primary is elected.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.members.spawn()?;
        self.all_answer().await?;
        let clients = self.direct_clients().await?;
        self.members.ready(async || complete(&clients).await).await
    }

    /// Which member is the primary, counted from 0; `None` during an election.
    ///
    /// # Errors
    /// If no client for a member can be made. A member that does not answer is none.
    pub async fn primary(&self) -> Result<Option<usize>, Error> {
        for (index, client) in self.direct_clients().await?.iter().enumerate() {
            if hello(client).await.is_ok_and(|answer| is(&answer, "isWritablePrimary")) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Makes the primary step down for `seconds`, so that another member is elected.
    ///
    /// # Errors
    /// If there is no primary, or MongoDB refuses.
    pub async fn step_down(&self, seconds: i32) -> Result<(), Error> {
        let primary =
            self.primary().await?.ok_or_else(|| Error::new("mongod", "there is no primary to step down"))?;
        let clients = self.direct_clients().await?;
        let command = doc! { "replSetStepDown": seconds, "secondaryCatchUpPeriodSecs": 1, "force": true };
        let answer = clients[primary].database("admin").run_command(command).await;
        answer
            .map(drop)
            .map_err(|source| Error::new("mongod", "the primary did not step down").with_source(source))
    }

    /// From now on, dropping it does nothing.
    pub(crate) fn detach(&mut self) {
        self.members.detach();
    }

    /// The members' processes.
    #[must_use]
    pub fn members(&self) -> &[Server] {
        self.members.all()
    }

    /// One member's process, to be killed or paused alone; counted from 0.
    ///
    /// # Errors
    /// If there is no such member.
    pub fn member_mut(&mut self, index: usize) -> Result<&mut Server, Error> {
        self.members.one(index)
    }

    /// The first member's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.members().first().and_then(Server::pid)
    }

    /// Waits until every member talks, whatever its role.
    async fn all_answer(&mut self) -> Result<(), Error> {
        let clients = self.direct_clients().await?;
        self.members.ready(async || all_hello(&clients).await.map(drop)).await
    }

    async fn initiate(&mut self) -> Result<(), Error> {
        let members: Vec<Document> =
            (0_i32..).zip(&self.addrs).map(|(id, addr)| doc! { "_id": id, "host": addr }).collect();
        let config = doc! {
            "_id": SET_NAME,
            "members": members,
            "settings": { "electionTimeoutMillis": ELECTION_TIMEOUT_MS },
        };
        let client = direct_client(&self.addrs[0]).await?;
        let answer = client.database("admin").run_command(doc! { "replSetInitiate": config }).await;
        answer.map(drop).map_err(|source| {
            let error = Error::new("mongod", "the replica set could not be initiated").with_source(source);
            self.members().first().map(Server::log).into_iter().fold(error, Error::with_log)
        })
    }

    async fn direct_clients(&self) -> Result<Vec<Client>, Error> {
        let mut clients = Vec::with_capacity(self.addrs.len());
        for addr in &self.addrs {
            clients.push(direct_client(addr).await?);
        }
        Ok(clients)
    }
}

fn member(place: Place<'_>, options: &MongodOptions, number: usize, port: u16) -> Result<Server, Error> {
    let name = format!("mongod-{number}");
    let args = [
        ("--port", port.to_string()),
        ("--bind_ip", "127.0.0.1".to_owned()),
        ("--dbpath", place.data(&name)?.display().to_string()),
        ("--oplogSize", options.oplog_mb.to_string()),
        ("--wiredTigerCacheSizeGB", options.cache_gb.to_string()),
        ("--setParameter", "diagnosticDataCollectionEnabled=false".to_owned()),
        // A primary asked to end waits for a successor, even where none can be.
        ("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=1000".to_owned()),
    ];
    let mut args: Vec<String> = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    if options.set != ReplicaSet::Absent {
        args.extend(["--replSet".to_owned(), SET_NAME.to_owned()]);
    }
    args.push("--nounixsocket".to_owned()); // it would lie in /tmp
    args.extend(options.args.iter().cloned());
    let program = place.program(&name, binaries::mongod()?, args, None)?;
    Ok(Server::new(name, program))
}

async fn direct_client(addr: &str) -> Result<Client, Error> {
    let failed = |source: mongodb::error::Error| {
        Error::new("mongod", format!("no client for {addr}")).with_source(source)
    };
    let mut options =
        ClientOptions::parse(format!("mongodb://{addr}/?directConnection=true")).await.map_err(failed)?;
    options.server_selection_timeout = Some(SERVER_SELECTION_TIMEOUT);
    Client::with_options(options).map_err(failed)
}

async fn hello(client: &Client) -> Result<Document, String> {
    client.database("admin").run_command(doc! { "hello": 1 }).await.map_err(|error| error.kind.to_string())
}

async fn all_hello(clients: &[Client]) -> Result<Vec<Document>, String> {
    let mut answers = Vec::with_capacity(clients.len());
    for client in clients {
        answers.push(hello(client).await?);
    }
    Ok(answers)
}

/// One primary, and everyone else a secondary.
async fn complete(clients: &[Client]) -> Result<(), String> {
    let answers = all_hello(clients).await?;
    let primaries = answers.iter().filter(|answer| is(answer, "isWritablePrimary")).count();
    let secondaries = answers.iter().filter(|answer| is(answer, "secondary")).count();
    if primaries == 1 && primaries + secondaries == answers.len() {
        Ok(())
    } else {
        Err(format!("{primaries} primaries and {secondaries} secondaries of {} members", answers.len()))
    }
}

fn is(answer: &Document, flag: &str) -> bool {
    answer.get_bool(flag).unwrap_or(false)
}
