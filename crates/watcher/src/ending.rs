use cdc_machine::Cause;

/// The end, as a handler finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In an orderly way.
    Drain(Cause),
    /// The same, since a message will not be delivered: what comes after it cannot be saved, so what is only queued is
    /// taken back.
    Undeliverable(Cause),
    /// At once.
    Stop(Cause),
    /// At once, since nothing can be saved any more. What is only queued is taken back: another instance may already
    /// be sending the same.
    StoreLost(Cause),
}

/// How far the service has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    NotStarted,
    Running,
    /// Nothing is read any more; why the service stops when all is settled, saved and released.
    Draining(Cause),
    Stopped(Cause),
}

impl Life {
    /// Why it drains, while it does.
    pub(crate) const fn draining(self) -> Option<Cause> {
        if let Self::Draining(cause) = self { Some(cause) } else { None }
    }
}
