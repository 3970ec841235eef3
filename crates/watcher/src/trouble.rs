/// What a rewind is for, the weightier the greater: a later one replaces a lesser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// None: the stream is to be read in another way.
    Reopen,
    /// None: messages may share batches again.
    Rebatch,
    Source,
    /// The position is of no use any more: the stream begins at the present.
    Jump,
    /// The source answers, but is not what the configuration names.
    Misfit,
    /// A batch was refused as too large, whatever its messages are.
    Refused,
    /// The client has lost messages, or they were not delivered in time. Nobody knows whether it still works and whether
    /// its topics are what they were: a new one looks at them anew.
    Producer,
}

impl Trouble {
    /// True where messages that are in flight are read again, whatever their reports say.
    pub(crate) const fn is_of_delivery(self) -> bool {
        matches!(self, Self::Refused | Self::Producer)
    }
}
