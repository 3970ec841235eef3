//! What runs beside what, and in which order.

use std::fs;
use std::thread;

use cdc_tests::Failure;

use crate::job::Job;
use crate::programs::Program;

/// The package whose tests bring servers of their own each: every test is a job. A job of any other package is a
/// program, whose tests share their servers.
const END_TO_END: &str = "cdc-tests";
const END_TO_END_TARGET: &str = "live";

/// What others on the machine would spoil, with the reason.
const ALONE: [(&str, &str); 4] = [
    ("memory::a_stalled_server_does_not_fill_the_memory", "measures memory, and fills it"),
    ("chaos::nothing_is_lost_whatever_breaks", "keeps all cores busy"),
    ("frozen::whatever_the_state_it_ends_in_time_at_the_first_and_at_the_second_signal", "measures seconds"),
    ("health::a_silent_server_is_named_within_ten_seconds_also_while_idle", "measures seconds"),
];

/// What takes longest, longest first: begun early, it does not hold up the end. Only the order depends on this list.
const LONG: [&str; 17] = [
    "gaps::what_cannot_be_delivered_is_on_record",
    "converges::every_row_equals_its_document_after_kills_under_load",
    "bad_records::bad_records_are_found_and_hold_nobody_up_and_too_many_hold_their_topic",
    "away::an_outage_of_25_seconds_ends_no_syncer_in_any_state",
    "replicas::a_topic_with_too_few_replicas_is_waited_for",
    "matrix::a_fault_of_one_pipeline_in_each_state",
    "postgres_faults::a_lock_held_for_a_minute_is_waited_for",
    "source::what_the_source_cannot_give_or_has_lost_is_told",
    "unique::swapped_and_handed_over_names_end_up_where_the_collection_has_them",
    "rebalances::partitions_change_hands_and_nothing_is_lost_or_overwritten",
    "chaos::a_failover_of_the_replica_set_loses_nothing",
    "cdc-kafka mock",
    "cdc-postgres live",
    "cdc-mongo live",
    "matrix::a_fault_of_a_server_in_each_state",
    "cdc-model generated_pages",
    "cdc-model simulator",
];

/// More at once than cores, since most of them wait.
const COLUMNS_BEYOND_CORES: usize = 1;
const COLUMNS_MAX: usize = 4;
/// Of one set of servers with the services under test.
const COLUMN_MEMORY_KIB: u64 = 1536 * 1024;
const COLUMNS_VARIABLE: &str = "CDC_TEST_COLUMNS";

/// The jobs of a run.
pub(crate) struct Plan {
    /// Those that run side by side.
    pub(crate) beside: Vec<Job>,
    /// Those that run one after the other, with nothing beside them.
    pub(crate) alone: Vec<Job>,
}

/// Everything whose name holds one of these words; without words, everything.
pub(crate) fn plan(programs: &[Program], wanted: &[String]) -> Result<Plan, Failure> {
    let mut jobs = vec![Job::documentation()];
    for program in programs {
        if program.package == END_TO_END && program.target == END_TO_END_TARGET {
            jobs.extend(program.tests.iter().map(|test| Job::test(program, test)));
        } else {
            jobs.push(Job::program(program));
        }
    }
    let is_named = |job: &Job, name: &str| job.name.ends_with(name);
    // A name that has changed must not make a measurement run among others.
    if let Some((name, _)) = ALONE.iter().find(|(name, _)| !jobs.iter().any(|job| is_named(job, name))) {
        return Err(format!("there is no {name} any more; it stands in {}", file!()).into());
    }
    if let Some(word) = wanted.iter().find(|word| !jobs.iter().any(|job| job.name.contains(word.as_str()))) {
        return Err(format!("no end-to-end test and no other program has {word} in its name").into());
    }
    jobs.retain(|job| wanted.is_empty() || wanted.iter().any(|word| job.name.contains(word.as_str())));
    jobs.sort_by_key(|job| LONG.iter().position(|name| is_named(job, name)).unwrap_or(LONG.len()));
    let (alone, beside) = jobs.into_iter().partition(|job| ALONE.iter().any(|(name, _)| is_named(job, name)));
    Ok(Plan { beside, alone })
}

/// How many run at a time: as many as the variable says, else what cores and memory allow.
pub(crate) fn columns() -> Result<usize, Failure> {
    if let Ok(text) = std::env::var(COLUMNS_VARIABLE) {
        let columns: usize = text.parse().map_err(|_| format!("{COLUMNS_VARIABLE}={text} is no number"))?;
        return Ok(columns.max(1));
    }
    let cores = thread::available_parallelism()?.get();
    let memory = usize::try_from(memory_available_kib()? / COLUMN_MEMORY_KIB)?;
    Ok((cores + COLUMNS_BEYOND_CORES).min(memory).clamp(1, COLUMNS_MAX))
}

fn memory_available_kib() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(number.ok_or("/proc/meminfo does not say what is available")?.parse()?)
}
