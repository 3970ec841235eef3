use super::{Scenario, Service, Test};

const fn it(
    fault: &'static str,
    service: Service,
    outcome: &'static str,
    file: &'static str,
    name: &'static str,
) -> Scenario {
    Scenario { fault, service, outcome, test: Test { file, name } }
}

const CHAOS: &str = "tests/tests/chaos.rs";
const GAPS: &str = "tests/tests/gaps/mod.rs";
const GAPS_TEST: &str = "what_cannot_be_delivered_is_on_record";
const LEDGER: &str = "tests/tests/ledger.rs";
const LEDGER_TEST: &str = "a_syncer_reads_on_from_where_the_ledger_the_group_and_the_log_say";
const BAD: &str = "tests/tests/bad_records.rs";
const BAD_TEST: &str = "bad_records_are_found_and_hold_nobody_up_and_too_many_stop_the_syncer";
const REDIS: &str = "crates/tokens/tests/live/redis_faults.rs";
const TOKENS: &str = "crates/tokens/tests/live/suite.rs";

/// Faults that tests of their own show.
pub const SCENARIOS: &[Scenario] = &[
    it(
        "every server and both services killed, every link cut, several times, in random order",
        Service::Watcher,
        "the topic holds every event",
        CHAOS,
        "nothing_is_lost_whatever_breaks",
    ),
    it(
        "the same, and Syncers that join, leave and are killed until 50 assignments have written",
        Service::Syncer,
        "every row equals its document",
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
        "at no kill does the saved token cover an event that the topic lacks",
        "tests/tests/converges.rs",
        "every_row_equals_its_document_after_kills_under_load",
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
        "a topic is deleted and made anew with fewer partitions under a running Syncer",
        Service::Syncer,
        "goes on behind the gaps, which are recorded, as `offset_reset` says",
        LEDGER,
        LEDGER_TEST,
    ),
    it(
        "more rows wait for a unique value than `parked.max_rows`",
        Service::Syncer,
        "exits 65, and with a larger bound every row is written in the end",
        "tests/tests/parking_lot.rs",
        "a_full_parking_lot_ends_the_syncer_and_loses_nothing",
    ),
    it(
        "`cdc token reset` under a running and a stopped Watcher",
        Service::Watcher,
        "refused with exit 75; carried out, with a gap on record",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "another session locks the table for a minute",
        Service::Syncer,
        "waits through its statement's time-outs, and writes every row after it",
        "tests/tests/postgres_faults.rs",
        "a_lock_held_for_a_minute_is_waited_for",
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
        "documents beyond Kafka's default limit",
        Service::Watcher,
        "arrive whole, up to 16 MiB",
        "tests/tests/large_documents.rs",
        "documents_of_up_to_16_mib_arrive_whole",
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
        "a former owner of a partition writes late",
        Service::Syncer,
        "refused by the ledger",
        "crates/postgres/tests/live/ledger.rs",
        "a_former_owner_writes_and_records_nothing",
    ),
    it(
        "PostgreSQL is restored from an older copy",
        Service::Syncer,
        "the ledger is no longer ours; partitions are acquired again",
        "crates/postgres/tests/live/ledger.rs",
        "a_ledger_that_stands_lower_than_it_was_left_is_no_longer_ours",
    ),
    it(
        "an offset that is not in the log",
        Service::Syncer,
        "recognised as lost history",
        "crates/kafka/tests/consumer.rs",
        "an_offset_that_is_not_in_the_log_is_history_lost",
    ),
    it(
        "records that cannot be written",
        Service::Syncer,
        "each is named with column and reason; its neighbours are written",
        "crates/postgres/tests/live/bad_records.rs",
        "each_bad_record_is_named_with_its_column_and_reason",
    ),
    it(
        "several tables of one shape, with equal ids, pass through COPY in one batch, one of them behind a rollback",
        Service::Syncer,
        "each table has its own rows and no others",
        "crates/postgres/tests/live/stages.rs",
        "tables_of_one_shape_do_not_mix_in_one_transaction",
    ),
    it(
        "a message names another collection than its topic carries",
        Service::Syncer,
        "a bad record, `wrong_namespace`; no other table is touched, created or altered",
        "crates/postgres/tests/live/binding.rs",
        "a_message_of_another_collection_is_bad_and_touches_nothing",
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
        "a watched collection is dropped, recreated, replaced by a rename or $out, or added",
        Service::Watcher,
        "the stream goes on; what was replaced or not copied is a gap on record",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "the topic is deleted under a stopped and under a running Watcher",
        Service::Watcher,
        "exits 65, or is made anew with a gap on record",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "the topic has grown, the source or the topic is another one",
        Service::Watcher,
        "refused with the way out",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "an event beyond 16 MiB, a message beyond its topic's limit",
        Service::Watcher,
        "a marker without the body, and the stream goes on",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "PostgreSQL is restored from a copy, under a stopped, an idle and a busy Syncer",
        Service::Syncer,
        "catches up by itself",
        LEDGER,
        LEDGER_TEST,
    ),
    it(
        "an operator rewinds with Kafka's own tool; the group is deleted; records expire; the topic grows or is missing",
        Service::Syncer,
        "reads on from where ledger, group and log say; a gap is on record",
        LEDGER,
        LEDGER_TEST,
    ),
    it(
        "three Syncers join, leave, die, stand still and wake",
        Service::Syncer,
        "nothing is missing or stale; a late owner is refused",
        "tests/tests/rebalances.rs",
        "partitions_change_hands_and_nothing_is_lost_or_overwritten",
    ),
    it(
        "1,000 bad records of every class among 100,000 good ones",
        Service::Syncer,
        "the good ones land, each bad one is in the dead letters with place and reason",
        BAD,
        BAD_TEST,
    ),
    it(
        "more than half of the records are bad",
        Service::Syncer,
        "exits 65 before the topic is emptied into the dead letters",
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
