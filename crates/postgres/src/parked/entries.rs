//! Parked rows that are tried again, and what is written of them afterwards.

use cdc_machine::{Epoch, SeqNo};
use cdc_ports::{KafkaRecord, Share};
use cdc_syncer::{Partition, Row};
use tokio_postgres::Error;

use crate::decode::Incoming;
use crate::ledger::owned::OwnedPartitions;
use crate::parked::parameters;
use crate::server::session::Session;

/// Parked rows of one retry.
const ROWS_MAX: i64 = 200;

/// Bytes of their messages; one that is larger goes alone.
pub(crate) const BYTES_MAX: i64 = 2 * 1024 * 1024;

/// Those that were tried least often come first, so that none is forgotten over others. Given up are those whose
/// dead letter is durable.
const READ: &str = "\
SELECT table_name, id, topic, partition, record_offset, route::text, key, value, headers, timestamp_ms, attempts FROM \
(SELECT q.*, sum(octet_length(value)) OVER w AS bytes, row_number() OVER w AS number FROM \
(SELECT p.* FROM cdc.parked AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 AND mod(p.route, $4::int) = $5::int \
AND NOT EXISTS (SELECT FROM unnest($8::text[], $9::int[], $10::bigint[]) AS g(topic, partition, record_offset) \
WHERE g.topic = p.topic AND g.partition = p.partition AND g.record_offset = p.record_offset) \
ORDER BY p.attempts, p.parked_at, p.table_name, p.id LIMIT $6) AS q \
WINDOW w AS (ORDER BY q.attempts, q.parked_at, q.table_name, q.id)) AS r \
WHERE number = 1 OR bytes <= $7 ORDER BY number";

const UNPARK: &str = "\
DELETE FROM cdc.parked AS p USING unnest($1::text[], $2::text[]) AS s(table_name, id) \
WHERE p.table_name = s.table_name AND p.id = s.id";

const GIVE_UP: &str = "\
DELETE FROM cdc.parked AS p USING unnest($2::text[], $3::int[], $4::bigint[]) AS g(topic, partition, record_offset) \
WHERE p.consumer_group = $1 AND p.topic = g.topic AND p.partition = g.partition AND p.record_offset = g.record_offset";

const TRIED: &str = "\
UPDATE cdc.parked AS p SET attempts = p.attempts + 1, constraint_name = coalesce(s.constraint_name, p.constraint_name), \
sqlstate = coalesce(s.sqlstate, p.sqlstate) \
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS s(table_name, id, constraint_name, sqlstate) \
WHERE p.table_name = s.table_name AND p.id = s.id";

/// A parked row, as it was read from Kafka once.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Table and id, which name it in `cdc.parked`.
    table: String,
    id: String,
    partition: Partition,
    epoch: Epoch,
    offset: i64,
    route: u64,
    record: KafkaRecord,
    /// Tries so far, this one included.
    pub(crate) attempts: u32,
}

impl Incoming for Entry {
    fn partition(&self) -> Partition {
        self.partition
    }

    fn record(&self) -> &KafkaRecord {
        &self.record
    }
}

impl Entry {
    /// The record as the machine speaks of one that it rejects. It has no slot in a window any more.
    pub(crate) fn to_row(&self) -> Row<KafkaRecord> {
        let Self { partition, epoch, offset, route, ref record, .. } = *self;
        Row { partition, epoch, seq: SeqNo::default(), offset, route, bytes: 0, handle: record.clone() }
    }
}

/// The parked rows that one retry takes on.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) list: Vec<Entry>,
    given_up: GivenUp,
}

/// Entries whose dead letters are durable, as arrays for the statements.
#[derive(Debug, Default)]
struct GivenUp {
    topics: Vec<String>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
}

/// Why an entry stays parked.
#[derive(Debug)]
pub(crate) struct Stay {
    pub(crate) sqlstate: Option<String>,
    pub(crate) constraint: Option<String>,
}

/// What a retry is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'r> {
    pub(crate) share: Share,
    pub(crate) partitions: &'r [(Partition, Epoch)],
    /// Partition and offset of the records whose entries are to go.
    pub(crate) given_up: &'r [(Partition, i64)],
}

impl Entries {
    /// Reads them.
    pub(crate) async fn read(
        session: &mut Session,
        group: &str,
        owned: &OwnedPartitions,
        request: Request<'_>,
    ) -> Result<Self, Error> {
        let statement = session.prepare(&READ.into(), &[]).await?;
        let mut given_up = GivenUp::default();
        for (partition, offset) in request.given_up {
            let Some((topic, number)) = owned.name(*partition) else { continue };
            given_up.topics.push(topic.to_owned());
            given_up.partitions.push(number);
            given_up.offsets.push(*offset);
        }
        let (worker, of) = parameters(request.share);
        let GivenUp { topics, partitions, offsets } = &given_up;
        let found = session
            .client
            .query(
                &statement,
                &[
                    &group,
                    &owned.topics,
                    &owned.numbers,
                    &of,
                    &worker,
                    &ROWS_MAX,
                    &BYTES_MAX,
                    topics,
                    partitions,
                    offsets,
                ],
            )
            .await?;
        let mut list = Vec::with_capacity(found.len());
        for row in &found {
            let Some(partition) = owned.named(row.get(2), row.get(3)) else { continue };
            let asked = request.partitions.iter().find(|(asked, _)| *asked == partition);
            list.push(Entry {
                table: row.get(0),
                id: row.get(1),
                partition,
                epoch: asked.map(|(_, epoch)| *epoch).unwrap_or_default(),
                offset: row.get(4),
                route: row.get::<_, &str>(5).parse().unwrap_or_default(),
                // What waits for other rows has no stages to tell of: nobody follows it.
                record: KafkaRecord::new(row.get(6), Some(row.get(7)), row.get(8), row.get(9)),
                attempts: u32::try_from(row.get::<_, i32>(10)).unwrap_or_default().saturating_add(1),
            });
        }
        Ok(Self { list, given_up })
    }

    /// Removes the entries that do not stay and those that are given up, and notes that the others were tried.
    pub(crate) async fn settle(
        &self,
        session: &mut Session,
        group: &str,
        stays: &[Option<Stay>],
    ) -> Result<(), Error> {
        let (mut tables, mut ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let (mut kept_tables, mut kept_ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let (mut constraints, mut sqlstates) = (Vec::new(), Vec::new());
        for (Entry { table, id, .. }, stay) in self.list.iter().zip(stays) {
            match stay {
                None => {
                    tables.push(table);
                    ids.push(id);
                }
                Some(stay) => {
                    kept_tables.push(table);
                    kept_ids.push(id);
                    constraints.push(stay.constraint.as_deref());
                    sqlstates.push(stay.sqlstate.as_deref());
                }
            }
        }
        if !ids.is_empty() {
            let statement = session.prepare(&UNPARK.into(), &[]).await?;
            session.client.execute(&statement, &[&tables, &ids]).await?;
        }
        if !kept_ids.is_empty() {
            let statement = session.prepare(&TRIED.into(), &[]).await?;
            let parameters: [&(dyn postgres_types::ToSql + Sync); 4] =
                [&kept_tables, &kept_ids, &constraints, &sqlstates];
            session.client.execute(&statement, &parameters).await?;
        }
        let GivenUp { topics, partitions, offsets } = &self.given_up;
        if !topics.is_empty() {
            let statement = session.prepare(&GIVE_UP.into(), &[]).await?;
            session.client.execute(&statement, &[&group, topics, partitions, offsets]).await?;
        }
        Ok(())
    }
}
