//! Rows on their way into a temporary table.

use bytes::Bytes;
use cdc_machine::Fault;
use futures_util::SinkExt as _;

use crate::prepare::stages::PreparedStage;
use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::table::Table;
use crate::values::buffer::{ColumnBuffer, copy_pieces};

/// COPY data are made and handed to the driver in pieces of about this many bytes.
const COPY_PIECE_BYTES: usize = 256 * 1024;

/// Puts these rows into the temporary table, and sees that there are no others.
pub(crate) async fn copy(
    stage: &PreparedStage,
    session: &Session,
    table: &Table,
    columns: &[ColumnBuffer],
) -> Result<(), Trouble> {
    // One round trip.
    let (emptied, sink) = futures_util::future::join(
        session.client.execute(&stage.empty, &[]),
        session.client.copy_in::<_, Bytes>(&stage.copy),
    )
    .await;
    let filled = async {
        emptied?;
        let sink = sink?;
        futures_util::pin_mut!(sink);
        for piece in copy_pieces(columns, COPY_PIECE_BYTES) {
            sink.send(piece).await?;
        }
        sink.finish().await
    };
    let copied = filled.await.map_err(|error| Trouble::of_rows(WRITE, Some(table), error))?;
    let rows = columns.first().map_or(0, ColumnBuffer::len);
    if copied != rows as u64 {
        return Err(Trouble::new(
            Fault::Bug,
            WRITE,
            format!("COPY took {copied} of {rows} rows, which is a bug"),
        ));
    }
    Ok(())
}
