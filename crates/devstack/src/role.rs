/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `cdc watch`
    Watcher,
    /// `cdc sync`
    Syncer,
}

impl Role {
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Watcher => "watch",
            Self::Syncer => "sync",
        }
    }

    /// The name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Watcher => "watcher",
            Self::Syncer => "syncer",
        }
    }
}
