//! What a writer knows of its documents in one collection, and what it writes there.

use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};
use mongodb::options::ReadConcern;
use mongodb::{Collection, Database};

use super::player_id;

/// One collection, as far as one writer writes it.
#[derive(Debug)]
pub(super) struct Population {
    pub(super) collection: Collection<Document>,
    name: &'static str,
    numbers: std::ops::Range<u32>,
    /// Whether a document exists.
    alive: Vec<bool>,
    /// How often a document's user has been renamed.
    renames: Vec<u32>,
    padding: usize,
    /// Whether the collection is there for certain. A transaction that makes one stands in the way of others.
    pub(super) exists: bool,
}

/// The number in an `_id`.
const fn number_of(id: [u8; 12]) -> u32 {
    u32::from_be_bytes([id[8], id[9], id[10], id[11]])
}

/// The user name of a document. It tells the collection, also where rows of several are mixed.
fn user_name(collection: &str, number: u32, renames: u32) -> String {
    format!("{collection}-{number}-{renames}")
}

/// The collection whose documents have such a user name.
#[must_use]
pub fn home(user_name: &str) -> Option<&str> {
    Some(user_name.split_once('-')?.0)
}

impl Population {
    pub(super) fn new(
        database: &Database,
        name: &'static str,
        numbers: std::ops::Range<u32>,
        padding: usize,
    ) -> Self {
        let count = numbers.len();
        Self {
            collection: database.collection(name),
            name,
            numbers,
            alive: vec![false; count],
            renames: vec![0; count],
            padding,
            exists: false,
        }
    }

    pub(super) async fn relearn(&mut self) -> mongodb::error::Result<()> {
        let ids: Vec<ObjectId> = self.numbers.clone().map(player_id).collect();
        let mut cursor = self
            .collection
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "_id": 1 })
            .read_concern(ReadConcern::majority())
            .await?;
        self.alive.fill(false);
        while cursor.advance().await? {
            let number = cursor.current().get_object_id("_id").map(|id| id.bytes()).ok().map(number_of);
            if let Some(alive) = number.and_then(|n| self.alive.get_mut((n - self.numbers.start) as usize)) {
                *alive = true;
                self.exists = true;
            }
        }
        Ok(())
    }

    const fn index(&self, number: u32) -> usize {
        (number - self.numbers.start) as usize
    }

    pub(super) fn lives(&self, number: u32) -> bool {
        self.alive[self.index(number)]
    }

    pub(super) fn born(&mut self, number: u32) {
        let index = self.index(number);
        self.alive[index] = true;
        self.exists = true;
    }

    pub(super) fn died(&mut self, number: u32) {
        let index = self.index(number);
        self.alive[index] = false;
    }

    /// Inserts these in one command; says how many they are.
    pub(super) async fn insert(
        &mut self,
        absent: &[u32],
        random: &mut fastrand::Rng,
    ) -> mongodb::error::Result<u64> {
        let documents: Vec<Document> = absent.iter().map(|&number| self.document(number, random)).collect();
        if !documents.is_empty() {
            self.collection.insert_many(documents).await?;
        }
        for &number in absent {
            self.born(number);
        }
        Ok(absent.len() as u64)
    }

    /// A document of this number, with other values each time.
    pub(super) fn document(&self, number: u32, random: &mut fastrand::Rng) -> Document {
        let mut document = doc! {
            "_id": player_id(number),
            "username": user_name(self.name, number, self.renames[self.index(number)]),
            "level": random.i32(1..100),
            "score": random.i64(0..1 << 40),
            "created_at": DateTime::from_millis(1_705_312_200_000 + i64::from(number) * 1_001),
            "stats": { "wins": random.i32(0..1000), "ratio": random.f64() },
            "tags": ["a", "b"],
        };
        if self.padding > 0 {
            document.insert("bio", "x".repeat(self.padding));
        }
        document
    }

    /// An update of the document of this number.
    pub(super) fn change(&mut self, number: u32, random: &mut fastrand::Rng) -> Document {
        match random.u8(0..6) {
            0 => doc! { "$inc": { "score": random.i64(1..1000) } },
            1 => doc! { "$set": { "level": random.i32(1..100), "stats.wins": random.i32(0..1000) } },
            2 => doc! { "$push": { "tags": "c" } },
            // An absent level is the column's default.
            3 => doc! { "$unset": { "level": "" } },
            4 => {
                let index = self.index(number);
                self.renames[index] += 1;
                doc! { "$set": { "username": user_name(self.name, number, self.renames[index]) } }
            }
            _ => doc! { "$set": { "score": random.i64(0..1 << 40), "seen_at": DateTime::now() } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_tells_its_collection() {
        assert_eq!(home(&user_name("guests", 7, 2)), Some("guests"));
        assert_eq!(home("somebody"), None);
    }
}
