//! The saved position, read from Redis as anybody would: one `GET`, plain JSON, plain BSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::AsyncCommands as _;

use crate::Failure;

/// `_data` of the resume token that Redis holds now; `None` where there is none yet.
///
/// # Errors
/// Whatever Redis says, or a record that cannot be read.
pub async fn token(redis: &str, key: &str) -> Result<Option<String>, Failure> {
    let client = redis::Client::open(redis)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let record: Option<String> = connection.get(key).await?;
    record.map_or(Ok(None), |text| of_record(&text))
}

/// `_data` of the resume token in a record's text.
///
/// # Errors
/// Where the text is not such a record.
pub fn of_record(text: &str) -> Result<Option<String>, Failure> {
    let record: serde_json::Value = serde_json::from_str(text)?;
    let Some(encoded) = record["resume_token"].as_str() else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(encoded)?;
    let token = bson::Document::from_reader(bytes.as_slice())?;
    Ok(Some(token.get_str("_data")?.to_owned()))
}
