//! Real servers without a container engine: MongoDB replica sets, Kafka, PostgreSQL and Redis on free ports, and the
//! service under test beside them, for the demo, the live tests and the benchmarks.
//!
//! `scripts/setup.sh servers` puts the binaries in place. [`Stack::start`] brings all four up under one folder of their
//! own; each server can also be started alone, killed, paused and restarted in the middle of a test.
//!
//! What is started here never outlives its purpose. Dropping a server kills its processes (and only those, by process
//! id) and removes its folder. The kernel kills them when this process ends in any other way, SIGKILL included; a
//! folder left by such an end is swept by the next start. [`Lifetime::Detached`] is the one exception.
//!
//! ```no_run
//! # async fn demo() -> Result<(), cdc_devstack::Error> {
//! let mut stack = cdc_devstack::Stack::start(cdc_devstack::Options::default()).await?;
//! println!("{} {} {}", stack.mongod.uri(), stack.kafka.bootstrap_servers(), stack.postgres.url());
//! stack.kafka.kill().await;
//! stack.kafka.restart().await?;
//! # Ok(())
//! # }
//! ```

mod binaries;
pub mod compare;
mod error;
mod folder;
mod http;
pub mod links;
mod members;
pub mod pipeline;
mod ports;
mod process;
mod prometheus;
pub mod proxy;
mod role;
mod server;
mod servers;
mod service;
pub mod source;
mod stack;
pub mod workload;

pub use binaries::promtool;
pub use error::Error;
pub use folder::RunFolder;
pub use http::{Response, get};
pub use process::Lifetime;
pub use prometheus::{Sample, Samples};
pub use server::Server;
pub use servers::kafka::{Door, Kafka, KafkaOptions};
pub use servers::mongod::{Mongod, MongodOptions, ReplicaSet};
pub use servers::postgres::{Postgres, PostgresOptions};
pub use servers::redis::{Redis, RedisOptions};
pub use service::{Service, ServiceCommand};
pub use stack::{Options, Stack};
