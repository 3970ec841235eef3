use std::collections::BTreeSet;

use cdc_ports::{StoreIdentity, Watched};

use crate::record::Record;

/// Collections that a message names before it counts the rest.
const NAMED_MAX: usize = 5;

/// Where a record is: for messages to people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// In words.
    pub(crate) words: &'a str,
    /// The key of the configuration that says so.
    pub(crate) setting: &'a str,
}

/// Says why a record must not be used by `ours`; `None` where it may.
///
/// The source has to be the same. Collections may come and go, and their topics with them, but a collection
/// that both watch must not have moved to another topic: its consumers would miss what lies between.
pub(crate) fn refuse(record: &Record, ours: &StoreIdentity, place: Place<'_>) -> Option<String> {
    if record.source != ours.source {
        return Some(format!(
            "{}, or run `cdc token reset --to now --new-source` if the source was really replaced",
            another_s(record, ours, place)
        ));
    }
    let Place { words: place, .. } = place;
    let moved = ours.collections.iter().find(|watched| has_moved(record, watched))?;
    let before = record
        .collections
        .iter()
        .find(|collection| collection.name == moved.name)
        .and_then(|collection| collection.topic.clone())
        .unwrap_or_else(|| record.topics.join(", "));
    Some(format!(
        "the position in {place} belongs to the topic {before} for the collection {}, but this configuration \
         publishes it to {}: consumers would miss what lies between. Set kafka.topic back, give this pipeline \
         a token store of its own (token_storage), or run `cdc token reset --to now --new-source` to begin \
         anew there",
        moved.name, moved.topic
    ))
}

/// Says why a record is another pipeline's, although it has our source: none of the collections is the same. `None`
/// where some are, or where it does not say.
pub(crate) fn refuse_stranger(record: &Record, ours: &StoreIdentity, place: Place<'_>) -> Option<String> {
    let is_ours = |name: &str| ours.collections.iter().any(|watched| watched.name == name);
    let is_stranger =
        !record.collections.is_empty() && !record.collections.iter().any(|found| is_ours(&found.name));
    is_stranger.then(|| another_s(record, ours, place))
}

fn another_s(record: &Record, ours: &StoreIdentity, Place { words, setting }: Place<'_>) -> String {
    let theirs = named(&record.source, record.collections.iter().map(|found| found.name.as_str()));
    let watched = named(&ours.source, ours.collections.iter().map(|watched| watched.name.as_str()));
    format!(
        "{words} belongs to {theirs}; this process watches {watched}. Set {setting} to a place of its own"
    )
}

/// `rs0/shop.orders, rs0/shop.items`
fn named<'a>(source: &str, mut collections: impl Iterator<Item = &'a str>) -> String {
    let first: Vec<String> =
        collections.by_ref().take(NAMED_MAX).map(|name| format!("{source}.{name}")).collect();
    match (first.is_empty(), collections.count()) {
        (true, _) => source.to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{} and {more} more", first.join(", ")),
    }
}

/// True where a record was made for this pipeline, or for one that it came out of: it names one of our collections, and
/// either the source or the topic is the same. Whether it may be used is for [`refuse`] to say. An identity without a
/// source is that of a reader who has not asked the source: to it every source is the same, so that it finds what the
/// Watcher finds.
pub(crate) fn concerns(record: &Record, ours: &StoreIdentity) -> bool {
    let is_source = ours.source.is_empty() || record.source == ours.source;
    ours.collections.iter().any(|watched| {
        record.collections.iter().any(|found| found.name == watched.name)
            && (is_source || !has_moved(record, watched))
    })
}

/// True where a record names exactly our collections. A save writes its pipeline's list, so this one was last saved by
/// this pipeline, or by one that watched the same.
pub(crate) fn is_same_list(record: &Record, ours: &StoreIdentity) -> bool {
    let theirs: BTreeSet<&str> = record.collections.iter().map(|found| found.name.as_str()).collect();
    let ours: BTreeSet<&str> = ours.collections.iter().map(|watched| watched.name.as_str()).collect();
    theirs == ours
}

