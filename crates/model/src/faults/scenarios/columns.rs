//! Columns that others own, or that appear under a running Syncer.

use super::it;
use crate::faults::{Scenario, Service};

pub(super) const ALL: &[Scenario] = &[
    it(
        "a column is added or retyped, and used at once",
        Service::Syncer,
        "the record that meets it first finds it",
        "crates/postgres/tests/live/held.rs",
        "a_column_is_used_as_soon_as_it_is_there",
    ),
    it(
        "tables of 900 and of 1,600 columns, each with a default, fed in part and as a whole",
        Service::Syncer,
        "written, row by row and by COPY",
        "crates/postgres/tests/live/limits.rs",
        "each_column_of_the_widest_tables_may_have_a_default",
    ),
    it(
        "a person adds generated, annotated and numbered columns to a mirror",
        Service::Syncer,
        "it stays a mirror, and they are left alone",
        "crates/postgres/tests/live/foreign_columns.rs",
        "a_mirror_stays_one_whatever_is_added_to_it",
    ),
    it(
        "a table has a key, random ids and first-seen dates of its own",
        Service::Syncer,
        "they stay through updates and replays, and no sequence is spent",
        "crates/postgres/tests/live/foreign_columns.rs",
        "keys_and_first_dates_of_the_table_s_own_stay",
    ),
    it(
        "people fill columns beside the documents",
        Service::Syncer,
        "what they wrote survives until a document feeds the column",
        "crates/postgres/tests/live/foreign_columns.rs",
        "what_people_fill_survives_until_a_document_feeds_it",
    ),
    it(
        "a field meets an identity or a generated column",
        Service::Syncer,
        "written where the column lets it, else refused by name",
        "crates/postgres/tests/live/foreign_columns.rs",
        "an_identity_is_written_or_refused_by_name",
    ),
    it(
        "a partition changes hands after its former owner fed a new column",
        Service::Syncer,
        "the next owner knows it",
        "crates/postgres/tests/live/foreign_columns.rs",
        "what_a_former_owner_fed_is_known_after_a_hand_over",
    ),
    it(
        "what people add to tables and write into them, through both services and restarts",
        Service::Syncer,
        "stays; the documents arrive beside it",
        "tests/tests/columns.rs",
        "what_others_add_to_a_table_and_write_into_it_stays",
    ),
];
