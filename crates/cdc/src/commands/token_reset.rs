use std::time::{SystemTime, UNIX_EPOCH};

use bson::Document;
use bytes::Bytes;
use cdc_event::{ClusterTime, ResumeToken};
use cdc_machine::{Fault, Lineage};
use cdc_mongo::MongoSource;
use cdc_ports::{Failure, GapRecord, Opening, Source as _};
use cdc_tokens::{Look, Reset, ResetOutcome};
use cdc_watcher::{Reading, StartAt};

use super::asking::{held, of_server, of_store, runtime, source_name, watcher_config};
use super::output::print;
use crate::cli::TokenResetArgs;
use crate::config::WatcherConfig;
use crate::exit::{Exit, Failed};
use crate::wiring;

/// Where the position is to be.
#[derive(Debug, PartialEq)]
enum Target {
    Now,
    Time(ClusterTime),
    Token(Document),
}

/// `cdc token reset`: moves the saved position, with the gap that this leaves on record. Refused while a
/// Watcher holds the lease.
///
/// # Errors
/// Exit 2 for a position that is none, 78 for the configuration, 75 while the lease is held, 65 for a record
/// of another source or of a newer release and for a position that has left the oplog, 69 or 77 for a server
/// that does not answer or refuses, 74 for a file.
pub fn token_reset(arguments: TokenResetArgs) -> Result<(), Failed> {
    let target = Target::parse(&arguments.to)?;
    let config = watcher_config(&arguments.config.sources())?;
    let done = runtime()?.block_on(move_position(&config, target, arguments.new_source))?;
    print(&done)
}

async fn move_position(config: &WatcherConfig, target: Target, new_source: bool) -> Result<String, Failed> {
    let of_store = of_store(config);
    let mut source = wiring::source(config).map_err(of_server)?;
    let deployment = source.describe().await.map_err(of_server)?;
    let name = source_name(deployment, &config.mongodb.database)?;
    let mut store = wiring::token_store(config, name).map_err(of_store)?;
    let before = match store.look().await.map_err(of_store)? {
        Look::Position(record) => Some(record),
        Look::Empty => None,
        Look::Damaged(text) => {
            tracing::warn!(operation = "token_reset", "{text}");
            None
        }
    };
    let lineage = match &before {
        Some(before) if !new_source => before.lineage,
        before => {
            let at_the_ends = wiring::lineage_at_ends(config).await.map_err(of_server)?;
            anew(before.as_deref().map(|before| before.lineage), at_the_ends)
        }
    };
    let Opening { at, sightings, .. } = open(&mut source, target, lineage).await.map_err(of_server)?;
    let contents = sightings.iter().map(|sighting| sighting.contents).collect();
    let reset = Reset { token: at, lineage, contents, new_source };
    match store.reset(reset).await.map_err(of_store)? {
        ResetOutcome::Done(gap) => Ok(tell(gap.as_ref())),
        ResetOutcome::Held { holder, expires_in } => Err(held(&holder, expires_in)),
        ResetOutcome::Foreign(text) => Err(Failed::new(Exit::Decision, text)),
    }
}

/// The lineage of a record that is made anew, or bound to another source, whose time may go back: above all that
/// rows may carry, whatever the clock says.
fn anew(recorded: Option<Lineage>, at_the_ends: Option<Lineage>) -> Lineage {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let fresh = Lineage(u32::try_from(seconds).unwrap_or(u32::MAX));
    let before = recorded.max(at_the_ends).map(|Lineage(before)| Lineage(before.saturating_add(1)));
    before.map_or(fresh, |above| fresh.max(above))
}

async fn open(source: &mut MongoSource, target: Target, lineage: Lineage) -> Result<Opening, Failure> {
    let opening = match target {
        Target::Now => source.open(StartAt::Now, lineage, Reading::Whole).await?,
        Target::Time(time) => source.open_at(time, lineage).await?,
        Target::Token(token) => {
            let broken = |what: String| Failure::new(Fault::HistoryLost, "token_reset", what);
            let bytes = token.to_vec().map_err(|error| broken(format!("the token is no BSON: {error}")))?;
            let token = ResumeToken::from_bson(Bytes::from(bytes), lineage.0)
                .map_err(|error| broken(error.to_string()))?;
            source.open(StartAt::After(token), lineage, Reading::Whole).await?
        }
    };
    // A position that is not in the history shows with the first batch.
    let first = source.next(1, 1).await;
    source.close().await;
    match first {
        Err(failure) if failure.fault != Fault::TooLarge => Err(failure),
        _ => Ok(opening),
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, Failed> {
        let wrong = |why: &str| {
            let legal = "legal: now; a time such as 2024-01-15T10:30:00Z; a resume token as `cdc token show \
                         --json` prints it, or its _data";
            Failed::new(Exit::Usage, format!("--to {text:?} is no position: {why}; {legal}"))
        };
        if text == "now" {
            return Ok(Self::Now);
        }
        if text.starts_with('{') {
            let value: serde_json::Value =
                serde_json::from_str(text).map_err(|error| wrong(&format!("it is no JSON ({error})")))?;
            return match bson::Bson::try_from(value) {
                Ok(bson::Bson::Document(token)) => Ok(Self::Token(token)),
                Ok(_) | Err(_) => Err(wrong("it is no document in Extended JSON")),
            };
        }
        if text.starts_with("82") && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Token(bson::doc! { "_data": text }));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong("it is no time of RFC 3339"))?;
        let seconds = u32::try_from(time.as_second()).map_err(|_| wrong("no oplog has that time"))?;
        Ok(Self::Time(ClusterTime { t: seconds, i: 1 }))
    }
}

fn tell(gap: Option<&GapRecord>) -> String {
    match gap {
        Some(gap) => format!(
            "the position is moved; what lies between is on record as a gap of {}: from {} to {}\n",
            gap.collections.join(", "),
            gap.from.map_or_else(|| "an unknown position".to_owned(), |from| from.to_string()),
            gap.to
        ),
        None => "the position is moved back; what lies between is delivered again\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_made_anew_is_above_all_that_there_were() {
        let far = Lineage(u32::MAX - 9);
        let above = Lineage(u32::MAX - 8);
        assert_eq!([anew(Some(far), None), anew(None, Some(far))], [above, above]);
        assert_eq!(anew(Some(Lineage(1)), Some(far)), above);
        assert!(
            anew(Some(Lineage(1)), None) > Lineage(1_700_000_000)
                && anew(None, None) > Lineage(1_700_000_000)
        );
    }

    #[test]
    fn every_form_of_a_position_is_read() {
        let token = bson::doc! { "_data": "826B045F8E00000008" };
        for (text, expected) in [
            ("now", Target::Now),
            ("2024-01-15T10:30:00Z", Target::Time(ClusterTime { t: 1_705_314_600, i: 1 })),
            (r#"{"_data":"826B045F8E00000008"}"#, Target::Token(token.clone())),
            ("826B045F8E00000008", Target::Token(token)),
        ] {
            assert_eq!(Target::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["", "then", "{", "[1]", "1969-01-01T00:00:00Z"] {
            let failed = Target::parse(text).unwrap_err();
            assert_eq!(failed.exit.code(), 2, "{text}");
            assert!(failed.message.contains("legal: now"), "{failed}");
        }
    }
}
