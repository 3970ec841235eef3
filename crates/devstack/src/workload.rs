//! A live stream of changes on the `players` collection, random but repeatable from a seed: inserts,
//! updates, replaces, deletes, bulk writes and transactions.

use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};
use mongodb::options::{ReadConcern, ReturnDocument};
use mongodb::{Client, Collection};

/// How many operations of each kind were acknowledged by MongoDB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Documents inserted.
    pub inserts: u64,
    /// Documents updated.
    pub updates: u64,
    /// Documents replaced.
    pub replaces: u64,
    /// Documents deleted.
    pub deletes: u64,
}

impl Applied {
    /// Changes of every kind: as many change events follow.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.inserts + self.updates + self.replaces + self.deletes
    }

    /// Adds another count to this one.
    pub const fn add(&mut self, other: Self) {
        self.inserts += other.inserts;
        self.updates += other.updates;
        self.replaces += other.replaces;
        self.deletes += other.deletes;
    }
}

/// One writer with a range of players of its own, so that writers never meet in a document and each
/// player's user name stays unique.
#[derive(Debug)]
pub struct Writer {
    collection: Collection<Document>,
    client: Client,
    random: fastrand::Rng,
    players: std::ops::Range<u32>,
    /// Whether a player's document exists.
    alive: Vec<bool>,
    /// How often a player has been renamed.
    renames: Vec<u32>,
    padding: usize,
}

