//! Lines for people: the fields of JSON's lines, and what is long on lines of its own.

use std::fmt::{self, Write as _};

use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields;
use super::voice::{States, Voice};

/// Writes a line: time, level, service, state, message, and the other fields as `name=value`. An error's words and its
/// stack trace follow, indented, on lines of their own.
pub(super) struct Console {
    pub(super) voice: Voice,
    pub(super) states: States,
}

/// What stands in front, in its order; `-` where there is none.
const IN_FRONT: [&str; 3] = ["service", "state", "message"];

/// What follows on lines of its own.
const BELOW: [&str; 3] = ["error", "next", "stack_trace"];

/// What only a program looks up.
const FOR_PROGRAMS: [&str; 2] = ["trace_id", "span_id"];

impl<S, N> FormatEvent<S, N> for Console
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = fields::complete(event, self.voice, &self.states);
        let ink = Ink { is_coloured: writer.has_ansi_escapes() };
        let level = *event.metadata().level();
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {}", ink.paint(color(level), &format!("{level:>5}")))?;
        for name in IN_FRONT {
            match fields.get(name) {
                Some(value) => write!(writer, " {}", Plain(value))?,
                None => writer.write_str(" -")?,
            }
        }
        let elsewhere = |name: &str| [&IN_FRONT[..], &BELOW, &FOR_PROGRAMS].concat().contains(&name);
        for (name, value) in &fields {
            if !elsewhere(name) {
                write!(writer, " {}={}", ink.paint(DIM, name), Quoted(value))?;
            }
        }
        writeln!(writer)?;
        for name in BELOW {
            let Some(value) = fields.get(name) else { continue };
            let text = text_of(value);
            let mut lines = text.lines();
            let first = lines.next().unwrap_or_default();
            writeln!(writer, "    {}: {}", ink.paint(DIM, name), Printable(first.trim_start()))?;
            for line in lines {
                writeln!(writer, "    {}", Printable(line))?;
            }
        }
        Ok(())
    }
}

// Select Graphic Rendition, ECMA-48 §8.3.117.
const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const BLUE: u8 = 34;
const DIM: u8 = 2;

const fn color(level: Level) -> u8 {
    match level {
        Level::ERROR => RED,
        Level::WARN => YELLOW,
        Level::INFO => GREEN,
        _ => BLUE,
    }
}

/// Whether there is any.
#[derive(Clone, Copy)]
struct Ink {
    is_coloured: bool,
}

impl Ink {
    fn paint(self, with: u8, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{with}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Text without what would move a terminal's cursor.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// A value as it is.
struct Plain<'a>(&'a Value);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&text_of(self.0)).fmt(f)
    }
}

/// A value in quotes where it has spaces, so that the end of it shows.
struct Quoted<'a>(&'a Value);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs_quotes = |text: &&str| text.is_empty() || text.contains([' ', '"', '\n', '=']);
        match self.0.as_str().filter(needs_quotes) {
            Some(text) => write!(f, "{text:?}"),
            None => Plain(self.0).fmt(f),
        }
    }
}
