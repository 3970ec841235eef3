//! The pipeline as a whole: everything that breaks at once, servers that are away, and processes beside each other.

use super::it;
use crate::faults::{Scenario, Service};

const CHAOS: &str = "tests/tests/chaos.rs";
const CONVERGES: &str = "tests/tests/converges.rs";
const CONVERGES_TEST: &str = "every_row_equals_its_document_after_kills_under_load";
const WORLDS: &str = "tests/tests/worlds/mod.rs";
const WORLDS_TEST: &str = "each_broken_world_says_what_is_wrong_and_ends_with_its_code";

pub(super) const ALL: &[Scenario] = &[
    it(
        "every server and both services killed, every link cut, several times, in random order, with four collections",
        Service::Watcher,
        "the topics hold every event",
        CHAOS,
        "nothing_is_lost_whatever_breaks",
    ),
    it(
        "the same, and Syncers that join, leave and are killed until 100 assignments have written",
        Service::Syncer,
        "every row of two typed tables and two mirrors equals its document",
        CHAOS,
        "nothing_is_lost_whatever_breaks",
    ),
    it(
        "the primary of three steps down, is killed, falls silent",
        Service::Watcher,
        "goes on with the next primary, without a restart",
        CHAOS,
        "a_failover_of_the_replica_set_loses_nothing",
    ),
    it(
        "both services killed five times under load",
        Service::Watcher,
        "at no kill does the saved token cover an event that a topic lacks",
        CONVERGES,
        CONVERGES_TEST,
    ),
    it(
        "a backlog of two typed tables and two mirrors of one shape each, with equal `_id`s, read by two Syncers",
        Service::Syncer,
        "every row equals its document, and no table has rows of another's collection",
        CONVERGES,
        CONVERGES_TEST,
    ),
    it(
        "Kafka frozen under full load, documents of 1 KiB to 4 MiB",
        Service::Watcher,
        "memory stays below 128 MiB, with documents of 4 MiB below 256 MiB",
        "tests/tests/memory.rs",
        "a_stalled_server_does_not_fill_the_memory",
    ),
    it(
        "PostgreSQL frozen under full load, documents of 1 KiB to 4 MiB",
        Service::Syncer,
        "memory stays below 128 MiB, with documents of 4 MiB below 256 MiB",
        "tests/tests/memory.rs",
        "a_stalled_server_does_not_fill_the_memory",
    ),
    it(
        "a second Watcher for the same pipeline",
        Service::Watcher,
        "one works, the other waits until the first is gone",
        "tests/tests/two_watchers.rs",
        "one_works_and_the_other_waits_until_the_first_is_gone",
    ),
    it(
        "a server falls silent while nothing happens",
        Service::Watcher,
        "`/health` names it within ten seconds",
        "tests/tests/health.rs",
        "a_silent_server_is_named_within_ten_seconds_also_while_idle",
    ),
    it(
        "a broker announces itself under a name that does not resolve",
        Service::Watcher,
        "`/health` gives that name within ten seconds, and the last line gives it behind exit 69; the Syncer likewise",
        "tests/tests/health.rs",
        "a_broker_that_announces_a_name_which_does_not_resolve_is_told_of_by_that_name",
    ),
    it(
        "Kafka is frozen, and each service is asked to end, once and twice, in each of four states (`make soak`: of all five)",
        Service::Watcher,
        "ends within `shutdown.timeout` and 3 s at the first signal, within a second at the second, with the code that its \
         last line says; the Syncer likewise",
        "tests/tests/frozen.rs",
        "whatever_the_state_it_ends_in_time_at_the_first_and_at_the_second_signal",
    ),
    it(
        "a topic or a collection of the configuration does not exist, and a server stands still under load",
        Service::Watcher,
        "`/health` names it, with what may have been meant; the lag is seen to grow, and is 0 afterwards",
        "tests/tests/operator.rs",
        "what_is_missing_not_copied_or_behind_is_said",
    ),
    it(
        "PostgreSQL is away for 25 s, in each state",
        Service::Syncer,
        "no Syncer ends, and nothing is given up",
        "tests/tests/away.rs",
        "an_outage_of_25_seconds_ends_no_syncer_in_any_state",
    ),
    it(
        "a second process of one `instance` is started beside the first, under load",
        Service::Watcher,
        "it waits, `/health` names the first one's process and the key to set; it goes on at once when the first is killed",
        "tests/tests/namesakes.rs",
        "a_second_process_of_one_name_disturbs_nobody_and_a_dead_one_is_replaced_at_once",
    ),
    it(
        "a second process of one `instance` is started beside the first, under load",
        Service::Syncer,
        "it ends with 75 and names the first one's process; the first stays in the group, and killed it takes its name again at once",
        "tests/tests/namesakes.rs",
        "a_second_process_of_one_name_disturbs_nobody_and_a_dead_one_is_replaced_at_once",
    ),
    it(
        "a server refuses the connection or its name does not resolve",
        Service::Watcher,
        "exits 69 with what was away and why; the Syncer likewise",
        WORLDS,
        WORLDS_TEST,
    ),
    it(
        "a server answers and is not what the configuration names: no replica set or another one, no such database",
        Service::Watcher,
        "tried on the connection schedule, then exits 78 with what was found and what was expected; the Syncer likewise",
        WORLDS,
        WORLDS_TEST,
    ),
    it(
        "a login or a privilege is missing at MongoDB, Redis or PostgreSQL",
        Service::Watcher,
        "exits 77 with what is missing and how it is given; the Syncer likewise",
        WORLDS,
        WORLDS_TEST,
    ),
];
