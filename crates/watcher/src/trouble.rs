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

impl Trouble {
    /// True where messages that are in flight are read again, whatever their reports say.
    pub(crate) const fn is_of_delivery(self) -> bool {
        matches!(self, Self::Delivery | Self::Refused | Self::Producer)
    }
}
