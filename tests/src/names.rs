//! Players whose unique user names change hands: swaps, cycles and hand-overs, random but repeatable.
//!
//! MongoDB has no unique index here. After each operation all names differ; while one is under way they need
//! not, unless it is a transaction.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bson::{DateTime, Document, doc};
use cdc_devstack::workload::player_id;
use mongodb::{Client, Collection};
use tokio::task::JoinSet;

use crate::Failure;

/// Writers under way, each with players of its own.
#[derive(Debug)]
pub struct Namings {
    writers: JoinSet<Result<(), mongodb::error::Error>>,
    operations: Arc<AtomicU64>,
}

impl Namings {
    /// Starts `writers` writers with `players` players each; they end after `operations` operations each.
    #[must_use]
    pub fn start(
        client: &Client,
        database: &str,
        (writers, players, operations): (u32, u32, u64),
        seed: u64,
    ) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let mut set = JoinSet::new();
        for number in 0..writers {
            let range = number * players..(number + 1) * players;
            let mut writer = NameWriter::new(client, database, seed + u64::from(number), range);
            let done = Arc::clone(&done);
            set.spawn(async move {
                writer.insert_all().await?;
                for _ in 0..operations {
                    writer.step().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { writers: set, operations: done }
    }

    /// Swaps, cycles and hand-overs done so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Waits for all writers.
    ///
    /// # Errors
    /// If one failed.
    pub async fn finish(mut self) -> Result<u64, Failure> {
        while let Some(writer) = self.writers.join_next().await {
            writer??;
        }
        Ok(self.operations.load(Ordering::Relaxed))
    }
}

/// What becomes of one player's document.
#[derive(Clone, Debug)]
enum Change {
    Rename(String),
    Delete,
    Insert(String),
}

struct NameWriter {
    collection: Collection<Document>,
    client: Client,
    random: fastrand::Rng,
    players: Range<u32>,
    /// The names of those that exist.
    names: BTreeMap<u32, String>,
    /// Names ever made up.
    made_up: u32,
}

impl NameWriter {
    fn new(client: &Client, database: &str, seed: u64, players: Range<u32>) -> Self {
        Self {
            collection: client.database(database).collection("players"),
            client: client.clone(),
            random: fastrand::Rng::with_seed(seed),
            players,
            names: BTreeMap::new(),
            made_up: 0,
        }
    }

    fn new_name(&mut self) -> String {
        self.made_up += 1;
        format!("name {} of {}", self.made_up, self.players.start)
    }

    async fn insert_all(&mut self) -> mongodb::error::Result<()> {
        let mut documents = Vec::new();
        for number in self.players.clone() {
            let name = self.new_name();
            documents.push(document(number, &name));
            self.names.insert(number, name);
        }
        self.collection.insert_many(documents).await?;
        Ok(())
    }

    /// So many different players that exist, as far as there are.
    fn some(&mut self, count: usize) -> Vec<u32> {
        let mut there: Vec<u32> = self.names.keys().copied().collect();
        self.random.shuffle(&mut there);
        there.truncate(count);
        there
    }

    async fn step(&mut self) -> mongodb::error::Result<()> {
        let changes = match self.random.u8(0..100) {
            0..45 => self.rotate(2),
            45..65 => {
                let count = self.random.usize(3..6);
                self.rotate(count)
            }
            65..85 => self.hand_over(),
            _ => self.inherit(),
        };
        for (number, change) in &changes {
            match change {
                Change::Rename(name) | Change::Insert(name) => {
                    drop(self.names.insert(*number, name.clone()));
                }
                Change::Delete => drop(self.names.remove(number)),
            }
        }
        if self.random.bool() { self.in_transaction(&changes).await } else { self.one_by_one(&changes).await }
    }

    /// Each gets the name of the next: a swap, where there are two.
    fn rotate(&mut self, count: usize) -> Vec<(u32, Change)> {
        let chosen = self.some(count);
        let names: Vec<String> = chosen.iter().map(|number| self.names[number].clone()).collect();
        let next = names.iter().cycle().skip(1);
        chosen.iter().zip(next).map(|(number, name)| (*number, Change::Rename(name.clone()))).collect()
    }

    /// One takes another's name, and that one a new one.
    fn hand_over(&mut self) -> Vec<(u32, Change)> {
        let chosen = self.some(2);
        let [from, to] = chosen[..] else { return Vec::new() };
        let (name, fresh) = (self.names[&from].clone(), self.new_name());
        vec![(from, Change::Rename(fresh)), (to, Change::Rename(name))]
    }

    /// One is deleted, and another takes its name; one that does not exist comes back under a new one.
    fn inherit(&mut self) -> Vec<(u32, Change)> {
        let chosen = self.some(2);
        let [gone, heir] = chosen[..] else { return Vec::new() };
        let mut changes = vec![(gone, Change::Delete), (heir, Change::Rename(self.names[&gone].clone()))];
        let absent: Vec<u32> =
            self.players.clone().filter(|number| !self.names.contains_key(number)).collect();
        if let Some(number) = self.random.choice(absent) {
            changes.push((number, Change::Insert(self.new_name())));
        }
        changes
    }

    async fn in_transaction(&self, changes: &[(u32, Change)]) -> mongodb::error::Result<()> {
        let mut session = self.client.start_session().await?;
        session.start_transaction().await?;
        for (number, change) in changes {
            let filter = doc! { "_id": player_id(*number) };
            match change {
                Change::Rename(name) => {
                    let update = doc! { "$set": { "username": name } };
                    self.collection.update_one(filter, update).session(&mut session).await?;
                }
                Change::Delete => {
                    self.collection.delete_one(filter).session(&mut session).await?;
                }
                Change::Insert(name) => {
                    self.collection.insert_one(document(*number, name)).session(&mut session).await?;
                }
            }
        }
        session.commit_transaction().await
    }

    async fn one_by_one(&self, changes: &[(u32, Change)]) -> mongodb::error::Result<()> {
        for (number, change) in changes {
            let filter = doc! { "_id": player_id(*number) };
            match change {
                Change::Rename(name) => {
                    self.collection.update_one(filter, doc! { "$set": { "username": name } }).await?;
                }
                Change::Delete => {
                    self.collection.delete_one(filter).await?;
                }
                Change::Insert(name) => drop(self.collection.insert_one(document(*number, name)).await?),
            }
        }
        Ok(())
    }
}

fn document(number: u32, name: &str) -> Document {
    doc! {
        "_id": player_id(number),
        "username": name,
        "level": 1,
        "score": i64::from(number),
        "created_at": DateTime::from_millis(1_705_312_200_000 + i64::from(number)),
    }
}
