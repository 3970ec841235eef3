//! The saved position: its record, its store, and the history that it points into.

use super::it;
use crate::faults::{Scenario, Service};

const GAPS: &str = "tests/tests/gaps/mod.rs";
const GAPS_TEST: &str = "what_cannot_be_delivered_is_on_record";
const REDIS: &str = "crates/tokens/tests/live/redis_faults.rs";
const TOKENS: &str = "crates/tokens/tests/live/suite.rs";

pub(super) const ALL: &[Scenario] = &[
    it(
        "`cdc token reset` under a running and a stopped Watcher",
        Service::Watcher,
        "refused with exit 75; carried out, with a gap on record",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "the saved position has left the oplog",
        Service::Watcher,
        "recognised as lost history",
        "crates/mongo/tests/live/failures.rs",
        "a_position_that_has_left_the_oplog_is_lost_history",
    ),
    it(
        "Redis has failed over to a replica that was behind",
        Service::Watcher,
        "the position comes back from memory",
        REDIS,
        "failed_over_to_a_replica_that_was_behind",
    ),
    it(
        "Redis drops the connections while idle",
        Service::Watcher,
        "the next save goes through",
        REDIS,
        "every_connection_dropped_while_idle",
    ),
    it(
        "the token store is flushed under its holder",
        Service::Watcher,
        "the record is written again from memory",
        TOKENS,
        "a_flushed_store_is_written_again_from_memory",
    ),
    it(
        "the token record is damaged",
        Service::Watcher,
        "never taken for an empty store",
        TOKENS,
        "a_damaged_record_is_never_an_empty_one",
    ),
    it(
        "the oplog has rolled over the saved position",
        Service::Watcher,
        "exits 65, or goes on from now with a gap on record and told to every partition",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "the token record is missing beside a topic with messages, or damaged in six ways",
        Service::Watcher,
        "exits 65, or goes on from now with a gap on record",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "the token store is flushed under a running Watcher, or falls back to an older value",
        Service::Watcher,
        "nothing is missing; what is repeated is absorbed",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "a person acknowledges gaps, the Watcher's and the Syncer's",
        Service::Watcher,
        "they stay on record, and `cdc_gaps_open` goes down; refused with exit 75 while the lease is held",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "the token record is lost, reset or set back, and the clock is behind the topic's lineage",
        Service::Watcher,
        "goes on above what the topic's end shows, and rows move",
        "tests/tests/source/mod.rs",
        "what_the_source_cannot_give_or_has_lost_is_told",
    ),
];
