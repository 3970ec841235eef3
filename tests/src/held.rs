//! What a Syncer says of the topics that it holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cdc_devstack::Service;

use crate::Failure;
use crate::site::PATIENCE;

/// Each held topic with the reason and with what is said of it; `None` where the Syncer does not answer.
pub async fn held_topics(syncer: &Service) -> Option<BTreeMap<String, (String, String)>> {
    let status = syncer.get("/status").await.ok()?.body;
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    status["service"].as_str()?;
    let held = status["held_topics"].as_array().cloned().unwrap_or_default();
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or("").to_owned();
    Some(held.iter().map(|it| (text(it, "topic"), (text(it, "reason"), text(it, "detail")))).collect())
}

/// Waits until exactly these topics are held, for these reasons. Returns what is said of each.
///
/// # Errors
/// With those that are held, after [`PATIENCE`].
pub async fn until_held<T: AsRef<str>>(
    syncer: &Service,
    expected: &[(T, &str)],
) -> Result<BTreeMap<String, String>, Failure> {
    let expected: BTreeMap<&str, &str> =
        expected.iter().map(|(topic, reason)| (topic.as_ref(), *reason)).collect();
    let begun = Instant::now();
    loop {
        let held = held_topics(syncer).await;
        if let Some(held) = &held {
            let reasons = held.iter().map(|(topic, (reason, _))| (topic.as_str(), reason.as_str()));
            if reasons.collect::<BTreeMap<_, _>>() == expected {
                return Ok(held.iter().map(|(topic, (_, detail))| (topic.clone(), detail.clone())).collect());
            }
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("held: {held:?}, and not {expected:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