/// The `_id` of a player: the same for the same number, in every run.
#[must_use]
pub fn player_id(number: u32) -> ObjectId {
    let mut bytes = *b"\x65\xa5\x3a\x00player\0\0";
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// The number in a player's `_id`.
const fn player_number(id: [u8; 12]) -> u32 {
    u32::from_be_bytes([id[8], id[9], id[10], id[11]])
}

impl Writer {
    /// A writer for these players, none of which exists yet. `padding` bytes of text go into each document.
    #[must_use]
    pub fn new(
        client: &Client,
        database: &str,
        seed: u64,
        players: std::ops::Range<u32>,
        padding: usize,
    ) -> Self {
        let count = players.len();
        Self {
            collection: client.database(database).collection("players"),
            client: client.clone(),
            random: fastrand::Rng::with_seed(seed),
            players,
            alive: vec![false; count],
            renames: vec![0; count],
            padding,
        }
    }

    /// Reads again which of its players exist: after an error nobody knows whether the operation was applied.
    ///
    /// # Errors
    /// Whatever MongoDB says.
    pub async fn relearn(&mut self) -> mongodb::error::Result<()> {
        let ids: Vec<ObjectId> = self.players.clone().map(player_id).collect();
        let mut cursor = self
            .collection
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "_id": 1 })
            .read_concern(ReadConcern::majority())
            .await?;
        self.alive.fill(false);
        while cursor.advance().await? {
            let number = cursor.current().get_object_id("_id").map(|id| id.bytes()).ok().map(player_number);
            if let Some(alive) = number.and_then(|n| self.alive.get_mut((n - self.players.start) as usize)) {
                *alive = true;
            }
        }
        Ok(())
    }

    fn index(&self, number: u32) -> usize {
        (number - self.players.start) as usize
    }

    fn any(&mut self) -> u32 {
        self.random.u32(self.players.clone())
    }

    fn document(&mut self, number: u32) -> Document {
        let renames = self.renames[self.index(number)];
        let mut document = doc! {
            "_id": player_id(number),
            "username": format!("player-{number}-{renames}"),
            "level": self.random.i32(1..100),
            "score": self.random.i64(0..1 << 40),
            "created_at": DateTime::from_millis(1_705_312_200_000 + i64::from(number) * 1_001),
            "stats": { "wins": self.random.i32(0..1000), "ratio": self.random.f64() },
            "tags": ["a", "b"],
        };
        if self.padding > 0 {
            document.insert("bio", "x".repeat(self.padding));
        }
        document
    }

    fn change(&mut self, number: u32) -> Document {
        match self.random.u8(0..6) {
            0 => doc! { "$inc": { "score": self.random.i64(1..1000) } },
            1 => {
                doc! { "$set": { "level": self.random.i32(1..100), "stats.wins": self.random.i32(0..1000) } }
            }
            2 => doc! { "$push": { "tags": "c" } },
            // An absent level is the column's default.
            3 => doc! { "$unset": { "level": "" } },
            4 => {
                let index = self.index(number);
                self.renames[index] += 1;
                doc! { "$set": { "username": format!("player-{number}-{}", self.renames[index]) } }
            }
            _ => doc! { "$set": { "score": self.random.i64(0..1 << 40), "seen_at": DateTime::now() } },
        }
    }

    /// Applies one random operation and waits for its acknowledgement by a majority.
    ///
    /// # Errors
    /// Whatever MongoDB says.
    pub async fn step(&mut self) -> mongodb::error::Result<Applied> {
        let number = self.any();
        if !self.alive[self.index(number)] {
            return self.insert(number).await;
        }
        match self.random.u8(0..100) {
            0..55 => self.update(number).await,
            55..75 => self.replace(number).await,
            75..90 => self.delete(number).await,
            90..95 => self.bulk().await,
            _ => self.transaction().await,
        }
    }

    async fn insert(&mut self, number: u32) -> mongodb::error::Result<Applied> {
        let document = self.document(number);
        self.collection.insert_one(document).await?;
        let index = self.index(number);
        self.alive[index] = true;
        Ok(Applied { inserts: 1, ..Applied::default() })
    }

    async fn update(&mut self, number: u32) -> mongodb::error::Result<Applied> {
        let change = self.change(number);
        let result = self.collection.update_one(doc! { "_id": player_id(number) }, change).await?;
        Ok(Applied { updates: result.modified_count, ..Applied::default() })
    }

    async fn replace(&mut self, number: u32) -> mongodb::error::Result<Applied> {
        let document = self.document(number);
        let before = self
            .collection
            .find_one_and_replace(doc! { "_id": player_id(number) }, &document)
            .return_document(ReturnDocument::Before)
            .await?;
        // A replacement by an equal document is no change.
        Ok(Applied { replaces: u64::from(before.as_ref() != Some(&document)), ..Applied::default() })
    }

    async fn delete(&mut self, number: u32) -> mongodb::error::Result<Applied> {
        self.collection.delete_one(doc! { "_id": player_id(number) }).await?;
        let index = self.index(number);
        self.alive[index] = false;
        Ok(Applied { deletes: 1, ..Applied::default() })
    }

    /// Inserts up to 20 players that do not exist, in one command.
    async fn bulk(&mut self) -> mongodb::error::Result<Applied> {
        let start = self.any();
        let absent: Vec<u32> =
            (start..self.players.end).filter(|&number| !self.alive[self.index(number)]).take(20).collect();
        if absent.is_empty() {
            let filter = doc! { "_id": { "$in": (start..self.players.end).take(20).map(player_id).collect::<Vec<_>>() } };
            let result = self.collection.update_many(filter, doc! { "$inc": { "score": 1_i64 } }).await?;
            return Ok(Applied { updates: result.modified_count, ..Applied::default() });
        }
        let documents: Vec<Document> = absent.iter().map(|&number| self.document(number)).collect();
        self.collection.insert_many(documents).await?;
        for number in &absent {
            let index = self.index(*number);
            self.alive[index] = true;
        }
        Ok(Applied { inserts: absent.len() as u64, ..Applied::default() })
    }

    /// Changes three players in one transaction, one of them twice.
    async fn transaction(&mut self) -> mongodb::error::Result<Applied> {
        let mut session = self.client.start_session().await?;
        session.start_transaction().await?;
        let mut applied = Applied::default();
        let mut born = Vec::new();
        let first = self.any();
        for number in [first, self.any(), self.any(), first] {
            if self.alive[self.index(number)] || born.contains(&number) {
                let result = self
                    .collection
                    .update_one(doc! { "_id": player_id(number) }, doc! { "$inc": { "score": 7_i64 } })
                    .session(&mut session)
                    .await?;
                applied.updates += result.modified_count;
            } else {
                let document = self.document(number);
                self.collection.insert_one(document).session(&mut session).await?;
                born.push(number);
                applied.inserts += 1;
            }
        }
        session.commit_transaction().await?;
        for number in born {
            let index = self.index(number);
            self.alive[index] = true;
        }
        Ok(applied)
    }
}
