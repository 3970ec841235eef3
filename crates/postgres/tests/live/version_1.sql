-- What release 0.1.0 at 8d728b8 leaves behind: its bookkeeping of version 1 with a typed table and a mirror
-- (pg_dump --no-owner --inserts, PostgreSQL 15).

CREATE SCHEMA cdc;

CREATE TABLE cdc.gaps (
    id bigint NOT NULL,
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    cause text NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE cdc.gaps ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cdc.gaps_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE cdc.parked (
    table_name text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    "position" bytea NOT NULL,
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    route numeric(20,0) NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    headers bytea NOT NULL,
    timestamp_ms bigint NOT NULL,
    constraint_name text,
    attempts integer DEFAULT 0 NOT NULL,
    parked_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE cdc.partitions (
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    owner text,
    next_offset bigint
);

CREATE TABLE cdc.tables (
    table_name text NOT NULL,
    consumer_group text NOT NULL,
    database_name text NOT NULL,
    collection_name text NOT NULL
);

CREATE TABLE cdc.tombstones (
    table_name text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    "position" bytea NOT NULL
);

CREATE TABLE cdc.version (
    only_row boolean DEFAULT true NOT NULL,
    version integer NOT NULL,
    CONSTRAINT version_only_row_check CHECK (only_row)
);

CREATE TABLE public.players (
    id character varying(24) NOT NULL,
    username character varying(255) NOT NULL,
    level integer DEFAULT 1 NOT NULL,
    note text,
    cdc_operation character varying(20),
    cdc_timestamp timestamp without time zone,
    cdc_position bytea
);

CREATE TABLE public.things (
    id text NOT NULL,
    document jsonb,
    bson_types jsonb,
    cdc_operation text,
    cdc_timestamp timestamp with time zone,
    cdc_position bytea
);

INSERT INTO cdc.partitions VALUES ('cdc-syncer', 'cdc.game_db.players', 0, 3, 'an-owner', 7);

INSERT INTO cdc.tables VALUES ('public.players', 'cdc-syncer', 'game_db', 'players');
INSERT INTO cdc.tables VALUES ('public.things', 'cdc-syncer', 'game_db', 'things');

INSERT INTO cdc.version VALUES (true, 1);

ALTER TABLE ONLY cdc.gaps
    ADD CONSTRAINT gaps_pkey PRIMARY KEY (id);

ALTER TABLE ONLY cdc.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (table_name, id);

ALTER TABLE ONLY cdc.partitions
    ADD CONSTRAINT partitions_pkey PRIMARY KEY (consumer_group, topic, partition);

ALTER TABLE ONLY cdc.tables
    ADD CONSTRAINT tables_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY cdc.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY (table_name, id);

ALTER TABLE ONLY cdc.version
    ADD CONSTRAINT version_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY public.players
    ADD CONSTRAINT players_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.things
    ADD CONSTRAINT things_pkey PRIMARY KEY (id);

CREATE INDEX parked_by_partition ON cdc.parked USING btree (consumer_group, topic, partition);

