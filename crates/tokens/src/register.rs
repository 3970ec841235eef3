use std::future::Future;

use cdc_ports::Failure;

/// What a register holds, and its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The content, whatever it is; `None` where nothing was ever written.
    pub content: Option<Vec<u8>>,
    /// The register's own clock, Unix milliseconds. Leases are judged by it alone, so that two instances
    /// on machines with different clocks agree.
    pub now_ms: i64,
}

/// What has to stand in the cell for a write to take place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// A record with this stamp: the content begins with it.
    Stamp(String),
    /// Exactly this: what is no record has no stamp.
    Exactly(Vec<u8>),
}

impl Expected {
    /// What was read stands there still. It may be no record, and have no stamp.
    pub(crate) fn exactly(reading: &Reading) -> Self {
        reading.content.clone().map_or(Self::Absent, Self::Exactly)
    }

    /// True where `content` is what is expected.
    #[must_use]
    pub fn is_met_by(&self, content: Option<&[u8]>) -> bool {
        match (self, content) {
            (Self::Absent, None) => true,
            (Self::Stamp(stamp), Some(content)) => content.starts_with(stamp.as_bytes()),
            (Self::Exactly(expected), Some(content)) => content == expected,
            (Self::Absent, Some(_)) | (Self::Stamp(_) | Self::Exactly(_), None) => false,
        }
    }
}

/// What became of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Written, durably as far as the register can tell.
    Done {
        /// The register's clock, Unix milliseconds.
        now_ms: i64,
    },
    /// Not written: the register holds something else.
    Refused(Reading),
}

/// One cell of bytes with a clock, written by compare-and-set. It knows nothing of leases.
pub trait Register: Send + 'static {
    /// Reads the cell.
    ///
    /// # Errors
    /// Classified; never an empty reading in place of one that failed.
    fn read(&mut self) -> impl Future<Output = Result<Reading, Failure>> + Send;

    /// Writes `content` if the cell holds what is expected.
    ///
    /// # Errors
    /// Classified. After a time-out nobody knows whether the write took place; the next compare-and-set
    /// tells.
    fn swap(
        &mut self,
        expected: &Expected,
        content: &str,
    ) -> impl Future<Output = Result<Swap, Failure>> + Send;

    /// Where the cell is, without credentials: for messages to people.
    fn place(&self) -> &str;

    /// The key of the configuration that says where the cell is.
    fn setting(&self) -> &'static str;

    /// How a person brings back a record that is damaged, as the rest of a sentence.
    fn way_back(&self) -> String;
}
