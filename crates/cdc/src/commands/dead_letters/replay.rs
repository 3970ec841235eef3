use cdc_kafka::{DeadLetter, ReplayProducer, WayBack};
use cdc_ports::Failure;
use cdc_postgres::{By, Outcome, Question, Standing};
use serde_json::{Value, json};

use super::desk::{Desk, Letter, tell_of};
use super::selection::Selection;
use crate::cli::{ChosenLetters, DeadLettersReplayArgs};
use crate::commands::asking::of_server;
use crate::commands::output::{tell, write};
use crate::exit::{Exit, Failed};

/// What becomes of a letter.
enum Fate {
    /// Its record goes, or would go, to this topic and partition.
    Goes { topic: String, partition: i32 },
    /// All in-sync replicas have its record, at this offset.
    Sent { topic: String, partition: i32, offset: i64 },
    /// Nobody knows whether its record is in the topic.
    Failed(Failure),
    /// Something as new as the record, or newer, is there.
    Overtaken(By),
    /// It cannot be replayed.
    Refused(String),
    /// It is done with already.
    Done(String),
}

/// How many letters met which fate.
#[derive(Default)]
struct Counts {
    sent: u64,
    overtaken: u64,
    refused: u64,
    done: u64,
}

/// `cdc dead-letters replay`: sends records back to the topics that they were read from, at the end of their partition.
/// The fence keeps an older one from the table; what is overtaken is told and not sent.
///
/// # Errors
/// As `list`; exit 65 where letters cannot be replayed or are not there, 69 where the brokers do not acknowledge.
pub fn dead_letters_replay(arguments: DeadLettersReplayArgs) -> Result<(), Failed> {
    let DeadLettersReplayArgs { chosen, dry_run, json } = arguments;
    let ChosenLetters { letters, config, filter } = chosen;
    let selection = Selection::parse(&letters, filter)?;
    let desk = Desk::open(config, &selection)?;
    desk.book.must_be_there().map_err(of_server)?;
    let mut producer = ReplayProducer::new(&desk.connection).map_err(of_server)?;
    let mut counts = Counts::default();
    let passed = desk.for_each(&selection, false, |letters| {
        let mut fates = judge(&desk, &mut producer, &letters)?;
        if !dry_run {
            note_overtaken(&desk, &letters, &fates)?;
            send(&mut producer, &letters, &mut fates);
            note_sent(&desk, &letters, &fates)?;
        }
        // A reader that has gone away, as in `… | head`, keeps nothing from being sent.
        write(lines(&letters, &fates, json).as_bytes())?;
        fates.iter().for_each(|fate| counts.add(fate));
        match fates.into_iter().find_map(Fate::failure) {
            Some(failure) => {
                tell(&counts.sum(dry_run));
                Err(of_server(failure))
            }
            None => Ok(true),
        }
    })?;
    tell_of(&passed);
    if passed.handed > 0 {
        tell(&counts.sum(dry_run));
    }
    if counts.refused == 0 {
        return Ok(());
    }
    let text = format!(
        "{} dead letters cannot be replayed, each for the reason above; `cdc dead-letters discard` gives them up",
        counts.refused
    );
    Err(Failed::new(Exit::Decision, text))
}

/// What is to become of each letter.
fn judge(desk: &Desk, producer: &mut ReplayProducer, letters: &[Letter]) -> Result<Vec<Fate>, Failed> {
    let mut fates = Vec::with_capacity(letters.len());
    let mut asked = Vec::new();
    let mut questions = Vec::new();
    for (place, letter) in letters.iter().enumerate() {
        if let Some(done) = &letter.done {
            fates.push(Fate::Done(format!("{} {}", done.outcome.as_str(), done.at)));
            continue;
        }
        match producer.way_back(&letter.dead).map_err(of_server)? {
            WayBack::Closed(why) => fates.push(Fate::Refused(why.to_string())),
            WayBack::Open { topic, partition } => {
                fates.push(Fate::Goes { topic: topic.to_string(), partition });
                questions.push(question(&letter.dead));
                asked.push(place);
            }
        }
    }
    let standings = desk.runtime.block_on(desk.book.standings(&questions)).map_err(of_server)?;
    for (place, standing) in asked.into_iter().zip(standings) {
        match standing {
            Standing::Older => {}
            Standing::Overtaken(by) => fates[place] = Fate::Overtaken(by),
            Standing::Unknown(why) => fates[place] = Fate::Refused(why),
        }
    }
    Ok(fates)
}

fn question(dead: &DeadLetter) -> Question<'_> {
    Question {
        topic: dead.source_topic().unwrap_or_default(),
        key: dead.record.key(),
        value: dead.record.value().unwrap_or_default(),
        position: dead.position(),
    }
}

