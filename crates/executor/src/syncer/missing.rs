//! What the configuration names and nobody has: topics that do not exist, and partitions that nobody gives us.

use std::time::Duration;

use tokio::time::Instant;

use super::SERVICE;
use super::lag::LOOK_EVERY;
use cdc_ports::MissingTopic;

/// How often it is asked whether the topics are still there, once they were.
const TOPICS_EVERY: Duration = Duration::from_secs(60);

/// How long a member of the group may have no partition before somebody should look.
const UNASSIGNED_MAX: Duration = Duration::from_secs(30);

/// Topics that a reason names.
const NAMED_MAX: usize = 5;

/// What to ask the brokers now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether the topics are there, too.
    pub(super) topics: bool,
}

/// What is missing, as it was seen last.
#[derive(Debug, Default)]
pub(super) struct Missing {
    begun: Option<Instant>,
    is_looking: bool,
    asked_topics: Option<Instant>,
    topics: Vec<MissingTopic>,
    is_unassigned: bool,
    words: Option<String>,
}

impl Missing {
    /// One look at a time; `None` where none is due.
    pub(super) fn begin_look(&mut self) -> Option<Look> {
        if self.is_looking || self.begun.is_some_and(|begun| begun.elapsed() < LOOK_EVERY) {
            return None;
        }
        (self.begun, self.is_looking) = (Some(Instant::now()), true);
        let topics = !self.topics.is_empty()
            || self.is_unassigned
            || self.asked_topics.is_none_or(|asked| asked.elapsed() >= TOPICS_EVERY);
        if topics {
            self.asked_topics = self.begun;
        }
        Some(Look { topics })
    }

    /// A look has ended; `topics` are those that are missing, where it was asked and answered.
    pub(super) fn looked(&mut self, topics: Option<Vec<MissingTopic>>) {
        self.is_looking = false;
        let Some(topics) = topics else { return };
        if topics != self.topics {
            for missing in topics.iter().filter(|missing| !self.topics.contains(missing)) {
                tracing::warn!(
                    service = SERVICE,
                    operation = "kafka_topics",
                    topic = missing.topic,
                    similar = missing.similar.as_deref().unwrap_or("none"),
                    "the topic does not exist; see whether kafka.topic has the right name. The Watcher makes it at \
                     its start"
                );
            }
            self.topics = topics;
            self.speak();
        }
    }

    /// For so long no partition has been ours; `None` while that says nothing.
    pub(super) fn nothing_assigned(&mut self, since: Option<Duration>) {
        let is_unassigned = since.is_some_and(|since| since >= UNASSIGNED_MAX);
        if is_unassigned != self.is_unassigned {
            self.is_unassigned = is_unassigned;
            self.speak();
        }
    }

    fn speak(&mut self) {
        let mut words: Vec<String> = self
            .topics
            .iter()
            .take(NAMED_MAX)
            .map(|MissingTopic { topic, similar }| match similar {
                Some(similar) => format!("topic {topic} does not exist (did you mean {similar}?)"),
                None => format!("topic {topic} does not exist; the Watcher makes it at its start"),
            })
            .collect();
        if self.topics.len() > NAMED_MAX {
            words.push(format!("{} more topics do not exist", self.topics.len() - NAMED_MAX));
        }
        if self.is_unassigned {
            words.push(format!(
                "no partition has been assigned for {} s: the other members of the consumer group have them all, or \
                 kafka.topic names none that there is",
                UNASSIGNED_MAX.as_secs()
            ));
        }
        self.words = (!words.is_empty()).then(|| words.join("; "));
    }

    /// What a person has to know.
    pub(super) fn in_words(&self) -> Option<&str> {
        self.words.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(topic: &str, similar: Option<&str>) -> MissingTopic {
        MissingTopic { topic: topic.to_owned(), similar: similar.map(ToOwned::to_owned) }
    }

    #[test]
    fn a_topic_is_missing_until_it_is_there() {
        let mut told = Missing::default();
        assert!(told.begin_look().is_some_and(|look| look.topics));
        assert!(told.begin_look().is_none(), "one at a time");
        let both = vec![missing("cdc.shop.nope", None), missing("cdc.shop.oders", Some("cdc.shop.orders"))];
        told.looked(Some(both));
        assert_eq!(
            told.in_words(),
            Some(
                "topic cdc.shop.nope does not exist; the Watcher makes it at its start; topic cdc.shop.oders does \
                 not exist (did you mean cdc.shop.orders?)"
            )
        );
        told.looked(None);
        assert!(told.in_words().is_some(), "a look in vain says nothing");
        told.looked(Some(Vec::new()));
        assert_eq!(told.in_words(), None);
    }

    #[test]
    fn a_member_without_partitions_is_told_after_half_a_minute() {
        let mut told = Missing::default();
        told.nothing_assigned(Some(Duration::from_secs(29)));
        assert_eq!(told.in_words(), None);
        told.nothing_assigned(Some(UNASSIGNED_MAX));
        assert!(told.in_words().is_some_and(|words| words.starts_with("no partition has been assigned")));
        told.nothing_assigned(Some(Duration::ZERO));
        assert_eq!(told.in_words(), None);
    }
}
