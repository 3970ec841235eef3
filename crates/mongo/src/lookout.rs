use std::sync::Arc;
use std::time::Duration;

use cdc_executor::ports::{Failure, Sighting};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::catalog::{self, Catalog};
use crate::connection::Connection;
use crate::settings::FullDocument;

/// How often the watched names are looked at while the stream is read: views come without an event, and so do
/// collections that record no post-images.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same where an update has shown that something changed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Looks at the watched names now and then, beside the stream.
#[derive(Default)]
pub(crate) struct Lookout {
    last: Option<Instant>,
    /// The look under way. It ends by the connection's own bounds.
    under_way: Option<JoinHandle<Result<Catalog, Failure>>>,
}

impl Lookout {
    /// Somebody else has looked.
    pub(crate) fn looked(&mut self) {
        self.last = Some(Instant::now());
        self.under_way = None;
    }

    /// What the look that has ended meanwhile shows. Begins another one when it is time, and sooner where the
    /// stream has shown that something changed.
    pub(crate) async fn next(
        &mut self,
        (connection, names, full_document): (&Connection, &Arc<[Arc<str>]>, FullDocument),
        is_urgent: bool,
    ) -> Option<Vec<Sighting>> {
        let mut seen = None;
        if let Some(look) = self.under_way.take_if(|look| look.is_finished()) {
            match look.await {
                Ok(Ok(catalog)) => seen = Some(catalog.sightings),
                Ok(Err(failure)) => tracing::warn!(
                    operation = failure.operation,
                    error = %failure.chain(),
                    "the watched names could not be looked at; the stream goes on"
                ),
                Err(error) => tracing::error!(%error, "a look at the watched names panicked, which is a bug"),
            }
        }
        let every = if is_urgent { LOOK_AGAIN } else { LOOK_EVERY };
        if self.under_way.is_none() && self.last.is_none_or(|last| last.elapsed() >= every) {
            self.last = Some(Instant::now());
            let (connection, names) = (connection.clone(), Arc::clone(names));
            self.under_way =
                Some(tokio::spawn(async move { catalog::look(&connection, &names, full_document).await }));
        }
        seen
    }
}