/// Sends what goes, the oldest change first: a compacted topic keeps the last one of a key.
fn send(producer: &mut ReplayProducer, letters: &[Letter], fates: &mut [Fate]) {
    let mut going: Vec<(usize, &DeadLetter, String, i32)> = letters
        .iter()
        .zip(fates.iter())
        .enumerate()
        .filter_map(|(place, (letter, fate))| {
            let Fate::Goes { topic, partition } = fate else { return None };
            Some((place, &letter.dead, topic.clone(), *partition))
        })
        .collect();
    going.sort_by(|a, b| a.1.position().cmp(&b.1.position()));
    let records: Vec<(&DeadLetter, &str, i32)> =
        going.iter().map(|(_, dead, topic, partition)| (*dead, topic.as_str(), *partition)).collect();
    let sent = producer.send(&records);
    for ((place, _, topic, partition), sent) in going.into_iter().zip(sent) {
        fates[place] = match sent {
            Ok(offset) => Fate::Sent { topic, partition, offset },
            Err(failure) => Fate::Failed(failure),
        };
    }
}

fn note_overtaken(desk: &Desk, letters: &[Letter], fates: &[Fate]) -> Result<(), Failed> {
    for by in By::ALL {
        let met = |fate: &Fate| matches!(fate, Fate::Overtaken(found) if *found == by);
        note(desk, letters, fates, met, Outcome::Overtaken, Some(by.as_str()))?;
    }
    Ok(())
}

fn note_sent(desk: &Desk, letters: &[Letter], fates: &[Fate]) -> Result<(), Failed> {
    note(desk, letters, fates, |fate| matches!(fate, Fate::Sent { .. }), Outcome::Replayed, None)
}

fn note(
    desk: &Desk,
    letters: &[Letter],
    fates: &[Fate],
    met: impl Fn(&Fate) -> bool,
    outcome: Outcome,
    because: Option<&str>,
) -> Result<(), Failed> {
    let noted = letters.iter().zip(fates).filter(|(_, fate)| met(fate));
    let places: Vec<_> = noted.map(|(letter, _)| letter.noted_place()).collect();
    desk.runtime.block_on(desk.book.note(&places, outcome, because)).map_err(of_server)
}

impl Fate {
    const fn name(&self) -> &'static str {
        match self {
            Self::Goes { .. } => "would_send",
            Self::Sent { .. } => "sent",
            Self::Failed(_) => "failed",
            Self::Overtaken(_) => "overtaken",
            Self::Refused(_) => "refused",
            Self::Done(_) => "done",
        }
    }

    fn failure(self) -> Option<Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Goes { .. } | Self::Sent { .. } | Self::Overtaken(_) | Self::Refused(_) | Self::Done(_) => {
                None
            }
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Goes { topic, partition } => format!("to {topic}/{partition}"),
            Self::Sent { topic, partition, offset } => format!("to {topic}/{partition}/{offset}"),
            Self::Failed(failure) => failure.chain(),
            Self::Overtaken(By::Row) => "the row is as new or newer".to_owned(),
            Self::Overtaken(By::Tombstone) => "the row was deleted by a change as new or newer".to_owned(),
            Self::Overtaken(By::Parked) => "a change as new or newer waits in cdc.parked".to_owned(),
            Self::Refused(why) => why.clone(),
            Self::Done(how) => how.clone(),
        }
    }
}

fn lines(letters: &[Letter], fates: &[Fate], is_json: bool) -> String {
    let line = |(letter, fate): (&Letter, &Fate)| {
        let place = letter.place();
        if !is_json {
            return format!("{:10}  {place}  {}\n", fate.name().replace('_', " "), fate.words());
        }
        let (topic, partition, offset) = match fate {
            Fate::Goes { topic, partition } => (Some(topic), Some(partition), None),
            Fate::Sent { topic, partition, offset } => (Some(topic), Some(partition), Some(offset)),
            Fate::Failed(_) | Fate::Overtaken(_) | Fate::Refused(_) | Fate::Done(_) => (None, None, None),
        };
        let fields = json!({
            "letter": place.to_string(),
            "outcome": fate.name(),
            "to_topic": topic,
            "to_partition": partition,
            "to_offset": offset,
            "why": if topic.is_some() { Value::Null } else { fate.words().into() },
        });
        format!("{fields}\n")
    };
    letters.iter().zip(fates).map(line).collect()
}

impl Counts {
    fn add(&mut self, fate: &Fate) {
        match fate {
            Fate::Goes { .. } | Fate::Sent { .. } => self.sent += 1,
            Fate::Overtaken(_) => self.overtaken += 1,
            Fate::Refused(_) => self.refused += 1,
            Fate::Done(_) => self.done += 1,
            Fate::Failed(_) => {}
        }
    }

    fn sum(&self, dry_run: bool) -> String {
        let Self { sent, overtaken, refused, done } = self;
        let sent = if dry_run { format!("{sent} would be sent") } else { format!("{sent} sent") };
        format!("{sent}, {overtaken} overtaken, {refused} refused, {done} done before")
    }
}
