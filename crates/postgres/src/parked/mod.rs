//! The table `cdc.parked`: rows and deletes that other rows stand in the way of. A parked row fences like one in its
//! table, and a parked delete like one that is done.

pub(crate) mod entries;

use cdc_ports::KafkaRecord;
use cdc_ports::Share;
use cdc_syncer::{ParkedRows, Partition, Row, SqlState};
use tokio_postgres::Error;

use crate::ledger::owned::OwnedPartitions;
use crate::server::session::Session;
use crate::values::buffer::ColumnBuffer;

/// Takes out the parked rows that these are newer than, and names those of these that are not newer than a
/// parked one. The first row of the answer counts the former.
const FENCE: &str = "\
WITH s AS (SELECT * FROM unnest($2::text[], $3::bytea[]) AS s(id, position)), \
replaced AS (DELETE FROM cdc.parked AS p USING s \
WHERE p.table_name = $1 AND p.id = s.id AND p.position < s.position RETURNING 1) \
SELECT NULL::text, (SELECT count(*) FROM replaced) \
UNION ALL SELECT s.id, 0::bigint FROM s JOIN cdc.parked AS p ON p.table_name = $1 AND p.id = s.id \
WHERE p.position >= s.position";

const PARK: &str = "\
INSERT INTO cdc.parked AS p (table_name, id, position, consumer_group, topic, partition, record_offset, route, \
key, value, headers, timestamp_ms, constraint_name, sqlstate) \
SELECT $1, s.id, s.position, $2, s.topic, s.partition, s.record_offset, s.route::numeric, \
s.key, s.value, s.headers, s.timestamp_ms, s.constraint_name, s.sqlstate \
FROM unnest($3::text[], $4::bytea[], $5::text[], $6::int[], $7::bigint[], $8::text[], $9::bytea[], $10::bytea[], \
$11::bytea[], $12::bigint[], $13::text[], $14::text[]) \
AS s(id, position, topic, partition, record_offset, route, key, value, headers, timestamp_ms, constraint_name, \
sqlstate) \
ON CONFLICT (table_name, id) DO UPDATE SET position = excluded.position, record_offset = excluded.record_offset, \
value = excluded.value, headers = excluded.headers, timestamp_ms = excluded.timestamp_ms, \
constraint_name = excluded.constraint_name, sqlstate = excluded.sqlstate, attempts = 0, parked_at = excluded.parked_at \
WHERE excluded.position > p.position";

/// `mod` of numbers without a sign: a route is a 64-bit hash.
const COUNT: &str = "\
SELECT c.topic, c.partition, \
(SELECT count(*) FROM cdc.parked AS p WHERE p.consumer_group = $1 AND p.topic = c.topic \
AND p.partition = c.partition AND mod(p.route, $4::int) = $5::int) \
FROM unnest($2::text[], $3::int[]) AS c(topic, partition)";

/// A blocked row, by its place in the plan's rows, with what blocked it.
#[derive(Clone, Debug)]
pub(crate) struct Blocked {
    pub(crate) row: usize,
    pub(crate) sqlstate: Option<SqlState>,
    pub(crate) constraint: Option<String>,
}

impl Blocked {
    /// True where a value is another row's: then the row's own older version may stand in a third one's way.
    /// What waits for a foreign key gains nothing by a row less.
    pub(crate) fn is_about_a_value(&self) -> bool {
        self.sqlstate.is_some_and(|code| matches!(code.as_str(), "23505" | "23P01"))
    }
}

/// What became of the rows that were compared with their parked versions.
#[derive(Debug)]
pub(crate) struct Fenced {
    /// Parked rows that newer ones take the place of.
    pub(crate) superseded: u64,
    /// These of the rows are not newer than their parked version: nothing may come of them.
    pub(crate) fenced: Vec<usize>,
}

