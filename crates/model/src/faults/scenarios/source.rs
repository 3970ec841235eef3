//! What MongoDB gives, and ceases to give.

use super::it;
use crate::faults::{Scenario, Service};

const GAPS: &str = "tests/tests/gaps/mod.rs";
const GAPS_TEST: &str = "what_cannot_be_delivered_is_on_record";
const SOURCE: &str = "tests/tests/source/mod.rs";
const SOURCE_TEST: &str = "what_the_source_cannot_give_or_has_lost_is_told";

pub(super) const ALL: &[Scenario] = &[
    it(
        "a watched collection is dropped, recreated, replaced by a rename or $out, or added, under a running and a stopped Watcher",
        Service::Watcher,
        "the stream goes on; what was replaced or not copied is a gap on record",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "the source or the topic is another one",
        Service::Watcher,
        "refused with the way out",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "a watched name is a view or a time-series collection, or records no post-images though they are asked for",
        Service::Watcher,
        "exits 78 before anything begins, with every name and what mends it",
        SOURCE,
        SOURCE_TEST,
    ),
    it(
        "a watched name has no collection yet, or a view takes it under a running Watcher",
        Service::Watcher,
        "`/health` is 503 until there is a collection, unless there was one before; the others go on",
        SOURCE,
        SOURCE_TEST,
    ),
    it(
        "a collection ceases to record post-images under a running Watcher",
        Service::Watcher,
        "updates are looked up, counted and warned of; `/health` is 503 until it records them again",
        SOURCE,
        SOURCE_TEST,
    ),
    it(
        "MongoDB is restored from an older copy of its files, the position an event's or a mark behind it",
        Service::Watcher,
        "exits 65, or goes on from now in a new lineage with a gap on record",
        SOURCE,
        SOURCE_TEST,
    ),
];
