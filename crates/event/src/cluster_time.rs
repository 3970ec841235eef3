/// A place in the cluster's logical clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterTime {
    /// Unix seconds.
    pub t: u32,
    /// Ordinal inside the second, from 1.
    pub i: u32,
}
