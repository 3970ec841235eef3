//! The five links of a pipeline, each through a proxy of its own.

use std::net::SocketAddr;

use crate::pipeline::Endpoints;
use crate::proxy::Proxy;
use crate::servers::kafka::Door;
use crate::{Error, Stack};

/// A link between a service and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkName {
    /// From the Watcher to the source.
    WatcherMongodb,
    /// From the Watcher to the log.
    WatcherKafka,
    /// From the Watcher to the token store.
    WatcherRedis,
    /// From the Syncer to the log.
    SyncerKafka,
    /// From the Syncer to the target.
    SyncerPostgres,
}

impl LinkName {
    /// Every link.
    pub const ALL: [Self; 5] = [
        Self::WatcherMongodb,
        Self::WatcherKafka,
        Self::WatcherRedis,
        Self::SyncerKafka,
        Self::SyncerPostgres,
    ];
}

/// A pipeline's links. The servers have to be a [`Stack`] whose Kafka has two doors for each pipeline
/// ([`Links::DOORS`]) and whose replica set has one member: a client that is told of other members goes to
/// them past the proxy.
#[derive(Debug)]
pub struct Links {
    proxies: [Proxy; 5],
}

impl Links {
    /// Doors of Kafka that one pipeline takes: the Watcher's and the Syncer's.
    pub const DOORS: usize = 2;

    /// The links of pipeline `number`, counted from 0.
    ///
    /// # Errors
    /// If a port cannot be had, or the stack's Kafka has too few doors.
    pub async fn start(stack: &Stack, number: usize) -> Result<Self, Error> {
        let doors = stack.kafka.doors(0).get(number * Self::DOORS..).unwrap_or_default();
        let [watcher_door, syncer_door, ..] = doors else {
            return Err(Error::new("links", "the stack's Kafka has too few doors; see KafkaOptions::doors"));
        };
        let upstream = |addr: &str| {
            addr.parse::<SocketAddr>().map_err(|source| {
                Error::new("links", format!("{addr} is not an address")).with_source(source)
            })
        };
        let mongod = upstream(&stack.mongod.addrs()[0])?;
        let redis = upstream(&stack.redis.addr())?;
        let postgres = upstream(&format!("{}:{}", stack.postgres.host(), stack.postgres.port()))?;
        let through = |door: &Door| Proxy::start_on(door.advertised, door.upstream);
        Ok(Self {
            proxies: [
                Proxy::start(mongod).await?,
                through(watcher_door).await?,
                Proxy::start(redis).await?,
                through(syncer_door).await?,
                Proxy::start(postgres).await?,
            ],
        })
    }

    /// One link.
    #[must_use]
    pub const fn get(&self, name: LinkName) -> &Proxy {
        &self.proxies[name as usize]
    }

    /// What the Watcher is to be deployed with.
    #[must_use]
    pub fn watcher(&self, servers: &Endpoints) -> Endpoints {
        let mongodb = self.get(LinkName::WatcherMongodb).addr();
        Endpoints {
            // A client of a whole set would follow the set's own addresses past the proxy.
            mongodb_uri: format!("mongodb://{mongodb}/?directConnection=true"),
            kafka_brokers: self.get(LinkName::WatcherKafka).addr().to_string(),
            redis_addr: self.get(LinkName::WatcherRedis).addr().to_string(),
            ..servers.clone()
        }
    }

    /// What the Syncer is to be deployed with.
    #[must_use]
    pub fn syncer(&self, servers: &Endpoints) -> Endpoints {
        let postgres = self.get(LinkName::SyncerPostgres).addr();
        Endpoints {
            kafka_brokers: self.get(LinkName::SyncerKafka).addr().to_string(),
            postgres_host: postgres.ip().to_string(),
            postgres_port: postgres.port(),
            ..servers.clone()
        }
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.proxies.iter().for_each(Proxy::heal);
    }
}
