//! What the source has under the watched names, as it was seen last: for the log, the metrics and the probes. It
//! decides nothing.

use super::SERVICE;
use crate::health::WatchedName;
use crate::metrics::WatcherMetrics;
use crate::ports::{Serves, Sighting};

/// The watched names, and what was said of them.
#[derive(Default)]
pub(super) struct Watched {
    seen: Vec<Sighting>,
    /// True once it was said that post-images are missing, until the stream has caught up.
    is_missing_said: bool,
}

impl Watched {
    /// Takes what was seen, says what has changed, and returns it for the status page.
    pub(super) fn see(&mut self, now: Vec<Sighting>, metrics: &WatcherMetrics) -> Vec<WatchedName> {
        let is_first = self.seen.is_empty();
        for serves in Serves::ALL {
            metrics.watched(serves, now.iter().filter(|sighting| sighting.serves == serves).count());
        }
        let absent: Vec<&str> = now
            .iter()
            .filter(|sighting| sighting.serves == Serves::Absent)
            .map(|sighting| &*sighting.name)
            .collect();
        if is_first && !absent.is_empty() {
            tracing::warn!(
                service = SERVICE,
                operation = "watched_names",
                collections = absent.join(", "),
                "there is no collection of this name yet; its changes are delivered once there is. See whether the \
                 name in mongodb.collection is right"
            );
        }
        for (index, sighting) in now.iter().enumerate() {
            let before = self.seen.get(index).map_or(Serves::Changes, |before| before.serves);
            match sighting.complaint() {
                Some(complaint) if before != sighting.serves => {
                    tracing::warn!(service = SERVICE, operation = "watched_names", "{complaint}");
                }
                None if self.seen.get(index).is_some_and(|before| before.complaint().is_some()) => {
                    tracing::info!(
                        service = SERVICE,
                        operation = "watched_names",
                        collection = &*sighting.name,
                        "the collection gives again what is asked of it"
                    );
                }
                Some(_) | None => {}
            }
        }
        self.seen = now;
        let name = |sighting: &Sighting| WatchedName {
            name: sighting.name.to_string(),
            serves: sighting.serves.as_str(),
        };
        self.seen.iter().map(name).collect()
    }

    /// Updates came without their post-images, and were looked up.
    pub(super) fn looked_up(&mut self, updates: u64) {
        if !self.is_missing_said {
            self.is_missing_said = true;
            tracing::warn!(
                service = SERVICE,
                operation = "post_image_lookup",
                updates,
                "updates came without post-images: the collection does not record them, or they have expired \
                 (expireAfterSeconds). Their documents are looked up as they are now, and counted"
            );
        }
    }

    /// The stream has caught up: the next time is another one.
    pub(super) fn caught_up(&mut self) {
        self.is_missing_said = false;
    }

    /// What keeps a watched name from being watched.
    pub(super) fn trouble(&self) -> Option<String> {
        let complaints: Vec<String> = self.seen.iter().filter_map(Sighting::complaint).collect();
        (!complaints.is_empty()).then(|| format!("mongodb: {}", complaints.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cdc_watcher::Contents;

    use super::*;

    #[test]
    fn a_name_that_cannot_be_watched_is_trouble_until_it_can() {
        let mut watched = Watched::default();
        let metrics = WatcherMetrics::new();
        for serves in Serves::ALL {
            for now in [serves, Serves::Changes] {
                let name = Arc::from("players");
                let sighting = Sighting { name, contents: Contents::Unknown, serves: now };
                let shown = watched.see(vec![sighting], &metrics);
                assert_eq!(shown[0].serves, now.as_str());
                let trouble = watched.trouble();
                let is_trouble = !matches!(now, Serves::Changes | Serves::Absent);
                assert_eq!(trouble.is_some(), is_trouble, "{trouble:?}");
                assert!(trouble.is_none_or(|trouble| trouble.contains("players")));
            }
        }
    }
}
