use std::collections::BTreeSet;

use cdc_kafka::{ConnectionSettings, DeadLetter, DeadLetterReader};
use cdc_postgres::{Done, LetterBook, LetterPlace};

use super::selection::{Place, Selection};
use crate::cli::ConfigArgs;
use crate::commands::asking::{of_server, runtime};
use crate::commands::output::tell;
use crate::config::Services;
use crate::exit::{Exit, Failed};
use crate::wiring;

/// Letters that are named are handed on so many at a time, at most, as those are that the filters leave.
const LETTERS_AT_ONCE: usize = 256;
/// No more are added to those once they have so many bytes.
const BYTES_AT_ONCE: usize = 8 << 20;

/// A dead letter, and how it is done with, if it is.
pub(super) struct Letter {
    pub(super) dead: DeadLetter,
    pub(super) done: Option<Done>,
}

impl Letter {
    pub(super) fn place(&self) -> Place {
        Place::of(&self.dead)
    }

    pub(super) fn noted_place(&self) -> LetterPlace<'_> {
        noted_place(&self.dead)
    }
}

fn noted_place(letter: &DeadLetter) -> LetterPlace<'_> {
    LetterPlace {
        topic: &letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        written_ms: letter.record.timestamp_ms,
    }
}

/// What went by while letters were looked for.
#[derive(Default)]
pub(super) struct Passed {
    /// Letters that were handed on.
    pub(super) handed: u64,
    /// Letters that matched and are done with.
    pub(super) done: u64,
    /// Messages that are none of ours: of topics that these files do not name, or no dead letters at all.
    pub(super) foreign: u64,
}

/// What every command on dead letters needs.
pub(super) struct Desk {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) connection: ConnectionSettings,
    pub(super) book: LetterBook,
    /// The topics of these files, each with where its dead letters go.
    topics: BTreeSet<(String, String)>,
}

impl Desk {
    /// What is selected is looked at before any server is asked.
    pub(super) fn open(arguments: ConfigArgs, selection: &Selection) -> Result<Self, Failed> {
        let Services { watcher, syncer } = Services::load(&arguments.sources())?;
        let syncer = syncer.ok_or_else(|| {
            let text = "which dead letters are done with stands in the Syncer's database; give the syncer's \
                        configuration, or the pipeline's";
            Failed::new(Exit::Config, text)
        })?;
        let mut topics = BTreeSet::new();
        let mut add = |topic: String, dead: String| topics.insert((topic, dead));
        for topic in &syncer.kafka.topics {
            add(topic.clone(), syncer.dead_letter_topic.for_topic(topic));
        }
        if let Some(watcher) = &watcher {
            for topic in watcher.topics() {
                let dead = watcher.dead_letter_topic.for_topic(&topic);
                add(topic, dead);
            }
        }
        must_be_known(selection, &topics)?;
        let runtime = runtime()?;
        let book = runtime.block_on(wiring::database(&syncer).letter_book()).map_err(of_server)?;
        let connection = ConnectionSettings {
            client_id: format!("cdc-dead-letters-{}", syncer.instance),
            ..wiring::syncer_connection(&syncer)
        };
        Ok(Self { runtime, connection, book, topics })
    }

    fn is_source(&self, topic: &str) -> bool {
        self.topics.iter().any(|(source, _)| source == topic)
    }

    fn dead_letter_topics(&self, selection: &Selection) -> Vec<String> {
        let wanted = self.topics.iter().filter(|(source, _)| selection.wants_topic(source));
        let dead: BTreeSet<&String> = wanted.map(|(_, dead)| dead).collect();
        dead.into_iter().cloned().collect()
    }

    /// Hands on the letters that are meant, some at a time; with `with_done` also those that are done with. Stops early
    /// where `act` returns false.
    pub(super) fn for_each(
        &self,
        selection: &Selection,
        with_done: bool,
        mut act: impl FnMut(Vec<Letter>) -> Result<bool, Failed>,
    ) -> Result<Passed, Failed> {
        if !selection.places.is_empty() {
            return self.for_each_named(&selection.places, act);
        }
        let mut passed = Passed::default();
        let topics = self.dead_letter_topics(selection);
        let mut reader = DeadLetterReader::open(&self.connection, &topics).map_err(of_server)?;
        self.forget_what_is_gone(&reader)?;
        loop {
            let read = reader.next_batch().map_err(of_server)?;
            if read.is_empty() {
                return Ok(passed);
            }
            let (ours, foreign): (Vec<_>, Vec<_>) = read.into_iter().partition(|letter| self.is_ours(letter));
            passed.foreign += foreign.len() as u64;
            let meant = ours.into_iter().filter(|letter| selection.matches(letter)).collect();
            let mut letters = self.with_done(meant)?;
            if !with_done {
                let all = letters.len();
                letters.retain(|letter| letter.done.is_none());
                passed.done += (all - letters.len()) as u64;
            }
            let left = selection.limit.map_or(u64::MAX, |limit| limit.saturating_sub(passed.handed));
            letters.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let is_last = letters.len() as u64 >= left;
            passed.handed += letters.len() as u64;
            let goes_on = letters.is_empty() || act(letters)?;
            if is_last || !goes_on {
                return Ok(passed);
            }
        }
    }

