use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use cdc_kafka::DeadLetter;
use jiff::Timestamp;

use crate::cli::LetterFilter;
use crate::exit::{Exit, Failed};

/// A letter's place: its topic, partition and offset among the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Place {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self { topic: letter.topic.to_string(), partition: letter.partition, offset: letter.offset }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Failed> {
        let parsed = || {
            let mut parts = text.rsplitn(3, '/');
            let offset = parts.next()?.parse::<i64>().ok().filter(|offset| *offset >= 0)?;
            let partition = parts.next()?.parse::<i32>().ok().filter(|partition| *partition >= 0)?;
            let topic = parts.next().filter(|topic| !topic.is_empty())?.to_owned();
            Some(Self { topic, partition, offset })
        };
        parsed().ok_or_else(|| {
            let text = format!(
                "{text:?} is no dead letter; they read <dead-letter topic>/<partition>/<offset>, as `cdc dead-letters \
                 list` prints them"
            );
            Failed::new(Exit::Usage, text)
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// Which letters are meant.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// These, where there are any, each once.
    pub(super) places: Vec<Place>,
    topics: Vec<String>,
    partition: Option<i32>,
    offsets: Option<(i64, i64)>,
    reasons: Vec<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    key_hash: Option<String>,
    pub(super) limit: Option<u64>,
}

impl Selection {
    pub(super) fn parse(letters: &[String], filter: LetterFilter) -> Result<Self, Failed> {
        let mut places = letters.iter().map(|text| Place::parse(text)).collect::<Result<Vec<_>, _>>()?;
        // A letter that is named twice would be sent twice.
        let mut named = HashSet::new();
        places.retain(|place| named.insert(place.clone()));
        let now = Timestamp::now();
        let time =
            |text: Option<String>, flag: &str| text.map(|text| parse_time(&text, flag, now)).transpose();
        let selection = Self {
            places,
            topics: filter.topic,
            partition: filter.partition,
            offsets: filter.offset.as_deref().map(parse_offsets).transpose()?,
            reasons: filter.reason,
            since: time(filter.since, "--since")?,
            until: time(filter.until, "--until")?,
            key_hash: filter.key_hash.map(|hash| hash.to_lowercase()),
            limit: filter.limit,
        };
        if !selection.places.is_empty() && (selection.has_filters() || selection.limit.is_some()) {
            let text = "give letters, or filters that select them, and not both";
            return Err(Failed::new(Exit::Usage, text));
        }
        Ok(selection)
    }

    /// True where something says which ones are meant. `--limit` does not.
    pub(super) fn is_narrowed(&self) -> bool {
        !self.places.is_empty() || self.has_filters()
    }

    fn has_filters(&self) -> bool {
        !self.topics.is_empty()
            || self.partition.is_some()
            || self.offsets.is_some()
            || !self.reasons.is_empty()
            || self.since.is_some()
            || self.until.is_some()
            || self.key_hash.is_some()
    }

    /// True for a topic whose dead letters may be meant.
    pub(super) fn wants_topic(&self, topic: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|wanted| wanted == topic)
    }

    pub(super) fn unknown_topic(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.topics.iter().map(String::as_str).find(|topic| !known(topic))
    }

    pub(super) fn matches(&self, letter: &DeadLetter) -> bool {
        let fell_at = fell_at(letter);
        letter.source_topic().is_some_and(|topic| self.wants_topic(topic))
            && self.partition.is_none_or(|wanted| letter.source_partition() == Some(wanted))
            && self.offsets.is_none_or(|(first, last)| {
                letter.source_offset().is_some_and(|offset| (first..=last).contains(&offset))
            })
            && (self.reasons.is_empty()
                || letter.reason().is_some_and(|reason| self.reasons.iter().any(|wanted| wanted == reason)))
            && self.since.is_none_or(|since| fell_at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| fell_at.is_some_and(|at| at < until))
            && self.key_hash.as_ref().is_none_or(|wanted| *wanted == letter.key_hash())
    }
}

fn parse_offsets(text: &str) -> Result<(i64, i64), Failed> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<i64>(), last.parse::<i64>()) {
        (Ok(first), Ok(last)) if first >= 0 && first <= last => Ok((first, last)),
        _ => {
            let text =
                format!("--offset {text:?} is not legal; legal: an offset such as 17, or a range 17-40");
            Err(Failed::new(Exit::Usage, text))
        }
    }
}

