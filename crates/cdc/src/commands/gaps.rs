use cdc_ports::{GapRecord, TokenStore as _};
use cdc_postgres::OffsetGapRecord;
use cdc_tokens::Examination;
use serde_json::{Value, json};

use super::asking::{held, of_server, of_store, runtime};
use super::output::print;
use crate::cli::{ConfigArgs, GapsListArgs};
use crate::config::{Services, SyncerConfig, WatcherConfig};
use crate::exit::{Exit, Failed};
use crate::wiring;

/// `cdc gaps list`: what was not delivered, by the Watcher's record and by the Syncer's table, whichever of the two the
/// files configure.
///
/// # Errors
/// Exit 78 for the configuration, 65 for a record that cannot be read, 69 or 77 for a server that does not answer or
/// refuses, 74 for a file.
pub fn gaps_list(arguments: GapsListArgs) -> Result<(), Failed> {
    let Services { watcher, syncer } = Services::load(&arguments.config.sources())?;
    let gaps = runtime()?.block_on(async {
        let mut gaps = Vec::new();
        if let Some(watcher) = &watcher {
            gaps.extend(of_watcher(watcher).await?.iter().map(watchers_gap));
        }
        if let Some(syncer) = &syncer {
            gaps.extend(of_syncer(syncer).await?.iter().map(syncers_gap));
        }
        Ok::<_, Failed>(gaps)
    })?;
    if arguments.json { print(&format!("{:#}", Value::Array(gaps))) } else { print(&lines(&gaps)) }
}

/// `cdc gaps acknowledge`: a person has seen the gaps. They stay on record, and `cdc_gaps_open` counts them no more.
///
/// # Errors
/// As [`gaps_list`]; exit 75 while a Watcher holds the lease.
pub fn gaps_acknowledge(arguments: ConfigArgs) -> Result<(), Failed> {
    let Services { watcher, syncer } = Services::load(&arguments.sources())?;
    let told = runtime()?.block_on(async {
        let mut told = String::new();
        if let Some(watcher) = &watcher {
            told += &format!("watcher: {} gaps acknowledged\n", acknowledge_watchers(watcher).await?);
        }
        if let Some(syncer) = &syncer {
            let count = wiring::database(syncer).acknowledge_gaps().await.map_err(of_server)?;
            told += &format!("syncer: {count} gaps acknowledged\n");
        }
        Ok::<_, Failed>(told)
    })?;
    print(&told)
}

async fn of_watcher(config: &WatcherConfig) -> Result<Vec<GapRecord>, Failed> {
    let of_store = of_store(config);
    // Reading compares no identity: what the record holds is what is asked.
    let mut store = wiring::token_store(config, String::new()).map_err(of_store)?;
    let record = store.peek().await.map_err(of_store)?;
    Ok(record.map(|record| record.gaps).unwrap_or_default())
}

async fn of_syncer(config: &SyncerConfig) -> Result<Vec<OffsetGapRecord>, Failed> {
    wiring::database(config).gaps().await.map_err(of_server)
}

async fn acknowledge_watchers(config: &WatcherConfig) -> Result<u64, Failed> {
    let of_store = of_store(config);
    let mut store = wiring::token_store(config, String::new()).map_err(of_store)?;
    match store.examine("gaps_acknowledge", false).await.map_err(of_store)? {
        Examination::Free(examined) => store.acknowledge_gaps(*examined).await.map_err(of_store),
        Examination::Empty => Ok(0),
        Examination::Held { holder, expires_in } => Err(held(&holder, expires_in)),
        Examination::Foreign(text) => Err(Failed::new(Exit::Decision, text)),
    }
}

/// A gap of the token record, as `token show` and `gaps list` print it.
pub(super) fn watchers_gap(gap: &GapRecord) -> Value {
    json!({
        "service": "watcher",
        "cause": gap.cause,
        "collections": gap.collections,
        "from": gap.from.map(|from| from.to_string()),
        "to": gap.to.to_string(),
        "stands_for": gap.stands_for,
        "opened_at": gap.opened_at,
        "announced": gap.announced,
        "healed_at": gap.healed_at,
        "acknowledged_at": gap.acknowledged_at,
    })
}

fn syncers_gap(gap: &OffsetGapRecord) -> Value {
    json!({
        "service": "syncer",
        "id": gap.id,
        "cause": gap.cause,
        "topic": gap.topic,
        "partition": gap.partition,
        "from_offset": gap.from_offset,
        "to_offset": gap.to_offset,
        "opened_at": gap.opened_at,
        "acknowledged_at": gap.acknowledged_at,
    })
}

fn lines(gaps: &[Value]) -> String {
    if gaps.is_empty() {
        return "no gaps\n".to_owned();
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |gap: &Value| {
        let place = gap["collections"].as_array().map_or_else(
            || format!("{}/{}", text(&gap["topic"]), gap["partition"]),
            |names| names.iter().map(text).collect::<Vec<_>>().join(", "),
        );
        let ends = if gap["from_offset"].is_null() { ["from", "to"] } else { ["from_offset", "to_offset"] };
        let [from, to] = ends.map(|end| text(&gap[end]));
        let closed = [("healed", &gap["healed_at"]), ("acknowledged", &gap["acknowledged_at"])];
        let closed = closed.iter().find_map(|(how, at)| Some(format!("{how} {}", at.as_str()?)));
        let state = closed.unwrap_or_else(|| "open".to_owned());
        let (service, cause, opened) = (text(&gap["service"]), text(&gap["cause"]), text(&gap["opened_at"]));
        format!("{service}  {opened}  {state}  {cause}  {place}  from {from} to {to}\n")
    };
    gaps.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_either_service_has_its_line() {
        let watcher = json!({
            "service": "watcher", "cause": "topic_lost", "collections": ["a", "b"], "from": null, "to": "ab",
            "opened_at": "2024-01-15T10:30:00Z", "healed_at": null, "acknowledged_at": null,
        });
        let syncer = json!({
            "service": "syncer", "cause": "expired", "topic": "t", "partition": 3, "from_offset": 5,
            "to_offset": 9, "opened_at": "2024-01-15T10:30:00Z", "acknowledged_at": "2024-01-16T00:00:00Z",
        });
        assert_eq!(
            lines(&[watcher, syncer]),
            "watcher  2024-01-15T10:30:00Z  open  topic_lost  a, b  from null to ab\n\
             syncer  2024-01-15T10:30:00Z  acknowledged 2024-01-16T00:00:00Z  expired  t/3  from 5 to 9\n"
        );
        assert_eq!(lines(&[]), "no gaps\n");
    }
}
