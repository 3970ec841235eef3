//! One pipeline among several on the same servers, all of its links through proxies, kept up as a supervisor
//! would: the test brings it into a state, strikes, and looks whether it gets over it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each look at a fault picks the few that are special to it"
)]

mod brake;
mod converge;
mod stop;
mod strike;

use std::time::Duration;

use bson::Timestamp;
use cdc_devstack::links::{LinkName, Links};
use cdc_devstack::pipeline::{Deployment, Endpoints, Role};
use cdc_devstack::source::{Copied, PLAYERS, Source};
use cdc_devstack::{Service, Stack};
use cdc_model::faults::{Cell, Fault, Link, State};
use mongodb::Client;

use crate::load::{Load, Manner};
use crate::topic::Offsets;
use crate::{Failure, history, topic};
use brake::Brake;

pub use stop::End;
pub use strike::{heal_server, strike_server};

/// Settings that make a pipeline's states quick to reach and its time-outs quick to pass. Retries, back-offs and
/// the lease are the defaults.
const WATCHER_SETTINGS: &[(&str, &str)] = &[
    ("CDC__MONGODB__CONNECTION_TIMEOUT", "1s"),
    ("CDC__KAFKA__PARTITIONS", "2"),
    ("CDC__PERFORMANCE__MAX_REPLAY_EVENTS", "40"),
    ("CDC__SHUTDOWN__TIMEOUT", "60s"),
];

/// The same for the Syncer.
const SYNCER_SETTINGS: &[(&str, &str)] = &[
    ("CDC__POSTGRES__CONNECTION_TIMEOUT", "1s"),
    ("CDC__POSTGRES__MIN_CONNECTIONS", "1"),
    ("CDC__POSTGRES__MAX_CONNECTIONS", "5"),
    ("CDC__BATCH__BUFFER_SIZE", "10"),
    ("CDC__WORKERS__CHANNEL_BUFFER", "10"),
    ("CDC__WORKERS__POOL_SIZE", "2"),
    ("CDC__SHUTDOWN__TIMEOUT", "60s"),
];

/// What a pipeline's writers do: enough to fill the small windows at once, little enough for several pipelines.
const MANNER: Manner =
    Manner { writers: 1, players: 40, padding: 20, pause: Duration::from_millis(4), survives: true };

/// The longest that anything asked of a service in a pipeline may take.
const SOON: Duration = Duration::from_secs(60);
/// Of each service's log, the last errors that are shown with a failed cell, and how much of each.
const COMPLAINTS_MAX: usize = 6;
const COMPLAINT_CHARS_MAX: usize = 420;
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// One of a pipeline's two services, with what became of it.
#[derive(Debug)]
struct Post {
    deployment: Deployment,
    service: Option<Service>,
    /// The codes with which it has ended since the cell began, unless it was killed.
    exits: Vec<i32>,
    kills: usize,
}

/// One pipeline.
#[derive(Debug)]
pub struct Pipeline {
    number: usize,
    /// Its links.
    pub links: Links,
    servers: Endpoints,
    name: String,
    source: Source,
    mongo: Client,
    watcher: Post,
    syncer: Post,
    brakes: Vec<Brake>,
    lock: Option<tokio_postgres::Client>,
    /// Resets of the link that was struck, before it was.
    resets: u64,
    load: Option<Load>,
    since: Timestamp,
    ends: Offsets,
}

