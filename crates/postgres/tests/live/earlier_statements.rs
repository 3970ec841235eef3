//! The statements of release 0.1.0 at 8d728b8 that name tables of the schema `cdc`, letter by letter, and what it
//! made of the table `players` of the dump beside it.

pub(crate) const ADD_MISSING: &str = "\
INSERT INTO cdc.partitions (consumer_group, topic, partition) \
SELECT $1, c.topic, c.partition FROM unnest($2::text[], $3::int[]) AS c(topic, partition) \
ON CONFLICT DO NOTHING";

pub(crate) const LOCK: &str = "\
SELECT txid_current() FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 ORDER BY p.topic, p.partition FOR UPDATE OF p";

pub(crate) const TAKE: &str = "\
UPDATE cdc.partitions AS p SET epoch = p.epoch + 1, owner = gen_random_uuid()::text \
FROM unnest($2::text[], $3::int[]) AS c(topic, partition) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
RETURNING p.topic, p.partition, p.epoch, p.owner, p.next_offset";

pub(crate) const PARKED: &str = "\
SELECT p.topic, p.partition, mod(p.route, $4::int)::int, count(*) FROM cdc.parked AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 GROUP BY 1, 2, 3";

pub(crate) const CLAIM: &str = "\
INSERT INTO cdc.tables (table_name, consumer_group, database_name, collection_name) \
VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

pub(crate) const CLAIMED: &str =
    "SELECT consumer_group, database_name, collection_name FROM cdc.tables WHERE table_name = $1";

pub(crate) const HOLD: &str = "\
SELECT p.topic, p.partition, p.next_offset, txid_current() FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[], $4::bigint[], $5::text[]) AS c(topic, partition, epoch, owner) \
ON p.topic = c.topic AND p.partition = c.partition AND p.epoch = c.epoch AND p.owner = c.owner \
WHERE p.consumer_group = $1 ORDER BY p.topic, p.partition FOR KEY SHARE OF p";

pub(crate) const CHECK: &str = "\
SELECT p.topic, p.partition, p.next_offset FROM cdc.partitions AS p \
JOIN unnest($2::text[], $3::int[], $4::bigint[], $5::text[]) AS c(topic, partition, epoch, owner) \
ON p.topic = c.topic AND p.partition = c.partition AND p.epoch = c.epoch AND p.owner = c.owner \
WHERE p.consumer_group = $1";

pub(crate) const RECORD: &str = "\
UPDATE cdc.partitions AS p SET next_offset = c.next_offset \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::bigint[]) \
AS c(topic, partition, epoch, owner, next_offset) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner RETURNING p.topic, p.partition, p.next_offset";

pub(crate) const MOVE: &str = "\
WITH moved AS (UPDATE cdc.partitions AS p SET next_offset = c.to_offset \
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::text[]) \
AS c(topic, partition, epoch, owner, from_offset, to_offset, cause) \
WHERE p.consumer_group = $1 AND p.topic = c.topic AND p.partition = c.partition \
AND p.epoch = c.epoch AND p.owner = c.owner \
RETURNING p.topic, p.partition, p.next_offset, c.from_offset, c.cause), \
noted AS (INSERT INTO cdc.gaps (consumer_group, topic, partition, from_offset, to_offset, cause) \
SELECT $1, topic, partition, from_offset, next_offset, cause FROM moved) \
SELECT topic, partition, next_offset FROM moved";

pub(crate) const HEED: &str = "\
WITH s AS (SELECT * FROM unnest($2::text[], $3::bytea[]) AS s(id, position)), \
replaced AS (DELETE FROM cdc.parked AS p USING s \
WHERE p.table_name = $1 AND p.id = s.id AND p.position < s.position RETURNING 1) \
SELECT NULL::text, (SELECT count(*) FROM replaced) \
UNION ALL SELECT s.id, 0::bigint FROM s JOIN cdc.parked AS p ON p.table_name = $1 AND p.id = s.id \
WHERE p.position >= s.position";

pub(crate) const PARK: &str = "\
INSERT INTO cdc.parked AS p (table_name, id, position, consumer_group, topic, partition, record_offset, route, \
key, value, headers, timestamp_ms, constraint_name) \
SELECT $1, s.id, s.position, $2, s.topic, s.partition, s.record_offset, s.route::numeric, \
s.key, s.value, s.headers, s.timestamp_ms, s.constraint_name \
FROM unnest($3::text[], $4::bytea[], $5::text[], $6::int[], $7::bigint[], $8::text[], $9::bytea[], $10::bytea[], \
$11::bytea[], $12::bigint[], $13::text[]) \
AS s(id, position, topic, partition, record_offset, route, key, value, headers, timestamp_ms, constraint_name) \
ON CONFLICT (table_name, id) DO UPDATE SET position = excluded.position, record_offset = excluded.record_offset, \
value = excluded.value, headers = excluded.headers, timestamp_ms = excluded.timestamp_ms, \
constraint_name = excluded.constraint_name, attempts = 0, parked_at = excluded.parked_at \
WHERE excluded.position > p.position";

