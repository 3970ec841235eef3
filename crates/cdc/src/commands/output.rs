use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::exit::{Exit, Failed};

/// Writes data to stdout, with a line break after it. A reader that has gone away, as in `cdc … | head`,
/// is no failure.
pub(super) fn print(text: &str) -> Result<(), Failed> {
    write(format!("{}\n", text.trim_end()).as_bytes()).map(drop)
}

/// Writes data to stdout as they are; false where the reader has gone away.
pub(super) fn write(bytes: &[u8]) -> Result<bool, Failed> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failed::new(Exit::LocalIo, format!("stdout cannot be written: {error}"))),
    }
}

/// A line for each field, its value below those of the others.
pub(super) fn field_lines(fields: &Map<String, Value>) -> String {
    let width = fields.keys().map(String::len).max().unwrap_or_default();
    let line = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{name:width$}  {text}\n"),
        None => format!("{name:width$}  {value}\n"),
    };
    fields.iter().map(line).collect()
}

/// Says something to whoever looks on, beside the data. With stderr closed, nobody does.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}
