//! A live stream of changes on several collections at once, random but repeatable from a seed: inserts, updates,
//! replaces, deletes, bulk writes and transactions across collections. The collections share their `_id`s, and no
//! two documents of one `_id` are alike.

mod population;

use bson::doc;
use bson::oid::ObjectId;
use mongodb::options::ReturnDocument;
use mongodb::{Client, Database};

use self::population::Population;
pub use self::population::home;
use crate::source::Source;

/// Documents of one command of an import, at most.
const IMPORT_COMMAND: u32 = 500;

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

    const fn of_inserts(inserts: u64) -> Self {
        Self { inserts, updates: 0, replaces: 0, deletes: 0 }
    }

    const fn of_updates(updates: u64) -> Self {
        Self { inserts: 0, updates, replaces: 0, deletes: 0 }
    }
}

/// One writer with a range of numbers of its own, so that writers never meet in a document and each user name
/// stays unique.
#[derive(Debug)]
pub struct Writer {
    client: Client,
    random: fastrand::Rng,
    numbers: std::ops::Range<u32>,
    /// What it knows of each collection.
    populations: Vec<Population>,
}

/// The `_id` of a document: the same for the same number, in every collection and in every run.
#[must_use]
pub fn player_id(number: u32) -> ObjectId {
    let mut bytes = *b"\x65\xa5\x3a\x00player\0\0";
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

impl Writer {
    /// A writer of documents with these numbers, none of which exists yet. `padding` bytes of text go into each.
    #[must_use]
    pub fn new(
        client: &Client,
        source: &Source,
        seed: u64,
        numbers: std::ops::Range<u32>,
        padding: usize,
    ) -> Self {
        let database: Database = client.database(&source.database);
        let population = |name| Population::new(&database, name, numbers.clone(), padding);
        Self {
            client: client.clone(),
            random: fastrand::Rng::with_seed(seed),
            populations: source.names().map(population).collect(),
            numbers,
        }
    }

    /// Reads again which of its documents exist: after an error nobody knows whether the operation was applied.
    ///
    /// # Errors
    /// Whatever MongoDB says.
    pub async fn relearn(&mut self) -> mongodb::error::Result<()> {
        for population in &mut self.populations {
            population.relearn().await?;
        }
        Ok(())
    }

    /// Inserts three quarters of its documents that do not exist, others in each collection, in commands of some
    /// hundreds. What follows closely has `_id`s of its own, in whichever collection; the namesakes come in a later
    /// round, and any of them may be the newer.
    ///
    /// # Errors
    /// Whatever MongoDB says.
    pub async fn import(&mut self) -> mongodb::error::Result<Applied> {
        let mut applied = Applied::default();
        let count = self.populations.len();
        for round in 0..count {
            for (index, start) in self.numbers.clone().step_by(IMPORT_COMMAND as usize).enumerate() {
                let population = &mut self.populations[(index + round) % count];
                let numbers = start..self.numbers.end.min(start + IMPORT_COMMAND);
                let absent: Vec<u32> =
                    numbers.filter(|&number| !population.lives(number) && self.random.u8(0..4) > 0).collect();
                applied.add(Applied::of_inserts(population.insert(&absent, &mut self.random).await?));
            }
        }
        Ok(applied)
    }

    fn any(&mut self) -> u32 {
        self.random.u32(self.numbers.clone())
    }

    /// The index of a collection.
    fn any_population(&mut self) -> usize {
        self.random.usize(0..self.populations.len())
    }

    /// Applies one random operation and waits for its acknowledgement by a majority.
    ///
    /// # Errors
    /// Whatever MongoDB says.
    pub async fn step(&mut self) -> mongodb::error::Result<Applied> {
        let (of, number) = (self.any_population(), self.any());
        if !self.populations[of].lives(number) {
            return self.insert(of, number).await;
        }
        match self.random.u8(0..100) {
            0..55 => self.update(of, number).await,
            55..75 => self.replace(of, number).await,
            75..90 => self.delete(of, number).await,
            90..95 => self.bulk(of).await,
            _ if self.populations.iter().all(|population| population.exists) => self.transaction().await,
            _ => self.update(of, number).await,
        }
    }

    async fn insert(&mut self, of: usize, number: u32) -> mongodb::error::Result<Applied> {
        let population = &mut self.populations[of];
        let document = population.document(number, &mut self.random);
        population.collection.insert_one(document).await?;
        population.born(number);
        Ok(Applied::of_inserts(1))
    }

    async fn update(&mut self, of: usize, number: u32) -> mongodb::error::Result<Applied> {
        let population = &mut self.populations[of];
        let change = population.change(number, &mut self.random);
        let result = population.collection.update_one(doc! { "_id": player_id(number) }, change).await?;
        Ok(Applied::of_updates(result.modified_count))
    }

    async fn replace(&mut self, of: usize, number: u32) -> mongodb::error::Result<Applied> {
        let population = &mut self.populations[of];
        let document = population.document(number, &mut self.random);
        let before = population
            .collection
            .find_one_and_replace(doc! { "_id": player_id(number) }, &document)
            .return_document(ReturnDocument::Before)
            .await?;
        // A replacement by an equal document is no change.
        Ok(Applied { replaces: u64::from(before.as_ref() != Some(&document)), ..Applied::default() })
    }

    async fn delete(&mut self, of: usize, number: u32) -> mongodb::error::Result<Applied> {
        let population = &mut self.populations[of];
        population.collection.delete_one(doc! { "_id": player_id(number) }).await?;
        population.died(number);
        Ok(Applied { deletes: 1, ..Applied::default() })
    }

    /// Inserts up to 20 documents that do not exist, in one command.
    async fn bulk(&mut self, of: usize) -> mongodb::error::Result<Applied> {
        let start = self.any();
        let population = &mut self.populations[of];
        let rest = start..self.numbers.end;
        let absent: Vec<u32> = rest.clone().filter(|&number| !population.lives(number)).take(20).collect();
        if absent.is_empty() {
            let ids: Vec<ObjectId> = rest.take(20).map(player_id).collect();
            let filter = doc! { "_id": { "$in": ids } };
            let result =
                population.collection.update_many(filter, doc! { "$inc": { "score": 1_i64 } }).await?;
            return Ok(Applied::of_updates(result.modified_count));
        }
        Ok(Applied::of_inserts(population.insert(&absent, &mut self.random).await?))
    }

    /// Changes one document twice, its namesake in another collection, and two more, in one transaction.
    async fn transaction(&mut self) -> mongodb::error::Result<Applied> {
        let mut session = self.client.start_session().await?;
        session.start_transaction().await?;
        let mut applied = Applied::default();
        let mut born = Vec::new();
        let first = (self.any_population(), self.any());
        let namesake = (self.any_population(), first.1);
        let others = [(self.any_population(), self.any()), (self.any_population(), self.any())];
        for (of, number) in [first, namesake, others[0], others[1], first] {
            let population = &mut self.populations[of];
            if population.lives(number) || born.contains(&(of, number)) {
                let result = population
                    .collection
                    .update_one(doc! { "_id": player_id(number) }, doc! { "$inc": { "score": 7_i64 } })
                    .session(&mut session)
                    .await?;
                applied.updates += result.modified_count;
            } else {
                let document = population.document(number, &mut self.random);
                population.collection.insert_one(document).session(&mut session).await?;
                born.push((of, number));
                applied.inserts += 1;
            }
        }
        session.commit_transaction().await?;
        for (of, number) in born {
            self.populations[of].born(number);
        }
        Ok(applied)
    }
}
