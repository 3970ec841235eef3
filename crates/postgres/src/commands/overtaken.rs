//! Whether a record's row is newer by now, asked before a dead letter goes back to its topic: by the row itself, by the
//! tombstone of its delete, and by a version of it that waits in `cdc.parked`. Nothing is made, claimed or locked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use cdc_event::{Envelope, Position, TypeIndex, row_id_text};
use cdc_ports::Failure;
use postgres_types::{ToSql, Type};

use crate::bindings::Binding;
use crate::catalog::ensure;
use crate::commands::dead_letters::LetterBook;
use crate::mapping::Deletes;
use crate::server::deadline::bounded;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::statements::source::{delete_rows, id_types, same_id};
use crate::table::column_type::array_of;
use crate::table::{Table, quote_literal};
use crate::values::buffer::ColumnBuffer;
use crate::values::row_id::{self, IdParts, RowId};

const OPERATION: &str = "dead_letters_overtaken";

/// The records' rows where there is no table yet.
const NO_TABLE: &str = "unnest($1::text[], $2::text[], $3::bytea[]) AS s(id, k, position)";

/// A record that may go back to its topic.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The topic that it was read from.
    pub topic: &'a str,
    /// Its key.
    pub key: &'a [u8],
    /// Its body.
    pub value: &'a [u8],
    /// Its position by its header, in hex; the body's counts first.
    pub position: Option<&'a str>,
}

/// What PostgreSQL knows of a record's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing newer than the record.
    Older,
    /// Something as new as the record, or newer.
    Overtaken(By),
    /// It cannot be told, and why.
    Unknown(String),
}

/// What is as new as the record, or newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The row.
    Row,
    /// A delete of the row.
    Tombstone,
    /// A version of the row that waits for other rows.
    Parked,
}

impl By {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Row, Self::Tombstone, Self::Parked];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Tombstone => "tombstone",
            Self::Parked => "parked",
        }
    }
}

/// A record with its row's id and its position.
struct Identified<'a> {
    /// Its place among the questions.
    place: usize,
    row_id: Cow<'a, str>,
    position: Position,
    envelope: Option<Envelope<'a>>,
}

impl LetterBook {
    /// What is known of each record's row, in the same order.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    pub async fn standings(&self, questions: &[Question<'_>]) -> Result<Vec<Standing>, Failure> {
        let mut standings = vec![Standing::Older; questions.len()];
        let mut by_topic: BTreeMap<&str, Vec<Identified<'_>>> = BTreeMap::new();
        for (place, question) in questions.iter().enumerate() {
            match identify(place, question) {
                Ok(identified) => by_topic.entry(question.topic).or_default().push(identified),
                Err(why) => standings[place] = Standing::Unknown(why.to_owned()),
            }
        }
        for (topic, records) in by_topic {
            let asked = async {
                let mut session = self.session().await?;
                self.ask(&mut session, topic, &records, &mut standings).await
            };
            bounded(OPERATION, asked).await.map_err(|trouble| trouble.failure)?;
        }
        Ok(standings)
    }

    async fn ask(
        &self,
        session: &mut Session,
        topic: &str,
        records: &[Identified<'_>],
        standings: &mut [Standing],
    ) -> Result<(), Trouble> {
        let all_unknown = |standings: &mut [Standing], why: &str| {
            records.iter().for_each(|record| standings[record.place] = Standing::Unknown(why.to_owned()));
        };
        let Some(binding) = self.database.shared.tables.bindings.get(topic) else {
            let why = format!("topic {topic} is none of kafka.topic, so its table is not known");
            all_unknown(standings, &why);
            return Ok(());
        };
        let table = match read_table(session, &binding).await {
            Ok(table) => table,
            Err(trouble) if trouble.hold.is_some() => {
                all_unknown(standings, &trouble.failure.message);
                return Ok(());
            }
            Err(trouble) => return Err(trouble),
        };
        if let Some(table) = table.as_ref().filter(|table| !table.fenced) {
            let why = format!(
                "table {} has no column cdc_position, so nobody can tell whether the row is newer",
                table.label()
            );
            all_unknown(standings, &why);
            return Ok(());
        }
        let label = self.database.shared.tables.label(&binding);
        let mut id_columns = table.as_ref().map_or_else(|| vec![Type::TEXT], id_types);
        let mut ids: Vec<ColumnBuffer> = id_columns.iter().cloned().map(ColumnBuffer::new).collect();
        let mut row_ids = ColumnBuffer::new(Type::TEXT);
        let mut positions = ColumnBuffer::new(Type::BYTEA);
        let mut asked: BTreeMap<(&str, &[u8]), Vec<usize>> = BTreeMap::new();
        for record in records {
            if let Err(why) = push_id(record, table.as_ref(), &mut ids) {
                ids.iter_mut().for_each(|buffer| buffer.truncate(row_ids.len()));
                standings[record.place] = Standing::Unknown(format!("{label}, {why}"));
                continue;
            }
            row_ids.push_bytes(record.row_id.as_bytes());
            positions.push_bytes(record.position.as_bytes());
            asked.entry((&record.row_id, record.position.as_bytes())).or_default().push(record.place);
        }
        if asked.is_empty() {
            return Ok(());
        }
        id_columns.iter_mut().for_each(|id| *id = array_of(id));
        let types: Vec<Type> = id_columns.into_iter().chain([Type::TEXT_ARRAY, Type::BYTEA_ARRAY]).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            ids.iter().chain([&row_ids, &positions]).map(|buffer| buffer as &(dyn ToSql + Sync)).collect();
        let sql: Arc<str> = overtaken_sql(table.as_ref(), &label).into();
        let answered = async {
            let statement = session.prepare(&sql, &types).await?;
            session.client.query(&statement, &parameters).await
        };
        for row in answered.await.map_err(|error| Trouble::of(OPERATION, error))? {
            let (row_id, position, by): (&str, &[u8], &str) = (row.get(0), row.get(1), row.get(2));
            let by = By::ALL.into_iter().find(|known| known.as_str() == by).unwrap_or(By::Row);
            for place in asked.get(&(row_id, position)).into_iter().flatten() {
                standings[*place] = Standing::Overtaken(by);
            }
        }
        Ok(())
    }
}

