//! A Syncer of an earlier release goes on while a newer one upgrades the schema under it: its prepared statements
//! still do what they did. Its next start is refused by number.

use std::collections::HashMap;
use std::time::SystemTime;

use cdc_ports::Database;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::earlier_statements as earlier;
use crate::stand::{EPOCH, Stand, claim};

/// What the earlier release left behind, with its rows.
const VERSION_1: &str = include_str!("version_1.sql");
const GROUP: &str = "cdc-syncer";
const TABLE: &str = "public.players";
const TOPIC: &str = "cdc.game_db.players";

/// A running Syncer of the earlier release, as PostgreSQL sees it: a session with prepared statements, and what it
/// knows of its partition.
struct Earlier<'s> {
    client: &'s Client,
    prepared: HashMap<&'static str, Statement>,
    epoch: i64,
    owner: String,
}

/// An array of one value.
fn one<T>(value: T) -> Vec<T> {
    vec![value]
}

type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

impl<'s> Earlier<'s> {
    async fn start(client: &'s Client) -> Self {
        let mut prepared = HashMap::new();
        let texts = [
            earlier::ADD_MISSING,
            earlier::LOCK,
            earlier::TAKE,
            earlier::PARKED,
            earlier::CLAIM,
            earlier::CLAIMED,
            earlier::HOLD,
            earlier::CHECK,
            earlier::RECORD,
            earlier::MOVE,
            earlier::HEED,
            earlier::PARK,
            earlier::COUNT,
            earlier::READ,
            earlier::TRIED,
            earlier::UNPARK,
            earlier::UPSERT,
            earlier::DELETE,
        ];
        for text in texts {
            prepared.insert(text, client.prepare(text).await.unwrap());
        }
        Self { client, prepared, epoch: 0, owner: String::new() }
    }

    async fn rows(&self, text: &str, values: Values<'_>) -> Vec<Row> {
        self.client.query(&self.prepared[text], values).await.unwrap()
    }

    async fn changed(&self, text: &str, values: Values<'_>) -> u64 {
        self.client.execute(&self.prepared[text], values).await.unwrap()
    }

    /// Two counts, as the statements that write a table answer.
    async fn counts(&self, text: &str, values: Values<'_>) -> (i64, i64) {
        let rows = self.rows(text, values).await;
        (rows[0].get(0), rows[0].get(1))
    }

    /// Takes its partition; says where it goes on.
    async fn acquire(&mut self) -> Option<i64> {
        self.changed(earlier::ADD_MISSING, &[&GROUP, &one(TOPIC), &one(0)]).await;
        self.client.batch_execute("BEGIN").await.unwrap();
        assert_eq!(self.rows(earlier::LOCK, &[&GROUP, &one(TOPIC), &one(0)]).await.len(), 1);
        let taken = self.rows(earlier::TAKE, &[&GROUP, &one(TOPIC), &one(0)]).await;
        self.client.batch_execute("COMMIT").await.unwrap();
        (self.epoch, self.owner) = (taken[0].get(2), taken[0].get(3));
        taken[0].get(4)
    }

    async fn holds(&self) -> bool {
        let held = self
            .rows(earlier::HOLD, &[&GROUP, &one(TOPIC), &one(0), &one(self.epoch), &one(&*self.owner)])
            .await;
        !held.is_empty()
    }

