//! Rows that cannot be written, or not yet.

use super::it;
use crate::faults::{Scenario, Service};

const BAD: &str = "tests/tests/bad_records.rs";
const BAD_TEST: &str = "bad_records_are_found_and_hold_nobody_up_and_too_many_hold_their_topic";

pub(super) const ALL: &[Scenario] = &[
    it(
        "more rows wait for a unique value than `parked.max_rows`",
        Service::Syncer,
        "its topic is held (or exits 65 by policy), and with a larger bound every row is written in the end",
        "tests/tests/parking_lot.rs",
        "a_full_parking_lot_holds_its_topic_and_loses_nothing",
    ),
    it(
        "triggers, checks, indexes and deferred constraints refuse one row, with codes of every kind",
        Service::Syncer,
        "the row is found by halving, and its neighbours are written",
        "crates/postgres/tests/live/row_errors.rs",
        "a_row_s_error_is_the_row_s_in_a_typed_table",
    ),
    it(
        "a partitioned table loses a partition",
        Service::Syncer,
        "rows that have nowhere to go are bad records; the others land",
        "crates/postgres/tests/live/limits.rs",
        "a_partitioned_table_is_written_like_another",
    ),
    it(
        "records that cannot be written",
        Service::Syncer,
        "each is named with column and reason; its neighbours are written",
        "crates/postgres/tests/live/bad_records.rs",
        "each_bad_record_is_named_with_its_column_and_reason",
    ),
    it(
        "_ids that an id column could take for equal",
        Service::Syncer,
        "each is a row of its own, or a bad record; a delete takes no other",
        "crates/postgres/tests/live/ids.rs",
        "two_documents_are_two_rows_in_every_type_of_key",
    ),
    it(
        "an id column, or its unique index, takes different texts for equal",
        Service::Syncer,
        "the table is refused with the reason",
        "crates/postgres/tests/live/ids.rs",
        "keys_that_blur_are_refused_with_the_reason",
    ),
    it(
        "several tables of one shape, with equal ids, pass through COPY in one batch, one of them behind a rollback",
        Service::Syncer,
        "each table has its own rows and no others",
        "crates/postgres/tests/live/stages.rs",
        "tables_of_one_shape_do_not_mix_in_one_transaction",
    ),
    it(
        "10,000 hand-made messages at random, of every collection, kind, version and name, in four topics",
        Service::Syncer,
        "no table but the topic's is touched, each bad one is a dead letter with its reason, and the Syncer stays up",
        "tests/tests/binding.rs",
        "hand_made_messages_touch_no_table_but_their_topic_s",
    ),
    it(
        "children before their parents, deletes before the children's, bookings that swap; the Syncer killed",
        Service::Syncer,
        "they wait; every row equals its document, nothing is parked or dead-lettered",
        "tests/tests/foreign_keys.rs",
        "rows_that_wait_for_each_other_end_up_as_the_collections_have_them",
    ),
    it(
        "a parked row fails for a reason of its own",
        Service::Syncer,
        "its dead letter first, then its entry; the others go on",
        "crates/postgres/tests/live/foreign_keys.rs",
        "a_parked_row_that_fails_for_another_reason_holds_nobody_up",
    ),
    it(
        "a message names another collection than its topic carries",
        Service::Syncer,
        "a bad record, `wrong_namespace`; no other table is touched, created or altered",
        "crates/postgres/tests/live/binding.rs",
        "a_message_of_another_collection_is_bad_and_touches_nothing",
    ),
    it(
        "1,000 bad records of every class among 100,000 good ones",
        Service::Syncer,
        "the good ones land, each bad one is in the dead letters with place and reason",
        BAD,
        BAD_TEST,
    ),
    it(
        "dead letters sent back: before and after their table is mended, overtaken by a newer row or a delete, without a \
         body, after partitions were added",
        Service::Syncer,
        "the rows land, none goes back to an older version, one that falls again keeps its first time, and what cannot \
         go back is named",
        "tests/tests/dead_letters.rs",
        "dead_letters_are_listed_shown_sent_back_and_given_up",
    ),
    it(
        "more than half of a topic's records are bad",
        Service::Syncer,
        "the topic is held (or exits 65 by policy) before it is emptied into the dead letters",
        BAD,
        BAD_TEST,
    ),
    it(
        "10,000 swaps, cycles and hand-overs of a unique name, three Syncers, SIGKILLs",
        Service::Syncer,
        "every row equals its document, nothing is parked or dead-lettered",
        "tests/tests/unique.rs",
        "swapped_and_handed_over_names_end_up_where_the_collection_has_them",
    ),
];