/// The body's position is the one that the fence compares; a body that cannot be read leaves the header's.
fn identify<'a>(place: usize, question: &Question<'a>) -> Result<Identified<'a>, &'static str> {
    let envelope = Envelope::parse(question.value).ok();
    let position = match &envelope {
        Some(envelope) => envelope.position,
        None => question.position.and_then(Position::from_hex).ok_or(
            "neither its body nor its headers tell its position, so nobody can tell whether the row is newer",
        )?,
    };
    let row_id = row_id_text(question.key).map_err(|_| "its key is not the text of an _id")?;
    Ok(Identified { place, row_id, position, envelope })
}

/// The table as it is; nothing where there is none yet. The claim does not matter: only the id's type is needed.
async fn read_table(session: &mut Session, binding: &Binding) -> Result<Option<Table>, Trouble> {
    let found = ensure::read(session, &binding.home).await?;
    let mut table = found.map(|shape| shape.check()).transpose()?;
    // It is asked after a row, not for its deletion.
    table.iter_mut().for_each(|table| table.deletes = Deletes::Hard);
    Ok(table)
}

fn push_id(record: &Identified<'_>, table: Option<&Table>, ids: &mut [ColumnBuffer]) -> Result<(), String> {
    let Some(table) = table else {
        ids.iter_mut().for_each(|buffer| buffer.push_bytes(record.row_id.as_bytes()));
        return Ok(());
    };
    let mut types = TypeIndex::default();
    if let Some(envelope) = &record.envelope {
        types.load(envelope.bson_types).map_err(|error| error.to_string())?;
    }
    let parts = IdParts::of(table);
    let id = RowId { text: &record.row_id, envelope: record.envelope.as_ref(), types: &types };
    for ((place, column), buffer) in table.ids().iter().enumerate().zip(ids) {
        let pushed = row_id::push(id, place, column, &parts, buffer);
        pushed.map_err(|no_place| format!("column {}: {}", column.name, no_place.what))?;
    }
    Ok(())
}

/// Answers with row id, position and what is as new or newer; with nothing for those of which nothing is.
fn overtaken_sql(table: Option<&Table>, label: &str) -> String {
    let label = quote_literal(label);
    let row = table.map_or_else(String::new, |table| {
        format!(
            "WHEN EXISTS (SELECT FROM {} AS t WHERE {} AND t.\"cdc_position\" >= s.position) THEN 'row' ",
            table.quoted(),
            same_id(table, "t")
        )
    });
    let source = table.map_or_else(|| NO_TABLE.to_owned(), delete_rows);
    format!(
        "SELECT a.k, a.position, a.by FROM (SELECT s.k, s.position, CASE {row}\
         WHEN EXISTS (SELECT FROM cdc.tombstones AS d WHERE d.table_name = {label} AND d.id = s.k \
         AND d.position >= s.position) THEN 'tombstone' \
         WHEN EXISTS (SELECT FROM cdc.parked AS p WHERE p.table_name = {label} AND p.id = s.k \
         AND p.position >= s.position) THEN 'parked' END AS by FROM {source}) AS a WHERE a.by IS NOT NULL"
    )
}
