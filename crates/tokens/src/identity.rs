use cdc_executor::ports::StoreIdentity;

/// Says why a record of `theirs` must not be used by `ours`; `None` where it may.
///
/// The source has to be the same. Collections may come and go, and their topics with them, but a collection
/// that both watch must not have moved to another topic: its consumers would miss what lies between. The
/// record does not say which topic is which collection's, so they are counted: a topic belongs to one
/// collection, hence at least as many topics as collections are shared.
pub(crate) fn refuse(theirs: &StoreIdentity, ours: &StoreIdentity, place: &str) -> Option<String> {
    if theirs.source != ours.source {
        return Some(format!(
            "the position in {place} belongs to the source {}, but this configuration reads {}; give this \
             pipeline a token store of its own (token_storage), or run `cdc token reset --new-source` if the \
             source was really replaced",
            theirs.source, ours.source
        ));
    }
    let shared_collections = shared(&theirs.collections, &ours.collections);
    let same_collections =
        shared_collections == theirs.collections.len() && shared_collections == ours.collections.len();
    let shared_topics = shared(&theirs.topics, &ours.topics);
    let same_topics = shared_topics == theirs.topics.len() && shared_topics == ours.topics.len();
    if shared_topics < shared_collections || (same_collections && !same_topics) {
        return Some(format!(
            "the position in {place} belongs to the topics [{}], but this configuration publishes to [{}]; \
             set kafka.topic back, give this pipeline a token store of its own (token_storage), or run \
             `cdc token reset` to begin anew",
            theirs.topics.join(", "),
            ours.topics.join(", ")
        ));
    }
    None
}

fn shared(one: &[String], other: &[String]) -> usize {
    one.iter().filter(|name| other.contains(name)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(source: &str, collections: &[&str], topics: &[&str]) -> StoreIdentity {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        StoreIdentity { source: source.to_owned(), collections: owned(collections), topics: owned(topics) }
    }

    #[test]
    fn another_source_or_a_moved_topic_is_refused_and_a_changed_list_is_not() {
        let ours = identity("rs0/db", &["a", "b"], &["t.a", "t.b"]);
        let cases = [
            (identity("rs0/db", &["a", "b"], &["t.a", "t.b"]), false),
            (identity("rs0/db", &["a"], &["t.a"]), false),
            (identity("rs0/db", &["a", "b", "c"], &["t.a", "t.b", "t.c"]), false),
            (identity("rs0/db", &["c"], &["t.c"]), false),
            (identity("rs1/db", &["a", "b"], &["t.a", "t.b"]), true),
            (identity("rs0/other", &["a", "b"], &["t.a", "t.b"]), true),
            (identity("rs0/db", &["a", "b"], &["u.a", "u.b"]), true),
            (identity("rs0/db", &["a", "b"], &["t.a", "u.b"]), true),
            (identity("rs0/db", &["a"], &["u.a"]), true),
        ];
        for (theirs, refused) in cases {
            assert_eq!(refuse(&theirs, &ours, "here").is_some(), refused, "{theirs:?}");
        }
    }

    #[test]
    fn the_refusal_names_both_and_the_way_out() {
        let theirs = identity("rs1/db", &["a"], &["t.a"]);
        let ours = identity("rs0/db", &["a"], &["t.a"]);
        let text = refuse(&theirs, &ours, "Redis at h:1").unwrap_or_default();
        for part in ["rs1/db", "rs0/db", "Redis at h:1", "token_storage", "cdc token reset --new-source"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
