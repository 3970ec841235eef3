use std::future::Future;

use cdc_executor::ports::Failure;

/// What a register holds, and its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The content; `None` where nothing was ever written.
    pub content: Option<String>,
    /// The register's own clock, Unix milliseconds. Leases are judged by it alone, so that two instances
    /// on machines with different clocks agree.
    pub now_ms: i64,
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

/// One cell of text with a clock, written by compare-and-set. It knows nothing of leases.
pub trait Register: Send + 'static {
    /// Reads the cell.
    ///
    /// # Errors
    /// Classified; never an empty reading in place of one that failed.
    fn read(&mut self) -> impl Future<Output = Result<Reading, Failure>> + Send;

    /// Writes `content` if the cell's present content begins with `expected`, or if the cell is empty where
    /// `expected` is `None`.
    ///
    /// # Errors
    /// Classified. After a time-out nobody knows whether the write took place; the next compare-and-set
    /// tells.
    fn swap(
        &mut self,
        expected: Option<&str>,
        content: &str,
    ) -> impl Future<Output = Result<Swap, Failure>> + Send;

    /// Where the cell is, without credentials: for messages to people.
    fn place(&self) -> &str;
}