    /// Hands on the letters at these places, those that are done with included.
    fn for_each_named(
        &self,
        places: &[Place],
        mut act: impl FnMut(Vec<Letter>) -> Result<bool, Failed>,
    ) -> Result<Passed, Failed> {
        let topics: BTreeSet<&String> = places.iter().map(|place| &place.topic).collect();
        let topics: Vec<String> = topics.into_iter().cloned().collect();
        let mut reader = DeadLetterReader::open(&self.connection, &topics).map_err(of_server)?;
        let mut passed = Passed::default();
        let mut places = places.iter();
        loop {
            let (mut found, mut bytes) = (Vec::new(), 0);
            while found.len() < LETTERS_AT_ONCE
                && bytes < BYTES_AT_ONCE
                && let Some(place) = places.next()
            {
                let letter = letter_at(&mut reader, place)?;
                bytes += letter.record.key().len() + letter.body_bytes();
                found.push(letter);
            }
            if found.is_empty() {
                return Ok(passed);
            }
            passed.handed += found.len() as u64;
            if !act(self.with_done(found)?)? {
                return Ok(passed);
            }
        }
    }

    fn is_ours(&self, letter: &DeadLetter) -> bool {
        letter.reason().is_some() && letter.source_topic().is_some_and(|topic| self.is_source(topic))
    }

    fn with_done(&self, letters: Vec<DeadLetter>) -> Result<Vec<Letter>, Failed> {
        let places: Vec<LetterPlace<'_>> = letters.iter().map(noted_place).collect();
        let done = self.runtime.block_on(self.book.done(&places)).map_err(of_server)?;
        Ok(letters.into_iter().zip(done).map(|(dead, done)| Letter { dead, done }).collect())
    }

    /// The bookkeeping is no larger than what the topics hold.
    fn forget_what_is_gone(&self, reader: &DeadLetterReader) -> Result<(), Failed> {
        let firsts: Vec<(&str, i32, i64)> = reader
            .first_offsets()
            .iter()
            .map(|(topic, partition, first)| (&**topic, *partition, *first))
            .collect();
        self.runtime.block_on(self.book.forget_below(&firsts)).map_err(of_server)
    }
}

/// A topic that these files do not name is a slip of whoever names it.
fn must_be_known(selection: &Selection, topics: &BTreeSet<(String, String)>) -> Result<(), Failed> {
    let is_source = |topic: &str| topics.iter().any(|(source, _)| source == topic);
    if let Some(topic) = selection.unknown_topic(is_source) {
        let known: BTreeSet<&str> = topics.iter().map(|(source, _)| source.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!("--topic {topic} is none of this configuration's topics; they are {known}");
        return Err(Failed::new(Exit::Usage, text));
    }
    let is_dead = |topic: &str| topics.iter().any(|(_, dead)| dead == topic);
    match selection.places.iter().find(|place| !is_dead(&place.topic)) {
        None => Ok(()),
        Some(Place { topic, .. }) => {
            let text = format!("{topic} is none of this configuration's dead-letter topics");
            Err(Failed::new(Exit::Usage, text))
        }
    }
}

fn letter_at(reader: &mut DeadLetterReader, place: &Place) -> Result<DeadLetter, Failed> {
    let Place { topic, partition, offset } = place;
    let found = reader.at(topic, *partition, *offset).map_err(of_server)?;
    found.filter(|letter| letter.reason().is_some()).ok_or_else(|| {
        let text = format!("there is no dead letter {place}; it may have been kept for too short a time");
        Failed::new(Exit::Decision, text)
    })
}

/// Says what was passed over.
pub(super) fn tell_of(passed: &Passed) {
    if passed.handed == 0 {
        let done = match passed.done {
            0 => String::new(),
            done => format!("; {done} are done with (list --all shows them)"),
        };
        tell(&format!("no open dead letters{done}"));
    }
    if passed.foreign > 0 {
        tell(&format!(
            "{} messages were passed over: no dead letters, or of topics that this configuration does not name",
            passed.foreign
        ));
    }
}
