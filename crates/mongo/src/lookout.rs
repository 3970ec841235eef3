use std::sync::Arc;
use std::time::Duration;

use cdc_ports::{Failure, Serves, Sighting, StackTrace};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::catalog::{self, Catalog};
use crate::connection::Connection;
use crate::settings::UpdateImage;

/// How often the watched names are looked at while the stream is read: views come without an event, and so do
/// collections that record no post-images.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same where an update has shown that something changed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

const OPLOG: &str = "mongodb_oplog";

/// What one look shows.
struct Look {
    catalog: Catalog,
    oplog: Oplog,
}

/// How far back the history reaches.
enum Oplog {
    Reaches(Duration),
    /// This login may not see it, or this server has none.
    Closed,
    /// Not asked, or not answered.
    Unknown,
}

/// What has been seen since the last reply.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) sightings: Option<Vec<Sighting>>,
    pub(crate) history: Option<Duration>,
}

/// Looks at the watched names now and then, beside the stream.
#[derive(Default)]
pub(crate) struct Lookout {
    last: Option<Instant>,
    /// The look under way. It ends by the connection's own bounds.
    under_way: Option<JoinHandle<Result<Look, Failure>>>,
    /// This login may not see the oplog. It is not asked again: a refusal is an entry in the server's audit.
    is_oplog_closed: bool,
    /// A similar name for each name that was absent when the stream was opened. Only then are all collections looked
    /// through.
    similar: Vec<Option<Arc<str>>>,
}

impl Lookout {
    /// The opening has just looked, at all collections.
    pub(crate) fn looked(&mut self, sightings: &[Sighting]) {
        self.similar = sightings.iter().map(|sighting| sighting.similar.clone()).collect();
        self.last = Some(Instant::now());
        self.under_way = None;
    }

    /// What the look that has ended meanwhile shows. Begins another one when it is time, and sooner where the
    /// stream has shown that something changed.
    pub(crate) async fn next(
        &mut self,
        (connection, names, full_document): (&Connection, &Arc<[Arc<str>]>, UpdateImage),
        is_urgent: bool,
    ) -> Seen {
        let mut seen = Seen::default();
        if let Some(look) = self.under_way.take_if(|look| look.is_finished()) {
            match look.await {
                Ok(Ok(Look { mut catalog, oplog })) => {
                    recall(&mut catalog.sightings, &self.similar);
                    seen = Seen { sightings: Some(catalog.sightings), history: self.history(&oplog) };
                }
                Ok(Err(failure)) => tracing::warn!(
                    operation = failure.operation,
                    error = %failure.chain(),
                    "the watched names could not be looked at; the stream goes on"
                ),
                Err(error) => tracing::error!(
                    operation = "watched_names",
                    error_type = "bug",
                    %error,
                    stack_trace = %StackTrace::capture(),
                    "a look at the watched names panicked, which is a bug"
                ),
            }
        }
        let every = if is_urgent { LOOK_AGAIN } else { LOOK_EVERY };
        if self.under_way.is_none() && self.last.is_none_or(|last| last.elapsed() >= every) {
            self.last = Some(Instant::now());
            let (connection, names) = (connection.clone(), Arc::clone(names));
            let asks_oplog = !self.is_oplog_closed;
            self.under_way =
                Some(tokio::spawn(async move { look(&connection, &names, full_document, asks_oplog).await }));
        }
        seen
    }

    /// Says once that nobody will see the position come near the oplog's beginning.
    fn history(&mut self, oplog: &Oplog) -> Option<Duration> {
        match oplog {
            Oplog::Reaches(window) => Some(*window),
            Oplog::Unknown => None,
            Oplog::Closed => {
                self.is_oplog_closed = true;
                tracing::info!(
                    operation = OPLOG,
                    "this login may not see how far back the oplog reaches, so cdc_oplog_window_seconds is absent and its \
                     alert silent; grant find on local.oplog.rs, and start again"
                );
                None
            }
        }
    }
}

async fn look(
    connection: &Connection,
    names: &[Arc<str>],
    full_document: UpdateImage,
    asks_oplog: bool,
) -> Result<Look, Failure> {
    let catalog = catalog::look(connection, names, full_document).await?;
    let oplog = if asks_oplog { oplog(connection, catalog.at.time).await } else { Oplog::Unknown };
    Ok(Look { catalog, oplog })
}

/// Whatever keeps the server from saying it is no reason to hide the watched names.
async fn oplog(connection: &Connection, now: u32) -> Oplog {
    match connection.oplog_begin().await {
        Ok(Some(begin)) => Oplog::Reaches(Duration::from_secs(u64::from(now.saturating_sub(begin.time)))),
        Ok(None) => Oplog::Closed,
        Err(failure) => {
            tracing::debug!(operation = OPLOG, error = %failure.chain(), "the oplog's beginning is not known");
            Oplog::Unknown
        }
    }
}

/// Puts back what was found like the names that are still absent.
fn recall(sightings: &mut [Sighting], similar: &[Option<Arc<str>>]) {
    for (sighting, similar) in sightings.iter_mut().zip(similar) {
        if sighting.serves == Serves::Absent {
            sighting.similar.clone_from(similar);
        }
    }
}

#[cfg(test)]
mod tests {
    use cdc_watcher::Contents;

    use super::*;

    #[test]
    fn a_name_keeps_what_was_found_like_it_for_as_long_as_it_is_absent() {
        let sighting = |name: &str, serves| Sighting {
            name: Arc::from(name),
            contents: Contents::Absent,
            serves,
            similar: None,
        };
        let mut sightings = [sighting("ordersss", Serves::Absent), sighting("itemss", Serves::Changes)];
        recall(&mut sightings, &[Some(Arc::from("orders")), Some(Arc::from("items"))]);
        assert_eq!(sightings.map(|sighting| sighting.similar), [Some(Arc::from("orders")), None]);
    }
}
