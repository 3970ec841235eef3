//! What an earlier or a later release left.

use super::it;
use crate::faults::{Scenario, Service};

const UPGRADE: &str = "tests/tests/upgrade.rs";
const UPGRADE_TEST: &str = "what_an_earlier_release_left_is_gone_on_with";

pub(super) const ALL: &[Scenario] = &[
    it(
        "a token record of an earlier release, with a backlog behind it",
        Service::Watcher,
        "goes on behind what was acknowledged; nothing is missing or told twice",
        UPGRADE,
        UPGRADE_TEST,
    ),
    it(
        "bookkeeping of an earlier release, with a ledger, tombstones, a gap and a parked row",
        Service::Syncer,
        "is upgraded, and the Syncer goes on where it stood",
        UPGRADE,
        UPGRADE_TEST,
    ),
    it(
        "a Syncer of an earlier release runs while a newer one upgrades the schema",
        Service::Syncer,
        "it goes on; its next start is refused by number",
        "crates/postgres/tests/live/upgrade.rs",
        "a_running_syncer_of_the_earlier_release_outlives_the_upgrade",
    ),
    it(
        "the schema, or the token record, is of a newer release",
        Service::Syncer,
        "both services end and name both versions; nothing is changed",
        UPGRADE,
        UPGRADE_TEST,
    ),
    it(
        "a second pipeline on the same Redis, without a key of its own",
        Service::Watcher,
        "the default key is its own; a record under an earlier default is gone on with in place, and the release before finds it",
        "crates/tokens/tests/live/places.rs",
        "an_upgrade_and_a_way_back_lose_no_position",
    ),
];