/// A record of the first version does not say whose topic is whose: there it is enough that the topic is one
/// of those named.
fn has_moved(record: &Record, watched: &Watched) -> bool {
    record.collections.iter().any(|collection| {
        collection.name == watched.name
            && match &collection.topic {
                Some(topic) => *topic != watched.topic,
                None => !record.topics.contains(&watched.topic),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, record_of};

    const HERE: Place<'static> = Place { words: "Redis at h:1", setting: "token_storage.redis.key" };

    fn identity(source: &str, collections: &[(&str, &str)]) -> StoreIdentity {
        let watched =
            |&(name, topic): &(&str, &str)| Watched { name: name.to_owned(), topic: topic.to_owned() };
        StoreIdentity { source: source.to_owned(), collections: collections.iter().map(watched).collect() }
    }

    #[test]
    fn another_source_or_a_moved_topic_is_refused_and_a_changed_list_is_not() {
        let ours = identity("rs0/db", &[("a", "t.a"), ("b", "t.b")]);
        type Case = (&'static str, &'static [(&'static str, &'static str)], bool);
        let cases: [Case; 9] = [
            ("rs0/db", &[("a", "t.a"), ("b", "t.b")], false),
            ("rs0/db", &[("a", "t.a")], false),
            ("rs0/db", &[("a", "t.a"), ("b", "t.b"), ("c", "t.c")], false),
            ("rs0/db", &[("c", "t.c")], false),
            ("rs1/db", &[("a", "t.a"), ("b", "t.b")], true),
            ("rs0/other", &[("a", "t.a"), ("b", "t.b")], true),
            ("rs0/db", &[("a", "u.a"), ("b", "u.b")], true),
            ("rs0/db", &[("a", "t.a"), ("b", "u.b")], true),
            ("rs0/db", &[("a", "t.b"), ("b", "t.a")], true),
        ];
        for (source, collections, refused) in cases {
            let theirs = record_of(source, collections);
            assert_eq!(refuse(&theirs, &ours, HERE).is_some(), refused, "{theirs:?}");
        }
    }

    #[test]
    fn a_record_of_the_first_version_names_topics_without_their_collections() {
        let mut old = record_of("rs0/db", &[("a", "t.a")]);
        old.collections[0].topic = None;
        old.topics = vec!["t.a".to_owned()];
        assert_eq!(refuse(&old, &identity("rs0/db", &[("a", "t.a")]), HERE), None);
        let text = refuse(&old, &identity("rs0/db", &[("a", "u.a")]), HERE).unwrap_or_default();
        assert!(text.contains("t.a") && text.contains("u.a"), "{text}");
    }

    #[test]
    fn the_refusal_names_both_and_the_way_out() {
        let ours = identity("rs1/db", &[("players", "cdc.game_db.players")]);
        let text = refuse(&record(), &ours, HERE).unwrap_or_default();
        for part in ["rs0/game_db", "rs1/db", "Redis at h:1", "token_storage", "--new-source"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_same_list_has_the_same_names_in_any_order() {
        let ours = identity("rs0/db", &[("a", "t.a"), ("b", "t.b")]);
        let is_same = |collections| is_same_list(&record_of("rs1/db", collections), &ours);
        assert!(is_same(&[("b", "u.b"), ("a", "t.a")]));
        assert!(!is_same(&[("a", "t.a")]));
        assert!(!is_same(&[("a", "t.a"), ("b", "t.b"), ("c", "t.c")]));
        assert!(!is_same(&[]));
    }

    #[test]
    fn a_stranger_is_told_from_what_grew() {
        let ours = identity("rs0/db", &[("a", "t.a"), ("b", "t.b")]);
        let unasked = StoreIdentity { source: String::new(), ..ours.clone() };
        type Case = (&'static str, &'static [(&'static str, &'static str)], bool, bool);
        // Whether the record concerns us, and whether it is a stranger's.
        let cases: [Case; 7] = [
            ("rs0/db", &[("b", "t.b"), ("c", "t.c")], true, false),
            ("rs0/db", &[("a", "u.a")], true, false),
            ("rs1/db", &[("a", "t.a")], true, false),
            ("rs1/db", &[("a", "u.a")], false, false),
            ("rs0/db", &[("c", "t.c")], false, true),
            ("rs1/db", &[("c", "t.a")], false, true),
            ("rs0/db", &[], false, false),
        ];
        for (source, collections, does_concern, is_stranger) in cases {
            let record = record_of(source, collections);
            assert_eq!(concerns(&record, &ours), does_concern, "{source}, {collections:?}");
            let names_ours = collections.iter().any(|(name, _)| matches!(*name, "a" | "b"));
            assert_eq!(concerns(&record, &unasked), names_ours, "{source}, {collections:?}");
            assert_eq!(refuse_stranger(&record, &ours, HERE).is_some(), is_stranger, "{collections:?}");
        }
        let many: Vec<(String, String)> = (0..9).map(|n| (format!("c{n}"), String::new())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, topic)| (&**name, &**topic)).collect();
        assert_eq!(
            refuse_stranger(&record_of("rs0/db", &many), &ours, HERE).unwrap_or_default(),
            "Redis at h:1 belongs to rs0/db.c0, rs0/db.c1, rs0/db.c2, rs0/db.c3, rs0/db.c4 and 4 more; this process \
             watches rs0/db.a, rs0/db.b. Set token_storage.redis.key to a place of its own"
        );
    }
}