fn parse_time(text: &str, flag: &str, now: Timestamp) -> Result<Timestamp, Failed> {
    let ago = || humantime::parse_duration(text).ok().and_then(|ago: Duration| now.checked_sub(ago).ok());
    text.parse().ok().or_else(ago).ok_or_else(|| {
        let text = format!(
            "{flag} {text:?} is not legal; legal: a time such as 2024-01-15T10:30:00Z, or 2h for two hours ago"
        );
        Failed::new(Exit::Usage, text)
    })
}

/// When it fell, for the table and the filters alike. A marker of the Watcher's says no time of its own: it was written
/// when it fell.
pub(super) fn fell_at(dead: &DeadLetter) -> Option<Timestamp> {
    let written = || Timestamp::from_millisecond(dead.record.timestamp_ms).ok();
    dead.fell_at().and_then(|text| text.parse().ok()).or_else(written)
}

#[cfg(test)]
mod tests {
    use cdc_ports::KafkaRecord;

    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_printed() {
        let place = Place::parse("cdc.shop.orders.dead-letters/0/17").unwrap();
        assert_eq!(
            (place.topic.as_str(), place.partition, place.offset),
            ("cdc.shop.orders.dead-letters", 0, 17)
        );
        assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        for wrong in ["", "17", "0/17", "/0/17", "t/x/17", "t/0/", "t/0/-1"] {
            assert_eq!(Place::parse(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn offsets_are_one_or_a_range() {
        assert_eq!(parse_offsets("17").unwrap(), (17, 17));
        assert_eq!(parse_offsets("17-40").unwrap(), (17, 40));
        for wrong in ["", "-1", "40-17", "a", "1-2-3"] {
            assert!(parse_offsets(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_absolute_or_so_long_ago() {
        let now: Timestamp = "2024-01-15T10:30:00Z".parse().unwrap();
        let parse = |text: &str| parse_time(text, "--since", now).map(|time| time.to_string());
        assert_eq!(parse("2h").unwrap(), "2024-01-15T08:30:00Z");
        assert_eq!(parse("2024-01-01T00:00:00Z").unwrap(), "2024-01-01T00:00:00Z");
        assert!(parse("yesterday").unwrap_err().message.starts_with("--since \"yesterday\" is not legal"));
    }

    #[test]
    fn a_letter_that_is_named_twice_is_meant_once() {
        let named = ["t/0/2", "t/0/1", "t/0/02", "u/0/1", "t/0/1"].map(str::to_owned);
        let places = Selection::parse(&named, LetterFilter::default()).unwrap().places;
        let places: Vec<String> = places.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["t/0/2", "t/0/1", "u/0/1"]);
    }

    /// A letter that was written at 10:00, with these headers.
    fn letter(headers: &[(&str, &str)]) -> DeadLetter {
        let mut bytes = Vec::new();
        for (name, value) in headers {
            bytes.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend(value.as_bytes());
        }
        let written: Timestamp = "2024-01-15T10:00:00Z".parse().unwrap();
        let record = KafkaRecord::new(b"", None, &bytes, written.as_millisecond());
        DeadLetter { topic: "t.dead-letters".into(), partition: 0, offset: 1, record }
    }

    #[test]
    fn the_time_that_is_listed_is_the_time_that_is_filtered_by() {
        let filter =
            LetterFilter { since: Some("2024-01-15T09:00:00Z".to_owned()), ..LetterFilter::default() };
        let selection = Selection::parse(&[], filter).unwrap();
        let source = ("cdc-source-topic", "t");
        assert!(selection.matches(&letter(&[source])), "a marker fell when it was written");
        let fell_before = ("cdc-error-last", "2024-01-15T08:59:59Z");
        assert!(!selection.matches(&letter(&[source, fell_before])));
        assert!(selection.matches(&letter(&[source, ("cdc-error-last", "2024-01-15T09:00:00Z")])));
    }

    #[test]
    fn letters_and_filters_exclude_each_other() {
        let filter = LetterFilter { partition: Some(1), ..LetterFilter::default() };
        assert_eq!(Selection::parse(&["t/0/1".to_owned()], filter.clone()).unwrap_err().exit, Exit::Usage);
        assert!(Selection::parse(&[], filter).unwrap().is_narrowed());
        let limited = LetterFilter { limit: Some(1), ..LetterFilter::default() };
        assert!(!Selection::parse(&[], limited).unwrap().is_narrowed());
    }
}
