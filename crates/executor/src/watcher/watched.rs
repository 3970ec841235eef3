//! What the source has under the watched names, as it was seen last: for the log, the metrics and the probes. It
//! decides nothing.

use std::sync::Arc;

use super::SERVICE;
use crate::health::WatchedName;
use crate::metrics::WatcherMetrics;
use cdc_ports::{Serves, Sighting};

/// Missing collections that a reason names.
const MISSING_NAMED_MAX: usize = 5;

/// The watched names, and what was said of them.
#[derive(Default)]
pub(super) struct Watched {
    seen: Vec<Sighting>,
    /// Of each name, whether there has ever been a collection under it, as far as anybody knows.
    has_existed: Vec<bool>,
    /// The source's database, for words.
    database: String,
    /// What is said of the names under which there never was a collection.
    missing: Option<String>,
    /// True once it was said that post-images are missing, until the stream has caught up.
    is_missing_said: bool,
}

impl Watched {
    pub(super) fn new(database: String) -> Self {
        Self { database, ..Self::default() }
    }

    /// Takes what was seen, says what has changed, and returns it for the status page. `recorded` says of each name
    /// whether the position on record knows a collection under it, or its topic holds messages of one.
    pub(super) fn see(
        &mut self,
        now: Vec<Sighting>,
        recorded: impl Iterator<Item = bool>,
        metrics: &WatcherMetrics,
    ) -> Vec<WatchedName> {
        let is_first = self.seen.is_empty();
        self.has_existed.resize(now.len(), false);
        for ((has_existed, sighting), recorded) in
            self.has_existed.iter_mut().zip(&now).zip(recorded.chain(std::iter::repeat(false)))
        {
            *has_existed |= recorded || sighting.serves != Serves::Absent;
        }
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
        self.missing = self.missing_in_words();
        let name = |sighting: &Sighting| WatchedName {
            name: sighting.name.to_string(),
            serves: sighting.serves.as_str(),
        };
        self.seen.iter().map(name).collect()
    }

    /// Says of each collection that holds documents from before the stream's begin that they are not copied. Returns them
    /// for the status page.
    pub(super) fn uncopied(&self, documents: Vec<(Arc<str>, Option<u64>)>, from: u32) -> Vec<(String, u64)> {
        let from = jiff::Timestamp::from_second(i64::from(from)).unwrap_or_default();
        let mut told = Vec::new();
        for (name, documents) in documents {
            let Some(documents) = documents else {
                tracing::warn!(
                    service = SERVICE,
                    operation = "existing_documents",
                    collection = &*name,
                    "the documents of {}.{name} could not be counted; only changes from {from} on are copied. See \
                     docs/existing-documents",
                    self.database
                );
                continue;
            };
            if documents > 0 {
                tracing::warn!(
                    service = SERVICE,
                    operation = "existing_documents",
                    collection = &*name,
                    documents,
                    "{}.{name} already holds {documents} documents; only changes from {from} on are copied. See \
                     docs/existing-documents",
                    self.database
                );
                told.push((name.to_string(), documents));
            }
        }
        told
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

    /// The names under which there never was a collection: they may be mistyped. One that was dropped is none of these.
    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    fn missing_in_words(&self) -> Option<String> {
        let database = &self.database;
        let missing = self.seen.iter().zip(&self.has_existed);
        let missing: Vec<&Sighting> = missing
            .filter(|(sighting, has_existed)| sighting.serves == Serves::Absent && !**has_existed)
            .map(|(sighting, _)| sighting)
            .collect();
        let mut names: Vec<String> = missing
            .iter()
            .take(MISSING_NAMED_MAX)
            .map(|Sighting { name, similar, .. }| match similar {
                Some(similar) => format!("{database}.{name} (did you mean {similar}?)"),
                None => format!("{database}.{name}"),
            })
            .collect();
        if missing.len() > MISSING_NAMED_MAX {
            names.push(format!("{} more, see /status", missing.len() - MISSING_NAMED_MAX));
        }
        (!names.is_empty()).then(|| {
            format!(
                "mongodb has no collection {}; see whether mongodb.collection has the right name. Its changes are \
                 copied from its first document on",
                names.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use cdc_watcher::Contents;

    use super::*;
    use crate::scripted::{World, log};

    #[test]
    fn a_name_that_cannot_be_watched_is_trouble_until_it_can() {
        let mut watched = Watched::default();
        let metrics = WatcherMetrics::new();
        for serves in Serves::ALL {
            for now in [serves, Serves::Changes] {
                let name = Arc::from("players");
                let sighting = Sighting { name, contents: Contents::Unknown, serves: now, similar: None };
                let shown = watched.see(vec![sighting], std::iter::empty(), &metrics);
                assert_eq!(shown[0].serves, now.as_str());
                let trouble = watched.trouble();
                let is_trouble = !matches!(now, Serves::Changes | Serves::Absent);
                assert_eq!(trouble.is_some(), is_trouble, "{trouble:?}");
                assert!(trouble.is_none_or(|trouble| trouble.contains("players")));
            }
        }
    }

    #[test]
    fn documents_that_are_not_copied_are_told_of_also_where_nobody_could_count_them() {
        let _world = World::with_events(0);
        let watched = Watched::new("shop".to_owned());
        let documents = [("orders", Some(7)), ("users", None), ("empty", Some(0))];
        let documents = documents.map(|(name, documents)| (Arc::from(name), documents)).to_vec();
        assert_eq!(watched.uncopied(documents, 1_705_318_200), [("orders".to_owned(), 7)]);
        let text = log::taken();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(" WARN ")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[1].contains("the documents of shop.users could not be counted"), "{text}");
        assert!(
            lines.iter().all(|line| line.contains("only changes from 2024-01-15T11:30:00Z on")),
            "{text}"
        );
    }

    #[test]
    fn a_name_under_which_there_never_was_a_collection_is_missing_and_a_dropped_one_is_not() {
        let metrics = WatcherMetrics::new();
        let sighting = |name: &str, serves, similar: Option<&str>| Sighting {
            name: Arc::from(name),
            contents: Contents::Unknown,
            serves,
            similar: similar.map(Arc::from),
        };
        let mut watched = Watched::new("shop".to_owned());
        let absent = || {
            vec![
                sighting("ordersss", Serves::Absent, Some("orders")),
                sighting("recorded", Serves::Absent, None),
                sighting("there", Serves::Absent, None),
            ]
        };
        let mut at_first = absent();
        at_first[2].serves = Serves::Changes;
        watched.see(at_first, [false, true, false].into_iter(), &metrics);
        watched.see(absent(), std::iter::empty(), &metrics);
        let words = watched.missing().unwrap();
        assert!(words.contains("no collection shop.ordersss (did you mean orders?);"), "{words}");
        let mut made = absent();
        made[0].serves = Serves::Changes;
        watched.see(made, std::iter::empty(), &metrics);
        assert_eq!(watched.missing(), None);
        watched.see(absent(), std::iter::empty(), &metrics);
        assert_eq!(watched.missing(), None, "it existed once");
    }
}
