use std::io::{self, Write};

use crate::exit::{Exit, Failed};

/// Writes data to stdout, with a line break after it. A reader that has gone away, as in `cdc … | head`,
/// is no failure.
pub(super) fn print(text: &str) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed::new(Exit::LocalIo, format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
