//! How much may be encoded at once.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of the records that all workers together have encoded and not yet written. While PostgreSQL stands still
/// each worker would hold its batch twice, as records and as columns, and some of it a third time on its way out.
const BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Credit for encoded batches. A batch that is larger than all of it goes alone.
#[derive(Debug)]
pub(crate) struct EncodingCredit(Semaphore);

impl Default for EncodingCredit {
    fn default() -> Self {
        Self(Semaphore::new(BYTES_MAX as usize))
    }
}

impl EncodingCredit {
    /// Waits until so many bytes of records may be encoded; the credit is given back on drop. Whoever holds a
    /// connection must not wait here: those who have credit wait for connections.
    pub(crate) async fn take(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let permits = u32::try_from(bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        // It fails only where the semaphore is closed, which this one never is.
        self.0.acquire_many(permits).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_does_not_fit_waits_and_what_is_too_large_goes_alone() {
        let credit = EncodingCredit::default();
        let half = credit.take(u64::from(BYTES_MAX / 2)).now_or_never();
        assert!(half.is_some());
        assert!(credit.take(u64::from(BYTES_MAX)).now_or_never().is_none());
        drop(half);
        assert!(credit.take(u64::MAX).now_or_never().is_some());
    }
}