/// Compares rows of one table with their parked versions.
pub(crate) async fn fence(
    session: &mut Session,
    table: &str,
    row_ids: &ColumnBuffer,
    positions: &ColumnBuffer,
) -> Result<Fenced, Error> {
    let statement = session.prepare(&FENCE.into(), &[]).await?;
    let answer = session.client.query(&statement, &[&table, row_ids, positions]).await?;
    let mut found = Fenced { superseded: 0, fenced: Vec::new() };
    let mut ids: Vec<String> = Vec::new();
    for row in &answer {
        match row.get::<_, Option<String>>(0) {
            Some(id) => ids.push(id),
            None => found.superseded = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0),
        }
    }
    if !ids.is_empty() {
        let is_named = |row: &usize| {
            row_ids.value(*row).is_some_and(|id| ids.iter().any(|named| named.as_bytes() == id))
        };
        found.fenced = (0..row_ids.len()).filter(is_named).collect();
    }
    Ok(found)
}

/// Rows on their way into `cdc.parked`: the records that they come from, with id, position and constraint.
#[derive(Debug, Default)]
pub(crate) struct Parcels<'a> {
    ids: Vec<&'a str>,
    positions: Vec<&'a [u8]>,
    topics: Vec<&'a str>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    routes: Vec<String>,
    keys: Vec<&'a [u8]>,
    values: Vec<&'a [u8]>,
    headers: Vec<&'a [u8]>,
    timestamps: Vec<i64>,
    constraints: Vec<Option<&'a str>>,
    sqlstates: Vec<Option<&'a str>>,
}

impl<'a> Parcels<'a> {
    /// Adds a row, with what blocked it; `name` is the topic and partition that it was read from.
    pub(crate) fn push(
        &mut self,
        record: &'a Row<KafkaRecord>,
        (topic, partition): (&'a str, i32),
        (id, position): (&'a str, &'a [u8]),
        blocked: &'a Blocked,
    ) {
        self.ids.push(id);
        self.positions.push(position);
        self.topics.push(topic);
        self.partitions.push(partition);
        self.offsets.push(record.offset);
        self.routes.push(record.route.to_string());
        self.keys.push(record.handle.key());
        self.values.push(record.handle.value().unwrap_or_default());
        self.headers.push(record.handle.headers());
        self.timestamps.push(record.handle.timestamp_ms);
        self.constraints.push(blocked.constraint.as_deref());
        self.sqlstates.push(blocked.sqlstate.as_ref().map(SqlState::as_str));
    }

    /// Parks them. Runs inside the transaction that has locked their partitions.
    pub(crate) async fn park(&self, session: &mut Session, group: &str, table: &str) -> Result<u64, Error> {
        let statement = session.prepare(&PARK.into(), &[]).await?;
        session
            .client
            .execute(
                &statement,
                &[
                    &table,
                    &group,
                    &self.ids,
                    &self.positions,
                    &self.topics,
                    &self.partitions,
                    &self.offsets,
                    &self.routes,
                    &self.keys,
                    &self.values,
                    &self.headers,
                    &self.timestamps,
                    &self.constraints,
                    &self.sqlstates,
                ],
            )
            .await
    }
}

/// How many rows of each owned partition and of the share are parked.
pub(crate) async fn count(
    session: &mut Session,
    group: &str,
    share: Share,
    owned: &OwnedPartitions,
) -> Result<Vec<ParkedRows>, Error> {
    let statement = session.prepare(&COUNT.into(), &[]).await?;
    let (worker, of) = parameters(share);
    let rows =
        session.client.query(&statement, &[&group, &owned.topics, &owned.numbers, &of, &worker]).await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let partition: Partition = owned.named(row.get(0), row.get(1))?;
            let rows = u64::try_from(row.get::<_, i64>(2)).unwrap_or(0);
            Some(ParkedRows { partition, rows })
        })
        .collect())
}

/// The worker's number and how many there are, as the statements take them. There are at most 1,024.
pub(crate) fn parameters(share: Share) -> (i32, i32) {
    (i32::try_from(share.worker.0).unwrap_or(i32::MAX), workers(share.of))
}

pub(crate) fn workers(of: u32) -> i32 {
    i32::try_from(of.max(1)).unwrap_or(i32::MAX)
}
