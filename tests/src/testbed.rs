//! All four servers, and the test's own connections to those that it asks.

use cdc_devstack::pipeline::Endpoints;
use cdc_devstack::{Options, Stack};
use mongodb::Client;

use crate::Failure;

/// What most tests begin with. It is taken apart by name, the stack first: locals are dropped in reverse order, and
/// whatever speaks to the servers has to go before them.
pub struct Testbed {
    /// The servers.
    pub stack: Stack,
    /// Where they are.
    pub endpoints: Endpoints,
    /// The test's own client of the source.
    pub mongo: Client,
    /// The test's own connection to the target.
    pub postgres: tokio_postgres::Client,
}

impl Testbed {
    /// Starts the servers as they come.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn start() -> Result<Self, Failure> {
        Self::with(Options::default()).await
    }

    /// Starts the servers as the test wants them.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn with(options: Options) -> Result<Self, Failure> {
        let stack = Box::pin(Stack::start(options)).await?;
        let endpoints = Endpoints::of(&stack);
        let mongo = Client::with_uri_str(&endpoints.mongodb_uri).await?;
        let postgres = endpoints.postgres().await?;
        Ok(Self { stack, endpoints, mongo, postgres })
    }
}
