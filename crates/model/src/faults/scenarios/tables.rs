//! Tables that cannot be written as a whole.

use super::it;
use crate::faults::{Scenario, Service};

const HELD: &str = "crates/postgres/tests/live/held.rs";
const LIMITS: &str = "crates/postgres/tests/live/limits.rs";
const PRIVILEGES: &str = "crates/postgres/tests/live/privileges.rs";

pub(super) const ALL: &[Scenario] = &[
    it(
        "another session locks the table for a minute",
        Service::Syncer,
        "waits through its statement's time-outs, and writes every row after it",
        "tests/tests/postgres_faults.rs",
        "a_lock_held_for_a_minute_is_waited_for",
    ),
    it(
        "a table is dropped, or swapped for another, under a running Syncer",
        Service::Syncer,
        "its topic is held with the SQL that has it read again; no mirror takes its place",
        HELD,
        "another_table_of_the_name_holds_the_topic_until_the_claim_is_renewed",
    ),
    it(
        "the table of an idle topic is dropped",
        Service::Syncer,
        "its topic is held within seconds",
        HELD,
        "an_idle_topic_s_table_is_looked_at_too",
    ),
    it(
        "an unlogged table is emptied by a crash",
        Service::Syncer,
        "its topic is held with the SQL that has it read again",
        HELD,
        "an_unlogged_table_that_a_crash_has_emptied_holds_the_topic",
    ),
    it(
        "tables of one Syncer are locked, dropped, swapped, and emptied as PostgreSQL is killed",
        Service::Syncer,
        "their topics are held, the neighbours go on, and what is printed brings every row back",
        "tests/tests/held.rs",
        "what_cannot_be_written_holds_its_own_topic_and_nothing_else",
    ),
    it(
        "another session's lock keeps `cdc_position` from being added",
        Service::Syncer,
        "nothing is written unfenced; the topic is held until the lock is gone",
        HELD,
        "a_table_is_not_written_before_its_fence_is_there",
    ),
    it(
        "a table has no id, is a view, is claimed by somebody else, is missing or has a name of more than 63 bytes",
        Service::Syncer,
        "its topic is held, and the others go on",
        "crates/postgres/tests/live/schema.rs",
        "tables_that_cannot_be_written_are_refused_by_name",
    ),
    it(
        "a privilege on a table, its schema or its sequence is missing or revoked",
        Service::Syncer,
        "its topic is held with the GRANT to run, and goes on behind it",
        PRIVILEGES,
        "a_role_without_privileges_holds_the_topic_with_the_grant",
    ),
    it(
        "a trigger may not write to another table",
        Service::Syncer,
        "its topic is held, and the others go on",
        PRIVILEGES,
        "a_privilege_that_a_trigger_misses_holds_the_topic_alone",
    ),
    it(
        "row-level security is enabled under a running Syncer",
        Service::Syncer,
        "its topic is held; no row is hidden from a delete unnoticed",
        PRIVILEGES,
        "a_policy_that_binds_the_role_holds_the_topic",
    ),
    it(
        "the role may make no temporary tables, from the start or from now on",
        Service::Syncer,
        "large batches go by arrays; said once",
        LIMITS,
        "without_temporary_tables_large_batches_land_all_the_same",
    ),
    it(
        "a name of 69 bytes and a table of another tenant, each beside a healthy topic",
        Service::Syncer,
        "their topics are held, and the neighbour of the same batch goes on",
        LIMITS,
        "what_one_topic_is_held_for_is_no_other_s_trouble",
    ),
    it(
        "among twelve topics six cannot be written, each for a reason of its own",
        Service::Syncer,
        "the other six go on; each of the six is named; mended, they catch up by themselves",
        "tests/tests/neighbours.rs",
        "six_topics_in_trouble_hold_up_none_of_the_other_six",
    ),
];
