//! Waiting for what is to come about, and what a service says of itself meanwhile.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use cdc_devstack::Service;
use serde_json::Value;
use tokio_postgres::types::FromSqlOwned;

use crate::Failure;
use crate::site::PATIENCE;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until something holds.
///
/// # Panics
/// With what it is, after [`PATIENCE`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until the question has this answer. One that fails counts as another answer: a table may not be there yet.
///
/// # Panics
/// With the last answer, after [`PATIENCE`].
pub async fn until_number(postgres: &tokio_postgres::Client, sql: &str, expected: i64) {
    until_answer::<i64>(postgres, sql, &expected).await;
}

/// The same for a text.
///
/// # Panics
/// With the last answer, after [`PATIENCE`].
pub async fn until_text(postgres: &tokio_postgres::Client, sql: &str, expected: &str) {
    until_answer::<String>(postgres, sql, &expected.to_owned()).await;
}

async fn until_answer<T: FromSqlOwned + PartialEq + Debug>(
    postgres: &tokio_postgres::Client,
    sql: &str,
    expected: &T,
) {
    let begun = Instant::now();
    loop {
        let found = postgres.query_one(sql, &[]).await.and_then(|row| row.try_get::<_, T>(0));
        if found.as_ref().is_ok_and(|found| found == expected) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{sql}: {found:?}, and not {expected:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What the service answers to `/health`: the status and its words.
///
/// # Errors
/// If it does not answer.
pub async fn health(service: &Service) -> Result<(u16, String), Failure> {
    let answer = service.get("/health").await?;
    Ok((answer.status, answer.body))
}

/// What the service answers to `/status`.
///
/// # Errors
/// If it does not answer, or not with JSON.
pub async fn status(service: &Service) -> Result<Value, Failure> {
    Ok(serde_json::from_str(&service.get("/status").await?.body)?)
}
