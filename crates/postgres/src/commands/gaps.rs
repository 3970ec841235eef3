//! The gaps of a consumer group, for the gauge and for people: what the log lost before it was read.

use cdc_ports::Failure;

use crate::bookkeeping::is_there;
use crate::database::PostgresDatabase;
use crate::server::trouble::Trouble;

/// One gap of `cdc.gaps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetGapRecord {
    /// Its number.
    pub id: i64,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The first offset that was not read.
    pub from_offset: i64,
    /// Where reading went on.
    pub to_offset: i64,
    /// Why.
    pub cause: String,
    /// RFC 3339.
    pub opened_at: String,
    /// RFC 3339, once a person has seen it.
    pub acknowledged_at: Option<String>,
}

const LIST: &str = "\
SELECT id, topic, partition, from_offset, to_offset, cause, \
to_char(opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
to_char(acknowledged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
FROM cdc.gaps WHERE consumer_group = $1 ORDER BY id";

const ACKNOWLEDGE: &str =
    "UPDATE cdc.gaps SET acknowledged_at = now() WHERE consumer_group = $1 AND acknowledged_at IS NULL";

const PARKED: &str = "SELECT count(*) FROM cdc.parked WHERE consumer_group = $1 AND topic = ANY($2)";

impl PostgresDatabase {
    /// The group's gaps, oldest first. None where there is no bookkeeping yet.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified; `Fatal` where the bookkeeping is of another release.
    pub async fn gaps(&self) -> Result<Vec<OffsetGapRecord>, Failure> {
        const OPERATION: &str = "gaps_list";
        let pool = self.one_connection();
        let session = pool.get(OPERATION).await.map_err(|trouble| trouble.failure)?;
        if !is_there(&session, OPERATION).await? {
            return Ok(Vec::new());
        }
        let group = &self.settings().consumer_group;
        let rows = session.client.query(LIST, &[group]).await;
        let rows = rows.map_err(|error| Trouble::of(OPERATION, error).failure)?;
        Ok(rows
            .iter()
            .map(|row| OffsetGapRecord {
                id: row.get(0),
                topic: row.get(1),
                partition: row.get(2),
                from_offset: row.get(3),
                to_offset: row.get(4),
                cause: row.get(5),
                opened_at: row.get(6),
                acknowledged_at: row.get(7),
            })
            .collect())
    }

    /// Marks the group's open gaps as seen by a person; returns how many that were.
    ///
    /// # Errors
    /// As [`Self::gaps`].
    pub async fn acknowledge_gaps(&self) -> Result<u64, Failure> {
        const OPERATION: &str = "gaps_acknowledge";
        let pool = self.one_connection();
        let session = pool.get(OPERATION).await.map_err(|trouble| trouble.failure)?;
        if !is_there(&session, OPERATION).await? {
            return Ok(0);
        }
        let done = session.client.execute(ACKNOWLEDGE, &[&self.settings().consumer_group]).await;
        done.map_err(|error| Trouble::of(OPERATION, error).failure)
    }

    /// How many rows of these topics wait in `cdc.parked`.
    ///
    /// # Errors
    /// As [`Self::gaps`].
    pub async fn parked_of(&self, topics: &[String]) -> Result<u64, Failure> {
        const OPERATION: &str = "parked_count";
        let pool = self.one_connection();
        let session = pool.get(OPERATION).await.map_err(|trouble| trouble.failure)?;
        if !is_there(&session, OPERATION).await? {
            return Ok(0);
        }
        let row = session.client.query_one(PARKED, &[&self.settings().consumer_group, &topics]).await;
        let row = row.map_err(|error| Trouble::of(OPERATION, error).failure)?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }
}
