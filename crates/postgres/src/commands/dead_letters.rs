//! The table `cdc.dead_letters`: which dead letters are done with, and how. The topics keep them; what stands in no row
//! is open.

use cdc_machine::Fault;
use cdc_ports::Failure;

use crate::bookkeeping;
use crate::database::PostgresDatabase;
use crate::server::deadline::bounded;
use crate::server::pool::{Loan, Pool};
use crate::server::trouble::Trouble;

const OPERATION: &str = "dead_letters";

const READ: &str = "\
SELECT s.n, d.outcome, d.because, to_char(d.done_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) WITH ORDINALITY \
AS s(topic, partition, letter_offset, written_ms, n) \
JOIN cdc.dead_letters AS d ON d.topic = s.topic AND d.partition = s.partition \
AND d.letter_offset = s.letter_offset AND d.written_ms = s.written_ms";

const MARK: &str = "\
INSERT INTO cdc.dead_letters (topic, partition, letter_offset, written_ms, outcome, because) \
SELECT s.topic, s.partition, s.letter_offset, s.written_ms, $5, $6 \
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) AS s(topic, partition, letter_offset, written_ms) \
ON CONFLICT (topic, partition, letter_offset, written_ms) \
DO UPDATE SET outcome = excluded.outcome, because = excluded.because, done_at = now()";

const FORGET: &str = "\
DELETE FROM cdc.dead_letters AS d USING unnest($1::text[], $2::int[], $3::bigint[]) AS s(topic, partition, first) \
WHERE d.topic = s.topic AND d.partition = s.partition AND d.letter_offset < s.first";

/// One dead letter by its place. The time tells it from another one at the same place of a topic that was made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterPlace<'a> {
    /// The dead-letter topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The letter's offset.
    pub offset: i64,
    /// When it was written there, Unix milliseconds.
    pub written_ms: i64,
}

/// How a dead letter is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its record was sent back to its topic.
    Replayed,
    /// Its row is newer by now.
    Overtaken,
    /// A person gave it up.
    Discarded,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Replayed, Self::Overtaken, Self::Discarded];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Overtaken => "overtaken",
            Self::Discarded => "discarded",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// A dead letter that is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// How.
    pub outcome: Outcome,
    /// RFC 3339.
    pub at: String,
    /// What the person said who gave it up, or what has overtaken it.
    pub because: Option<String>,
}

/// The bookkeeping of dead letters, and what PostgreSQL knows of their rows. One connection at a time.
#[derive(Clone, Debug)]
pub struct LetterBook {
    pub(crate) database: PostgresDatabase,
    pool: Pool,
    is_there: bool,
}

impl PostgresDatabase {
    /// Opens the bookkeeping of dead letters.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified; `Fatal` where the bookkeeping is of another release.
    pub async fn letter_book(&self) -> Result<LetterBook, Failure> {
        let pool = self.one_connection();
        let asked = async {
            let session = pool.get(OPERATION).await?;
            Ok(bookkeeping::usable(&session, OPERATION, bookkeeping::DEAD_LETTERS).await? > 0)
        };
        let is_there = bounded::<_, Trouble>(OPERATION, asked).await.map_err(|trouble| trouble.failure)?;
        Ok(LetterBook { database: self.clone(), pool, is_there })
    }
}

/// Places column by column, as the statements take them.
struct Columns<'a> {
    topics: Vec<&'a str>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    times: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(places: &[LetterPlace<'a>]) -> Self {
        Self {
            topics: places.iter().map(|place| place.topic).collect(),
            partitions: places.iter().map(|place| place.partition).collect(),
            offsets: places.iter().map(|place| place.offset).collect(),
            times: places.iter().map(|place| place.written_ms).collect(),
        }
    }
}

impl LetterBook {
    pub(crate) async fn session(&self) -> Result<Loan<'_>, Trouble> {
        self.pool.get(OPERATION).await
    }

    /// Without the schema `cdc`, nothing can be noted: no Syncer has ever run on this database.
    ///
    /// # Errors
    /// `Fatal` where it is missing.
    pub fn must_be_there(&self) -> Result<(), Failure> {
        if self.is_there {
            return Ok(());
        }
        let text = "the database has no schema cdc: no Syncer has run on it yet, or it was made anew; start the Syncer, \
                    which makes it, then try again";
        Err(Failure::new(Fault::Fatal, OPERATION, text))
    }

    /// How each of these letters is done with, in the same order; nothing for one that is open.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    pub async fn done(&self, places: &[LetterPlace<'_>]) -> Result<Vec<Option<Done>>, Failure> {
        let mut done = vec![None; places.len()];
        if !self.is_there || places.is_empty() {
            return Ok(done);
        }
        let Columns { topics, partitions, offsets, times } = Columns::of(places);
        let read = async {
            let session = self.session().await?;
            let rows = session.client.query(READ, &[&topics, &partitions, &offsets, &times]).await;
            rows.map_err(|error| Trouble::of(OPERATION, error))
        };
        for row in bounded(OPERATION, read).await.map_err(|trouble| trouble.failure)? {
            let place = usize::try_from(row.get::<_, i64>(0)).ok().and_then(|n| n.checked_sub(1));
            let Some(slot) = place.and_then(|place| done.get_mut(place)) else { continue };
            let Some(outcome) = Outcome::named(row.get(1)) else {
                let text = "cdc.dead_letters has an outcome that this program does not know; use the release that \
                            wrote it";
                return Err(Failure::new(Fault::Fatal, OPERATION, text));
            };
            *slot = Some(Done { outcome, because: row.get(2), at: row.get(3) });
        }
        Ok(done)
    }

    /// Notes that these letters are done with.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    pub async fn note(
        &self,
        places: &[LetterPlace<'_>],
        outcome: Outcome,
        because: Option<&str>,
    ) -> Result<(), Failure> {
        if places.is_empty() {
            return Ok(());
        }
        self.must_be_there()?;
        let Columns { topics, partitions, offsets, times } = Columns::of(places);
        let noted = async {
            let session = self.session().await?;
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                [&topics, &partitions, &offsets, &times, &outcome.as_str(), &because];
            session.client.execute(MARK, &values).await.map_err(|error| Trouble::of(OPERATION, error))
        };
        bounded(OPERATION, noted).await.map(drop).map_err(|trouble| trouble.failure)
    }

    /// Forgets letters that their topics no longer hold: for each partition, those below its first offset.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    pub async fn forget_below(&self, firsts: &[(&str, i32, i64)]) -> Result<(), Failure> {
        if !self.is_there || firsts.is_empty() {
            return Ok(());
        }
        let topics: Vec<&str> = firsts.iter().map(|(topic, _, _)| *topic).collect();
        let partitions: Vec<i32> = firsts.iter().map(|(_, partition, _)| *partition).collect();
        let offsets: Vec<i64> = firsts.iter().map(|(_, _, first)| *first).collect();
        let forgotten = async {
            let session = self.session().await?;
            let done = session.client.execute(FORGET, &[&topics, &partitions, &offsets]).await;
            done.map_err(|error| Trouble::of(OPERATION, error))
        };
        bounded(OPERATION, forgotten).await.map(drop).map_err(|trouble| trouble.failure)
    }
}
