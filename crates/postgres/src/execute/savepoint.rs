//! A savepoint that moves along: behind what was written, back before what failed.

use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;

/// Where the savepoint stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Kept,
    Spoilt,
}

impl Mark {
    pub(crate) async fn begin(session: &Session) -> Result<Self, Trouble> {
        execute(session, "SAVEPOINT cdc_piece").await?;
        Ok(Self::Kept)
    }

    pub(crate) async fn end(self, session: &Session) -> Result<(), Trouble> {
        let sql = match self {
            Self::Kept => "RELEASE SAVEPOINT cdc_piece",
            Self::Spoilt => "ROLLBACK TO SAVEPOINT cdc_piece; RELEASE SAVEPOINT cdc_piece",
        };
        execute(session, sql).await
    }

    /// What goes before the next statement.
    pub(crate) const fn next(self) -> &'static str {
        match self {
            Self::Kept => "RELEASE SAVEPOINT cdc_piece; SAVEPOINT cdc_piece",
            Self::Spoilt => "ROLLBACK TO SAVEPOINT cdc_piece",
        }
    }
}

/// Runs statements without an answer.
pub(crate) async fn execute(session: &Session, sql: &str) -> Result<(), Trouble> {
    session.client.batch_execute(sql).await.map_err(|error| Trouble::of(WRITE, error))
}
