//! The longest that a call may take.

use std::future::Future;
use std::time::Duration;

use cdc_machine::Fault;

use crate::server::trouble::Trouble;

/// No call takes longer. The server's own time-outs are shorter; this one is for a server that has stopped
/// answering at all. The connection in use is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(45);

/// Gives up on a call that takes too long.
pub(crate) async fn bounded<T, E: From<Trouble>>(
    operation: &'static str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result,
        Err(_elapsed) => Err(E::from(Trouble::new(
            Fault::Unreachable,
            operation,
            format!("PostgreSQL did not answer within {CALL_TIMEOUT:?}; the connection is given up"),
        ))),
    }
}
