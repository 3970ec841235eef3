use cdc_executor::ports::{StoreIdentity, Watched};

use crate::record::Record;

/// Says why a record must not be used by `ours`; `None` where it may.
///
/// The source has to be the same. Collections may come and go, and their topics with them, but a collection
/// that both watch must not have moved to another topic: its consumers would miss what lies between.
pub(crate) fn refuse(record: &Record, ours: &StoreIdentity, place: &str) -> Option<String> {
    if record.source != ours.source {
        return Some(format!(
            "the position in {place} belongs to the source {}, but this configuration reads {}; give this \
             pipeline a token store of its own (token_storage), or run `cdc token reset --to now --new-source` \
             if the source was really replaced",
            record.source, ours.source
        ));
    }
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
            assert_eq!(refuse(&theirs, &ours, "here").is_some(), refused, "{theirs:?}");
        }
    }

    #[test]
    fn a_record_of_the_first_version_names_topics_without_their_collections() {
        let mut old = record_of("rs0/db", &[("a", "t.a")]);
        old.collections[0].topic = None;
        old.topics = vec!["t.a".to_owned()];
        assert_eq!(refuse(&old, &identity("rs0/db", &[("a", "t.a")]), "here"), None);
        let text = refuse(&old, &identity("rs0/db", &[("a", "u.a")]), "here").unwrap_or_default();
        assert!(text.contains("t.a") && text.contains("u.a"), "{text}");
    }

    #[test]
    fn the_refusal_names_both_and_the_way_out() {
        let ours = identity("rs1/db", &[("players", "cdc.game_db.players")]);
        let text = refuse(&record(), &ours, "Redis at h:1").unwrap_or_default();
        for part in ["rs0/game_db", "rs1/db", "Redis at h:1", "token_storage", "--new-source"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
