use cdc_machine::{Cause, EffectId, StateName};

/// What the Syncer waits for. Positions, rows and requests are facts, which outlive a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Connecting(Connecting),
    Streaming,
    AwaitingAck,
    SavingToken,
    Draining(Draining),
    Stopped(Cause),
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Connecting {
    NotStarted,
    Database {
        id: EffectId,
    },
    /// The database is tried again after a back-off.
    DatabaseDue,
    Group {
        id: EffectId,
    },
    /// The group is joined again after a back-off.
    GroupDue,
}

/// A drain under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Draining {
    pub(crate) group: Group,
    /// Why the service will have stopped.
    pub(crate) ending: Cause,
}

/// Where a drain stands with the consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// There is no consumer, or it died.
    Outside,
    Member,
    Leaving {
        id: EffectId,
    },
}

impl State {
    pub(crate) const fn name(self) -> StateName {
        match self {
            Self::Connecting(_) => StateName::Connecting,
            Self::Streaming => StateName::Streaming,
            Self::AwaitingAck => StateName::AwaitingAck,
            Self::SavingToken => StateName::SavingToken,
            Self::Draining(_) => StateName::Draining,
            Self::Stopped(_) => StateName::Stopped,
        }
    }

    /// True where a consumer belongs to us or is about to: its assignments count.
    pub(crate) const fn has_consumer(self) -> bool {
        matches!(
            self,
            Self::Connecting(Connecting::Group { .. })
                | Self::Streaming
                | Self::AwaitingAck
                | Self::SavingToken
        )
    }
}
