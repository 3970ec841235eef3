use std::collections::BTreeMap;
use std::sync::Arc;

use cdc_kafka::{ConnectionSettings, GroupState, group_state};
use cdc_ports::Failure;
use cdc_postgres::Settings;
use cdc_tokens::Examination;

use super::asking::{held, of_server, of_store, runtime, source_name};
use super::output::print;
use crate::cli::TokenRepartitionArgs;
use crate::config::{Services, SyncerConfig, WatcherConfig};
use crate::exit::{Exit, Failed};
use crate::wiring;

const OPERATION: &str = "token_repartition";

/// `cdc token repartition`: spreads keys among all partitions that the topics have by now. A key may move, so everything
/// in the old partitions has to be written, and nobody may be at work.
///
/// # Errors
/// Exit 78 for the configuration, 75 while a Watcher holds the lease or the group has members or unread messages or
/// parked rows, 65 for a record that is not there, not readable or not of this source, 69 or 77 for a server that does
/// not answer or refuses, 74 for a file.
pub fn token_repartition(arguments: TokenRepartitionArgs) -> Result<(), Failed> {
    let Services { watcher, syncer } = Services::load(&arguments.config.sources())?;
    let watcher = watcher.ok_or_else(|| {
        Failed::new(Exit::Config, "a syncer has no resume token; give the watcher's configuration")
    })?;
    let mut groups = arguments.group;
    groups.extend(syncer.as_ref().map(|syncer| syncer.kafka.consumer_group.clone()));
    if groups.is_empty() {
        groups.push(Settings::DEFAULT_GROUP.to_owned());
    }
    groups.sort();
    groups.dedup();
    let done = runtime()?.block_on(repartition(&watcher, syncer.as_ref(), &groups))?;
    print(&done)
}

async fn repartition(
    config: &WatcherConfig,
    syncer: Option<&SyncerConfig>,
    groups: &[String],
) -> Result<String, Failed> {
    let of_store = of_store(config);
    let mut source = wiring::source(config).map_err(of_server)?;
    let deployment = source.describe().await.map_err(of_server)?;
    let name = source_name(deployment, &config.mongodb.database)?;
    let mut store = wiring::token_store(config, name).map_err(of_store)?;
    // First the record, then everybody else, then the record if it is still the same: no Watcher was at work between.
    let examined = match store.examine(OPERATION, true).await.map_err(of_store)? {
        Examination::Free(examined) => examined,
        Examination::Empty => {
            let text = "there is no position yet; the first start records the partitions that it finds";
            return Err(Failed::new(Exit::Decision, text));
        }
        Examination::Held { holder, expires_in } => return Err(held(&holder, expires_in)),
        Examination::Foreign(text) => return Err(Failed::new(Exit::Decision, text)),
    };
    let topics: Vec<Arc<str>> = config.topics().into_iter().map(Arc::from).collect();
    let mut partitions = Vec::new();
    for group in groups {
        let state = look_at(config, group, &topics).await.map_err(of_server)?;
        has_read_to_the_end(group, &state)?;
        partitions = state.partitions;
    }
    if let Some(syncer) = syncer {
        let parked = wiring::database(syncer).parked_of(&config.topics()).await.map_err(of_server)?;
        if parked > 0 {
            let text = format!(
                "{parked} rows of these topics wait in cdc.parked; start the Syncer and let them find their values, or \
                 take them out, then try again"
            );
            return Err(Failed::new(Exit::Temporary, text));
        }
    }
    let counts: BTreeMap<String, u32> = config.topics().into_iter().zip(partitions).collect();
    let before: BTreeMap<String, u32> = examined
        .record
        .collections
        .iter()
        .filter_map(|collection| Some((collection.topic.clone()?, collection.known.partitions?)))
        .collect();
    for (topic, count) in &counts {
        if before.get(topic).is_some_and(|before| count < before) {
            let text = format!("{topic} has fewer partitions than on record; it is another topic");
            return Err(Failed::new(Exit::Decision, text));
        }
    }
    store.repartition(*examined, &counts).await.map_err(of_store)?;
    Ok(tell(&before, &counts))
}

async fn look_at(config: &WatcherConfig, group: &str, topics: &[Arc<str>]) -> Result<GroupState, Failure> {
    let client_id = format!("cdc-token-{}", config.instance);
    let connection = ConnectionSettings { client_id, ..wiring::watcher_connection(config) };
    let (group, topics) = (group.to_owned(), topics.to_vec());
    tokio::task::spawn_blocking(move || group_state(&connection, &group, &topics)).await.map_err(|panic| {
        let text = "the look at the consumer group panicked, which is a bug";
        Failure::new(cdc_machine::Fault::Bug, OPERATION, text).because(panic)
    })?
}

fn has_read_to_the_end(group: &str, state: &GroupState) -> Result<(), Failed> {
    if state.members > 0 {
        let text = format!(
            "the consumer group {group} has {} members; stop its Syncers (a killed one is a member for some seconds \
             more), then try again",
            state.members
        );
        return Err(Failed::new(Exit::Temporary, text));
    }
    let Some(behind) = state.behind.first() else { return Ok(()) };
    let committed = behind.committed.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string());
    let text = format!(
        "the consumer group {group} has not read {} partitions to their end ({}/{}: committed {committed}, end {}); \
         start its Syncer without the Watcher, stop it when it has, then try again. A group of another name: --group",
        state.behind.len(),
        behind.topic,
        behind.partition,
        behind.end
    );
    Err(Failed::new(Exit::Temporary, text))
}

fn tell(before: &BTreeMap<String, u32>, counts: &BTreeMap<String, u32>) -> String {
    let line = |(topic, count): (&String, &u32)| match before.get(topic) {
        Some(before) if before != count => format!("{topic}: {before} → {count} partitions\n"),
        _ => format!("{topic}: {count} partitions, as before\n"),
    };
    counts.iter().map(line).collect()
}