impl Pipeline {
    /// Starts pipeline `number` (counted from 0) of a stack whose Kafka has doors for it. Both services are up.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn start(stack: &Stack, number: usize) -> Result<Self, Failure> {
        Self::start_with(stack, number, &PLAYERS, [&[], &[]]).await
    }

    /// The same with other collections, and with more settings for the Watcher and the Syncer.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with(
        stack: &Stack,
        number: usize,
        collections: &'static [Copied],
        [watcher_settings, syncer_settings]: [&[(&str, &str)]; 2],
    ) -> Result<Self, Failure> {
        let links = Links::start(stack, number).await?;
        let name = format!("pipeline{number}");
        let source = Source::new(&name, collections);
        stack.postgres.execute(&format!("CREATE ROLE {name} LOGIN")).await?;
        stack.postgres.execute(&format!("CREATE DATABASE {name} OWNER {name}")).await?;
        let servers = Endpoints {
            postgres_database: name.clone(),
            postgres_user: name.clone(),
            ..Endpoints::of(stack)
        };
        servers.postgres().await?.batch_execute(&source.tables_sql()).await?;
        let mongo = Client::with_uri_str(&servers.mongodb_uri).await?;
        let folder = stack.folder().join(&name);
        std::fs::create_dir_all(&folder)?;

        let deploy = |role: Role, endpoints: &Endpoints, settings: &[(&str, &str)]| {
            Deployment::over(&source, role, role.name(), &folder, endpoints, settings)
        };
        let own = [("CDC__TOKEN_STORAGE__REDIS__KEY", name.as_str())];
        let settings = [&own, WATCHER_SETTINGS, watcher_settings].concat();
        let watcher = deploy(Role::Watcher, &links.watcher(&servers), &settings)?;
        let own = [("CDC__KAFKA__CONSUMER_GROUP", name.as_str())];
        let settings = [&own, SYNCER_SETTINGS, syncer_settings].concat();
        let syncer = deploy(Role::Syncer, &links.syncer(&servers), &settings)?;

        let since = history::now(&mongo).await?;
        let mut pipeline = Self {
            number,
            links,
            servers,
            name,
            source,
            mongo,
            watcher: Post::new(watcher),
            syncer: Post::new(syncer),
            brakes: Vec::new(),
            lock: None,
            resets: 0,
            load: None,
            since,
            ends: Offsets::new(),
        };
        pipeline.ensure_running().await?;
        Ok(pipeline)
    }

    /// The whole of one cell whose fault strikes this pipeline alone.
    ///
    /// # Errors
    /// If the state is not reached, or the outcome is another one than the cell's.
    pub async fn show(&mut self, cell: Cell) -> Result<(), Failure> {
        let begun = std::time::Instant::now();
        self.begin().await?;
        let shown = async {
            self.bring(role_of(cell), cell.state, link_of(cell.fault)).await?;
            self.strike(cell).await?;
            self.release(link_of(cell.fault));
            self.outlast(cell).await?;
            self.mend(cell.fault).await?;
            self.converge(&[cell]).await
        };
        let shown = Box::pin(shown).await;
        let line = format!(
            "{:?} {:?} {:?}: {:.1} s",
            cell.service,
            cell.state,
            cell.fault,
            begun.elapsed().as_secs_f64()
        );
        crate::say(&line);
        shown.map_err(|error| format!("{line}: {error}\n{}", self.complaints()).into())
    }

    /// Notes where the topic and the history stand, so that what follows can be compared.
    ///
    /// # Errors
    /// Whatever a server says.
    pub async fn begin(&mut self) -> Result<(), Failure> {
        for post in [&mut self.watcher, &mut self.syncer] {
            post.exits.clear();
            post.kills = 0;
        }
        self.since = history::now(&self.mongo).await?;
        let (brokers, topics) = (self.servers.kafka_brokers.clone(), self.source.topics());
        self.ends = tokio::task::spawn_blocking(move || topic::ends_of(&brokers, &topics)).await??;
        Ok(())
    }

    /// The last errors in its services' logs: the logs themselves go with the stack.
    #[must_use]
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for role in [Role::Watcher, Role::Syncer] {
            let log = std::fs::read_to_string(self.post(role).deployment.log()).unwrap_or_default();
            let errors: Vec<&str> = log.lines().filter(|line| line.contains("\"ERROR\"")).collect();
            for line in &errors[errors.len().saturating_sub(COMPLAINTS_MAX)..] {
                let shown: String = line.chars().take(COMPLAINT_CHARS_MAX).collect();
                text.push_str(&format!("  {}: {shown}\n", role.name()));
            }
        }
        text
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// A load of another manner than the pipeline's own.
    pub fn load_as(&mut self, seed: u64, manner: Manner) {
        self.load = Some(Load::start_as(&self.mongo, &self.source, seed, manner));
    }

    /// Changes that the load has made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.load.as_ref().map_or(0, Load::operations)
    }

    /// Another instance of a service, on the same links.
    ///
    /// # Errors
    /// If no port is to be had.
    pub fn rival(&self, role: Role, instance: &str) -> Result<Deployment, Failure> {
        Ok(self.post(role).deployment.rival(instance)?)
    }

    /// A superuser's session in the pipeline's database, past the proxies.
    ///
    /// # Errors
    /// If PostgreSQL refuses.
    pub async fn superuser(&self) -> Result<tokio_postgres::Client, Failure> {
        let servers = Endpoints { postgres_user: "postgres".to_owned(), ..self.servers.clone() };
        Ok(servers.postgres().await?)
    }

    const fn post(&self, role: Role) -> &Post {
        match role {
            Role::Watcher => &self.watcher,
            Role::Syncer => &self.syncer,
        }
    }

    const fn post_mut(&mut self, role: Role) -> &mut Post {
        match role {
            Role::Watcher => &mut self.watcher,
            Role::Syncer => &mut self.syncer,
        }
    }

    fn start_load(&mut self) {
        if self.load.is_none() {
            self.load = Some(Load::start_as(&self.mongo, &self.source, self.number as u64, MANNER));
        }
    }
}

impl Post {
    const fn new(deployment: Deployment) -> Self {
        Self { deployment, service: None, exits: Vec::new(), kills: 0 }
    }

    fn running(&mut self) -> Result<&mut Service, Failure> {
        self.service.as_mut().ok_or_else(|| "the service does not run".into())
    }

    /// What the service says of itself.
    async fn state(&self) -> Option<State> {
        let metrics = self.service.as_ref()?.metrics().await.ok()?;
        State::ALL
            .into_iter()
            .find(|state| metrics.value("cdc_state", &[("state", state.as_str())]) == Some(1.0))
    }
}

/// The service that a cell strikes.
#[must_use]
pub const fn role_of(cell: Cell) -> Role {
    match cell.service {
        cdc_model::faults::Service::Watcher => Role::Watcher,
        cdc_model::faults::Service::Syncer => Role::Syncer,
    }
}

/// The link that a fault strikes, if it strikes one.
const fn link_of(fault: Fault) -> Option<LinkName> {
    match fault {
        Fault::LinkCut(link)
        | Fault::LinkLosesRequests(link)
        | Fault::LinkLosesAnswers(link)
        | Fault::LinkSlow(link)
        | Fault::LinkReset(link) => Some(name_of(link)),
        Fault::CommitLostBefore | Fault::CommitLostDuring | Fault::CommitLostAfter => {
            Some(LinkName::SyncerPostgres)
        }
        _ => None,
    }
}

const fn name_of(link: Link) -> LinkName {
    match link {
        Link::WatcherMongodb => LinkName::WatcherMongodb,
        Link::WatcherKafka => LinkName::WatcherKafka,
        Link::WatcherRedis => LinkName::WatcherRedis,
        Link::SyncerKafka => LinkName::SyncerKafka,
        Link::SyncerPostgres => LinkName::SyncerPostgres,
    }
}
