//! All four servers at once.

use std::path::{Path, PathBuf};

use crate::{
    Error, Kafka, KafkaOptions, Lifetime, Mongod, MongodOptions, Postgres, PostgresOptions, Redis,
    RedisOptions, RunFolder, Server,
    server::{Place, write_stop_script},
};

/// How [`Stack::start`] starts the servers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the run's folder is made; by default in `target/devstack`.
    pub parent: Option<PathBuf>,
    /// How long the servers and their folder live.
    pub lifetime: Lifetime,
    /// MongoDB.
    pub mongod: MongodOptions,
    /// Kafka.
    pub kafka: KafkaOptions,
    /// PostgreSQL.
    pub postgres: PostgresOptions,
    /// Redis.
    pub redis: RedisOptions,
}

/// MongoDB, Kafka, PostgreSQL and Redis, with their data in one folder.
///
/// Dropping it kills them and removes the folder, unless it was started as [`Lifetime::Detached`].
#[derive(Debug)]
pub struct Stack {
    /// The source.
    pub mongod: Mongod,
    /// The log between the services.
    pub kafka: Kafka,
    /// The target.
    pub postgres: Postgres,
    /// The token store.
    pub redis: Redis,
    // Last: fields are dropped in order, and the servers write into the folder.
    folder: RunFolder,
}

impl Stack {
    /// Starts all four at once and waits until each of them works.
    ///
    /// # Errors
    /// The first server's that is not installed or does not come up; the others are killed then.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let folder = RunFolder::create(options.parent.as_deref())?;
        let place = Place { folder: folder.path(), lifetime: options.lifetime };
        let (mongod, kafka, postgres, redis) = tokio::try_join!(
            Box::pin(Mongod::start_in(place, options.mongod)),
            Box::pin(Kafka::start_in(place, options.kafka)),
            Box::pin(Postgres::start_in(place, options.postgres)),
            Box::pin(Redis::start_in(place, options.redis)),
        )?;
        let mut stack = Self { mongod, kafka, postgres, redis, folder };
        // Only now: a start that failed half-way must leave nothing running.
        if options.lifetime == Lifetime::Detached {
            stack.detach()?;
        }
        Ok(stack)
    }

    /// The run's folder, with one `*.log` file for each server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All server processes.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        let single = [self.postgres.server(), self.redis.server()];
        self.mongod.members().iter().chain(self.kafka.brokers()).chain(single)
    }

    /// Ends all servers in order.
    ///
    /// # Errors
    /// If one had to be killed, or had ended by itself before.
    pub async fn stop(&mut self) -> Result<(), Error> {
        let (mongod, kafka, postgres, redis) =
            tokio::join!(self.mongod.stop(), self.kafka.stop(), self.postgres.stop(), self.redis.stop());
        mongod.and(kafka).and(postgres).and(redis)
    }

    /// Leaves the servers to `stop.sh` in the folder, by which a user ends them and removes what they left.
    fn detach(&mut self) -> Result<(), Error> {
        write_stop_script(self.folder(), self.postgres.elsewhere(), self.servers())?;
        self.mongod.detach();
        self.kafka.detach();
        self.postgres.detach();
        self.redis.detach();
        self.folder.keep();
        Ok(())
    }
}