    /// A batch with one of everything, of documents and positions of their own.
    async fn work(&self, round: u8, next_offset: i64) {
        let (epoch, owner) = (one(self.epoch), one(&*self.owner));
        let ours = (one(TOPIC), one(0));
        let [written, parked] = ["written", "parked"].map(|name| format!("{name}-{round}"));
        let position = |number: u8| vec![0, round, number];

        self.changed(earlier::CLAIM, &[&TABLE, &GROUP, &"game_db", &"players"]).await;
        let claimed = self.rows(earlier::CLAIMED, &[&TABLE]).await;
        assert_eq!((claimed[0].get(0), claimed[0].get(2)), (GROUP, "players"));

        self.client.batch_execute("BEGIN").await.unwrap();
        assert!(self.holds().await, "round {round}");
        let heeded = self
            .rows(earlier::HEED, &[&TABLE, &vec![&*written, &*parked], &vec![position(1), position(1)]])
            .await;
        assert_eq!((heeded.len(), heeded[0].get::<_, i64>(1)), (1, 0));
        let upsert = async |position: Vec<u8>| {
            let (none, at): (Option<&str>, _) = (None, SystemTime::now());
            let values: Values<'_> = &[
                &one(&*written),
                &one(&*written),
                &one(7),
                &one(true),
                &one(none),
                &one("insert"),
                &one(at),
                &one(position),
            ];
            self.counts(earlier::UPSERT, values).await
        };
        assert_eq!(upsert(position(1)).await, (1, 0));
        assert_eq!(upsert(position(2)).await, (0, 1));
        let bytes: &[u8] = b"{}";
        let values: Values<'_> = &[
            &TABLE,
            &GROUP,
            &one(&*parked),
            &one(position(1)),
            &one(TOPIC),
            &one(0),
            &one(next_offset),
            &one("18446744073709551615"),
            &one(bytes),
            &one(bytes),
            &one(bytes),
            &one(0_i64),
            &one(Some("unique_username")),
        ];
        assert_eq!(self.changed(earlier::PARK, values).await, 1);
        self.client.batch_execute("COMMIT").await.unwrap();

        let recorded =
            self.rows(earlier::RECORD, &[&GROUP, &ours.0, &ours.1, &epoch, &owner, &one(next_offset)]).await;
        assert_eq!(recorded[0].get::<_, i64>(2), next_offset);
        let checked = self.rows(earlier::CHECK, &[&GROUP, &ours.0, &ours.1, &epoch, &owner]).await;
        assert_eq!(checked[0].get::<_, Option<i64>>(2), Some(next_offset));

        let counted = self.rows(earlier::PARKED, &[&GROUP, &ours.0, &ours.1, &1]).await;
        assert_eq!(counted[0].get::<_, i64>(3), 1);
        let counted = self.rows(earlier::COUNT, &[&GROUP, &ours.0, &ours.1, &1, &0]).await;
        assert_eq!(counted[0].get::<_, i64>(2), 1);
        let tried = self.changed(earlier::TRIED, &[&one(TABLE), &one(&*parked), &one(Some("another"))]).await;
        let read = self.rows(earlier::READ, &[&GROUP, &ours.0, &ours.1, &1, &0, &10_i64, &1_000_i64]).await;
        assert_eq!((tried, read.len(), read[0].get::<_, &str>(1)), (1, 1, &*parked));
        assert_eq!(self.changed(earlier::UNPARK, &[&one(TABLE), &one(&*parked)]).await, 1);

        let buried =
            self.counts(earlier::DELETE, &[&one(&*written), &one(&*written), &one(position(3))]).await;
        assert_eq!(buried, (1, 1));
        assert_eq!(upsert(position(2)).await, (0, 0), "the tombstone fences");
        let values: Values<'_> = &[
            &GROUP,
            &ours.0,
            &ours.1,
            &epoch,
            &owner,
            &one(next_offset),
            &one(next_offset + 1),
            &one("truncated"),
        ];
        assert_eq!(self.rows(earlier::MOVE, values).await.len(), 1);
    }
}

#[tokio::test]
async fn a_running_syncer_of_the_earlier_release_outlives_the_upgrade() {
    let stand = Stand::new(VERSION_1).await;
    let mut earlier = Earlier::start(&stand.client).await;
    assert_eq!(earlier.acquire().await, Some(7));
    earlier.work(1, 8).await;

    let newer = stand.connected().await;
    let version: i32 = stand.text("SELECT version FROM cdc.version").await.unwrap().parse().unwrap();
    assert!(version > 1, "{version}");
    earlier.work(2, 20).await;
    assert_eq!(earlier.acquire().await, Some(21));
    earlier.work(3, 30).await;
    assert_eq!(stand.count("cdc.gaps").await, 3);
    assert_eq!(stand.count("cdc.tombstones").await, 3);

    // The newer one takes the partition over, and goes on where the earlier one stood.
    let taken = newer.acquire(&[claim(EPOCH)], 1).await.unwrap();
    assert_eq!(taken[0].next_offset, Some(31));
    assert!(!earlier.holds().await, "what was taken from it is refused to it");
}

#[tokio::test]
async fn the_next_start_of_the_earlier_release_is_refused_by_number() {
    let stand = Stand::new(VERSION_1).await;
    stand.connected().await;
    // It finds its tables, and a version beyond the one that it knows.
    assert!(stand.client.query_one(earlier::IS_COMPLETE, &[]).await.unwrap().get::<_, bool>(0));
    let found: i32 = stand.client.query_one(earlier::VERSION, &[]).await.unwrap().get(0);
    assert!(found > 1, "{found}");
}
