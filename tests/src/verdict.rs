//! What the source's history, the topic and the saved token have to say to each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Change;
use crate::topic::{ChangeName, TopicMessage};

/// How often each change stands somewhere.
type Counts<'a> = BTreeMap<&'a ChangeName, usize>;

fn count<'a>(names: impl Iterator<Item = &'a ChangeName>) -> Counts<'a> {
    let mut counts = Counts::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// Changes up to `token` that the topic does not hold: there must be none, at any moment, even right after
/// a kill.
#[must_use]
pub fn covered_but_absent(history: &[Change], token: &str, topic: &[TopicMessage]) -> Vec<ChangeName> {
    let published: Vec<ChangeName> = topic.iter().map(TopicMessage::change).collect();
    let published = count(published.iter());
    let covered =
        count(history.iter().filter(|change| change.token.as_str() <= token).map(|change| &change.name));
    covered
        .into_iter()
        .filter(|(name, times)| published.get(name).copied().unwrap_or_default() < *times)
        .map(|(name, _)| name.clone())
        .collect()
}

/// Changes of the whole history that the topic does not hold.
#[must_use]
pub fn absent(history: &[Change], topic: &[TopicMessage]) -> Vec<ChangeName> {
    covered_but_absent(history, "~", topic)
}

/// Messages beyond the first of each change: what restarts replayed.
#[must_use]
pub fn replayed(history: &[Change], topic: &[TopicMessage]) -> usize {
    let published: Vec<ChangeName> = topic.iter().map(TopicMessage::change).collect();
    let published = count(published.iter());
    let happened = count(history.iter().map(|change| &change.name));
    published
        .into_iter()
        .map(|(name, times)| times.saturating_sub(happened.get(name).copied().unwrap_or_default()))
        .sum()
}

/// Keys whose positions go back by other than a rewind. A message that the broker refused is sent again behind its
/// successors, with all of them: so a position that comes for the first time below one of its key must be followed
/// by that higher one again, or consumers would end with the older document.
#[must_use]
pub fn reordered(topic: &[TopicMessage]) -> Vec<String> {
    // Documents of several collections have one key.
    let mut by_key: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for message in topic {
        let position = message.value["position"].as_str().unwrap_or_default();
        by_key.entry((message.topic.as_str(), message.key.as_str())).or_default().push(position);
    }
    let goes_back = |positions: &[&str]| {
        let mut highest = "";
        let mut last = BTreeMap::new();
        for (place, position) in positions.iter().enumerate() {
            last.insert(*position, place);
        }
        let mut seen = BTreeSet::new();
        positions.iter().enumerate().any(|(place, position)| {
            let is_new = seen.insert(*position);
            let is_below = is_new && *position < highest;
            let is_repeated = last.get(highest).is_some_and(|last| *last > place);
            highest = highest.max(position);
            is_below && !is_repeated
        })
    };
    let wrong = by_key.iter().filter(|(_, positions)| goes_back(positions));
    wrong.map(|((topic, key), _)| format!("{topic} {key}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(token: &str, second: u64) -> Change {
        Change { token: token.to_owned(), name: message(second, "").change() }
    }

    fn message(second: u64, position: &str) -> TopicMessage {
        TopicMessage {
            topic: "t".to_owned(),
            partition: 0,
            offset: 0,
            key: "a".to_owned(),
            value: json!({
                "operation_type": "update",
                "namespace": {"database": "d", "collection": "c"},
                "document_key": {"_id": "a"},
                "cluster_time": {"t": second, "i": 1},
                "position": position,
            }),
            timestamp_ms: 0,
            position_header: None,
        }
    }

    #[test]
    fn a_token_ahead_of_the_topic_is_found() {
        let history = [change("8201", 1), change("8202", 2)];
        let topic = [message(1, "01")];
        assert!(covered_but_absent(&history, "8201", &topic).is_empty());
        assert_eq!(covered_but_absent(&history, "8202", &topic), [history[1].name.clone()]);
        assert_eq!(absent(&history, &topic).len(), 1);
    }

    #[test]
    fn the_same_change_twice_in_a_transaction_must_stand_twice_in_the_topic() {
        let history = [change("8201", 1), change("8202", 1)];
        assert_eq!(absent(&history, &[message(1, "01")]).len(), 1);
        assert_eq!(replayed(&history, &[message(1, "01"), message(1, "02"), message(1, "01")]), 1);
    }

    #[test]
    fn the_same_change_of_a_namesake_does_not_stand_for_it() {
        let mut namesake = message(1, "01");
        namesake.value["namespace"]["collection"] = json!("other");
        assert_eq!(absent(&[change("8201", 1)], &[namesake]).len(), 1);
    }

    #[test]
    fn a_position_that_goes_back_is_found_unless_it_is_a_replay() {
        assert!(
            reordered(&[message(1, "01"), message(2, "02"), message(1, "01"), message(2, "02")]).is_empty()
        );
        assert_eq!(reordered(&[message(2, "02"), message(1, "01")]), ["t a"]);
        assert!(reordered(&[message(2, "02"), message(1, "01"), message(2, "02")]).is_empty(), "a rewind");
    }
}
