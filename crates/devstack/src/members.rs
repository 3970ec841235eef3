//! The servers of one replica set or cluster, handled together.

use crate::{Error, server::Server};

/// At least one server.
#[derive(Debug)]
pub(crate) struct Members(Vec<Server>);

impl Members {
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        Self(servers)
    }

    pub(crate) fn all(&self) -> &[Server] {
        &self.0
    }

    pub(crate) fn one(&mut self, index: usize) -> Result<&mut Server, Error> {
        let count = self.0.len();
        let missing = || {
            Error::new(
                "devstack",
                format!("there is no member {index}: members are counted from 0, and there are {count}"),
            )
        };
        self.0.get_mut(index).ok_or_else(missing)
    }

    pub(crate) fn spawn(&mut self) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(Server::spawn)
    }

    /// Repeats `probe` until it succeeds; a member that ends meanwhile is the error.
    pub(crate) async fn ready(
        &mut self,
        mut probe: impl AsyncFnMut() -> Result<(), String>,
    ) -> Result<(), Error> {
        for server in &mut self.0 {
            server.ready(&mut probe).await?;
        }
        Ok(())
    }

    /// All at once: the last one of a quorum would wait for the others.
    pub(crate) async fn stop(&mut self) -> Result<(), Error> {
        let mut first_error = Ok(());
        for stopped in futures_util::future::join_all(self.0.iter_mut().map(Server::stop)).await {
            first_error = first_error.and(stopped);
        }
        first_error
    }

    pub(crate) async fn kill(&mut self) {
        futures_util::future::join_all(self.0.iter_mut().map(Server::kill)).await;
    }

    pub(crate) fn pause(&mut self) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(Server::pause)
    }

    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(Server::resume)
    }

    pub(crate) fn detach(&mut self) {
        self.0.iter_mut().for_each(Server::detach);
    }

    pub(crate) fn port_was_taken(&self) -> bool {
        self.0.iter().any(Server::port_was_taken)
    }
}
