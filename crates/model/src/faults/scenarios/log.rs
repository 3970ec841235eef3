//! Kafka's topics and partitions, and who reads them up to where.

use super::it;
use crate::faults::{Scenario, Service};

const GAPS: &str = "tests/tests/gaps/mod.rs";
const GAPS_TEST: &str = "what_cannot_be_delivered_is_on_record";
const LEDGER: &str = "tests/tests/ledger.rs";
const LEDGER_TEST: &str = "a_syncer_reads_on_from_where_the_ledger_the_group_and_the_log_say";

pub(super) const ALL: &[Scenario] = &[
    it(
        "a topic is deleted and made anew with fewer partitions under a running Syncer",
        Service::Syncer,
        "goes on behind the gaps, which are recorded, as `offset_reset` says",
        LEDGER,
        LEDGER_TEST,
    ),
    it(
        "a topic that was read to its end is deleted and made anew",
        Service::Syncer,
        "goes on at the new one's start without a gap; a partition with unread records leaves its gap",
        LEDGER,
        LEDGER_TEST,
    ),
    it(
        "documents beyond Kafka's default limit",
        Service::Watcher,
        "arrive whole, up to 16 MiB",
        "tests/tests/large_documents.rs",
        "documents_of_up_to_16_mib_arrive_whole",
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
        "PostgreSQL is replaced by a copy from before a batch whose offset is not recorded yet",
        Service::Syncer,
        "nothing is recorded on another server than it was written on; the batch is read and written again",
        "crates/postgres/tests/live/ledger.rs",
        "nothing_is_recorded_on_another_server_than_it_was_written_on",
    ),
    it(
        "an offset that is not in the log",
        Service::Syncer,
        "recognised as lost history",
        "crates/kafka/tests/mock/consumer.rs",
        "an_offset_that_is_not_in_the_log_is_history_lost",
    ),
    it(
        "the topic is deleted under a stopped and under a running Watcher",
        Service::Watcher,
        "exits 65, or is made anew with a gap on record",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "partitions are added to the topic under a running Watcher, and it restarts",
        Service::Watcher,
        "no key moves; the growth is told in log, metric and status",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "`cdc token repartition` under a Watcher, under a Syncer, before everything is read, and after",
        Service::Watcher,
        "refused with exit 75 and the reason; then the new partitions are used",
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
        "2,000 small messages in batches beyond a topic's limit that nobody may ask for, and one message beyond it",
        Service::Watcher,
        "each message alone is judged: 2,000 arrive, and one marker, logged and counted",
        GAPS,
        GAPS_TEST,
    ),
    it(
        "PostgreSQL is restored from a copy, under a stopped, an idle and a busy Syncer; a standby that was behind takes its place",
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
        "a Syncer is killed between the two rounds of a cooperative rebalance, and comes back",
        Service::Syncer,
        "what no member was given is given out anew within seconds, by a member that leaves and joins again",
        "tests/tests/rebalances.rs",
        "a_kill_between_the_two_rounds_of_a_rebalance_leaves_no_partition_to_nobody",
    ),
];
