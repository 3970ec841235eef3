use cdc_machine::{Cause, EffectId, Epoch, StateName};

/// What the Watcher waits for, with what belongs to that wait alone. What outlives a change of state is in
/// [`Facts`](crate::facts::Facts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Connecting(Connecting),
    /// A pull is outstanding: the machine has room for its answer.
    Streaming {
        epoch: Epoch,
        /// The most events that the answer may hold.
        asked: u32,
    },
    AwaitingAck(Awaiting),
    /// The stream is open, and not read: everything read is acked, and room comes with the next save.
    SavingToken {
        epoch: Epoch,
    },
    /// An orderly end: nothing is read any more.
    Draining {
        /// Why the service stops when all is settled, saved and released.
        ending: Cause,
    },
    Stopped(Cause),
}

/// The way to an open stream, step by step; `…Due` waits for the end of a back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Connecting {
    /// Before `Start`.
    NotStarted,
    /// The lease is asked for, or will be when a timer ends.
    Lease,
    ProducerDue,
    Producer {
        id: EffectId,
    },
    StreamDue,
    Stream {
        epoch: Epoch,
    },
    /// The stream is open; nothing is read before its start, and what was given up before it, is recorded.
    RecordingStart {
        epoch: Epoch,
    },
}

/// Why nothing is read until Kafka answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Awaiting {
    /// The stream is open, and there is no room.
    Room { epoch: Epoch },
    /// The stream is closed; everything in flight settles before a rewind.
    Rewind(Trouble),
}

/// What a rewind is for, the weightier the greater: a later one replaces a lesser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// None: the stream is to be read in another way.
    Reopen,
    /// None: messages may share batches again.
    Rebatch,
    Source,
    /// The source answers, but is not what the configuration names.
    Misfit,
    Delivery,
    /// A batch was refused as too large, whatever its messages are.
    Refused,
    Producer,
}

impl State {
    pub(crate) const fn name(&self) -> StateName {
        match self {
            Self::Connecting(_) => StateName::Connecting,
            Self::Streaming { .. } => StateName::Streaming,
            Self::AwaitingAck(_) => StateName::AwaitingAck,
            Self::SavingToken { .. } => StateName::SavingToken,
            Self::Draining { .. } => StateName::Draining,
            Self::Stopped(_) => StateName::Stopped,
        }
    }

    /// The stream that is open, or being opened.
    pub(crate) const fn epoch(&self) -> Option<Epoch> {
        match *self {
            Self::Connecting(Connecting::Stream { epoch } | Connecting::RecordingStart { epoch })
            | Self::Streaming { epoch, .. }
            | Self::AwaitingAck(Awaiting::Room { epoch })
            | Self::SavingToken { epoch } => Some(epoch),
            Self::Connecting(
                Connecting::NotStarted
                | Connecting::Lease
                | Connecting::ProducerDue
                | Connecting::Producer { .. }
                | Connecting::StreamDue,
            )
            | Self::AwaitingAck(Awaiting::Rewind(_))
            | Self::Draining { .. }
            | Self::Stopped(_) => None,
        }
    }
}
