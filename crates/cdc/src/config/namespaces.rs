//! Which collection each topic carries: `kafka.namespaces` of the Syncer, and what a Watcher's Syncer needs there.

use std::collections::BTreeMap;

use cdc_machine::Key;
use cdc_postgres::Namespace;

use super::common::is_topic;
use super::described::Preset;
use super::section::Section;

/// Topics with what they carry.
pub type Namespaces = BTreeMap<String, Namespace>;

/// `kafka.namespaces`.
const NAMESPACES: Key = Key {
    path: "namespaces",
    text: "The collection of each topic whose name does not tell it, as `cdc.<database>.<collection>` does: \
           `{topic: database.collection}`. Outside a file `topic=database.collection,…`.",
};

/// The collection of each of these topics: by `namespaces`, or by the topic's name. `filled` are the topics that a
/// Watcher of the same file fills.
pub(super) fn read(kafka: &mut Section<'_>, topics: &[String], filled: &Namespaces) -> Namespaces {
    let mut written = Namespaces::new();
    for (topic, text) in kafka.free_pairs(NAMESPACES, Preset::Said("by the topic's name")) {
        let Ok(namespace) = text.parse::<Namespace>() else {
            let text = format!("{text:?} of topic {topic} is not legal; legal: <database>.<collection>");
            kafka.contradiction(&["namespaces"], &text);
            continue;
        };
        if !topics.contains(&topic) {
            let text = format!("topic {topic} is none that kafka.topic names; take it out, or name it there");
            kafka.contradiction(&["namespaces"], &text);
        } else if written.insert(topic.clone(), namespace).is_some() {
            kafka.contradiction(&["namespaces"], &format!("topic {topic} stands here twice"));
        }
    }
    let mut bound = Namespaces::new();
    // Text that is no topic is told of by itself.
    for topic in topics.iter().filter(|topic| is_topic(topic)) {
        let namespace = written.remove(topic).or_else(|| Namespace::of_topic(topic));
        match (namespace, filled.get(topic)) {
            (Some(ours), Some(theirs)) if ours != *theirs => {
                let text = format!(
                    "topic {topic} is read as {ours}, and the Watcher of this file fills it from {theirs}; {}",
                    line([(topic.as_str(), theirs.to_string())])
                );
                kafka.contradiction(&["namespaces", "topic"], &text);
            }
            (Some(ours), _) => {
                bound.insert(topic.clone(), ours);
            }
            (None, theirs) => {
                let collection =
                    theirs.map_or_else(|| "<database>.<collection>".to_owned(), ToString::to_string);
                let text = format!(
                    "the name of topic {topic} does not tell its collection, as cdc.<database>.<collection> does; {}",
                    line([(topic.as_str(), collection)])
                );
                kafka.contradiction(&["topic"], &text);
            }
        }
    }
    check_topics(kafka, &bound);
    bound
}

/// Two topics of one collection have no order between them.
fn check_topics(kafka: &Section<'_>, bound: &Namespaces) {
    let mut topics: BTreeMap<&Namespace, &str> = BTreeMap::new();
    for (topic, namespace) in bound {
        if let Some(other) = topics.insert(namespace, topic) {
            let text = format!(
                "topics {other} and {topic} both carry {namespace}; a collection has one topic: take one out"
            );
            kafka.contradiction(&["namespaces", "topic"], &text);
        }
    }
}

/// What the Syncer's file has to say of these topics, as it is written there.
fn line<'t>(topics: impl IntoIterator<Item = (&'t str, String)>) -> String {
    let entries: Vec<String> = topics
        .into_iter()
        .map(|(topic, namespace)| format!("{}: {}", quoted(topic), quoted(&namespace)))
        .collect();
    format!("write under kafka: namespaces: {{{}}}", entries.join(", "))
}

/// A text between double quotes, as YAML reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What the Syncer of these topics must be told, where their names do not tell it.
pub(super) fn needed(filled: &Namespaces) -> Option<String> {
    let silent: Vec<(&str, String)> = filled
        .iter()
        .filter(|(topic, namespace)| Namespace::of_topic(topic).as_ref() != Some(namespace))
        .map(|(topic, namespace)| (topic.as_str(), namespace.to_string()))
        .collect();
    if silent.is_empty() {
        return None;
    }
    Some(format!("the Syncer cannot tell a collection from its topic's name; for it, {}", line(silent)))
}
