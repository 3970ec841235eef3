//! What the log lost before it was read, counted for the gauge.

use crate::server::session::Session;

const COUNT_OPEN: &str =
    "SELECT count(*) FROM cdc.gaps WHERE consumer_group = $1 AND acknowledged_at IS NULL";

/// Gaps that nobody has acknowledged.
pub(crate) async fn count_open_gaps(
    session: &Session,
    consumer_group: &str,
) -> Result<u64, tokio_postgres::Error> {
    let row = session.client.query_one(COUNT_OPEN, &[&consumer_group]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