pub(crate) const COUNT: &str = "\
SELECT c.topic, c.partition, \
(SELECT count(*) FROM cdc.parked AS p WHERE p.consumer_group = $1 AND p.topic = c.topic \
AND p.partition = c.partition AND mod(p.route, $4::int) = $5::int) \
FROM unnest($2::text[], $3::int[]) AS c(topic, partition)";

pub(crate) const READ: &str = "\
SELECT table_name, id, topic, partition, record_offset, route::text, key, value, headers, timestamp_ms FROM \
(SELECT q.*, sum(octet_length(value)) OVER w AS bytes, row_number() OVER w AS number FROM \
(SELECT p.* FROM cdc.parked AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 AND mod(p.route, $4::int) = $5::int \
ORDER BY p.attempts, p.parked_at, p.table_name, p.id LIMIT $6) AS q \
WINDOW w AS (ORDER BY q.attempts, q.parked_at, q.table_name, q.id)) AS r \
WHERE number = 1 OR bytes <= $7 ORDER BY number";

pub(crate) const TRIED: &str = "\
UPDATE cdc.parked AS p SET attempts = p.attempts + 1, constraint_name = coalesce(s.constraint_name, p.constraint_name) \
FROM unnest($1::text[], $2::text[], $3::text[]) AS s(table_name, id, constraint_name) \
WHERE p.table_name = s.table_name AND p.id = s.id";

pub(crate) const UNPARK: &str = "\
DELETE FROM cdc.parked AS p USING unnest($1::text[], $2::text[]) AS s(table_name, id) \
WHERE p.table_name = s.table_name AND p.id = s.id";

pub(crate) const UPSERT: &str = "\
WITH written AS (INSERT INTO \"public\".\"players\" AS t (\"id\", \"username\", \"level\", \"note\", \"cdc_operation\", \
\"cdc_timestamp\", \"cdc_position\") SELECT s.c0, s.c1, CASE WHEN s.p2 THEN s.c2 ELSE 1 END, s.c3, s.c4, s.c5, s.c6 \
FROM unnest($1::text[], $2::text[], $3::integer[], $4::boolean[], $5::text[], $6::text[], $7::timestamp[], \
$8::bytea[]) AS s(c0, c1, c2, p2, c3, c4, c5, c6) WHERE NOT EXISTS (SELECT FROM cdc.tombstones AS d \
WHERE d.table_name = 'public.players' AND d.id = s.c0 AND d.position >= s.c6) ON CONFLICT (\"id\") DO UPDATE SET \
\"username\" = excluded.\"username\", \"level\" = excluded.\"level\", \"note\" = excluded.\"note\", \
\"cdc_operation\" = excluded.\"cdc_operation\", \"cdc_timestamp\" = excluded.\"cdc_timestamp\", \
\"cdc_position\" = excluded.\"cdc_position\" WHERE t.\"cdc_position\" IS NULL OR \
excluded.\"cdc_position\" > t.\"cdc_position\" RETURNING (t.xmax = 0) AS fresh) \
SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh) FROM written";

pub(crate) const DELETE: &str = "\
WITH s AS (SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) AS s(id, k, position)), \
buried AS (INSERT INTO cdc.tombstones AS d (table_name, id, position) \
SELECT 'public.players', s.k, s.position FROM s \
ON CONFLICT (table_name, id) DO UPDATE SET position = excluded.position WHERE excluded.position > d.position), \
deleted AS (DELETE FROM \"public\".\"players\" AS t USING s WHERE t.\"id\" = s.id \
AND (t.\"cdc_position\" IS NULL OR t.\"cdc_position\" < s.position) RETURNING 1) \
SELECT (SELECT count(*) FROM deleted), \
(SELECT count(*) FROM \"public\".\"players\" AS t, s WHERE t.\"id\" = s.id)";

/// By which it sees at its start whether its schema is there.
pub(crate) const IS_COMPLETE: &str = "\
SELECT to_regclass('cdc.version') IS NOT NULL AND to_regclass('cdc.partitions') IS NOT NULL \
AND to_regclass('cdc.gaps') IS NOT NULL AND to_regclass('cdc.tombstones') IS NOT NULL \
AND to_regclass('cdc.tables') IS NOT NULL AND to_regclass('cdc.parked') IS NOT NULL";

/// By which it refuses at its start a schema that is newer than the version 1 that it knows.
pub(crate) const VERSION: &str = "SELECT version FROM cdc.version";
