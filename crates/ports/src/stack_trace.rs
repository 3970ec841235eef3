use std::fmt;

use backtrace::{Backtrace, Symbol};

/// Frames that are shown of one trace.
const FRAMES_MAX: usize = 64;
/// The crate whose functions stand on top of a trace.
const TAKER: &str = "backtrace::";
/// What every thread of Rust's begins with. Beneath it is nothing but the C library.
const THREAD_START: &str = "__rust_begin_short_backtrace";

/// Where a failure was met, for the log. It is cheap to take; names are looked up when it is shown.
///
/// The standard library's own looks up the C library's frames too, and where that one's debug symbols are installed
/// it keeps 30 MiB of them in memory.
pub struct StackTrace(Backtrace);

impl StackTrace {
    /// The present one.
    #[must_use]
    #[inline(never)]
    pub fn capture() -> Self {
        Self(Backtrace::new_unresolved())
    }
}

impl fmt::Display for StackTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Self::capture as fn() -> Self as usize;
        let mut number = 0;
        for frame in self.0.frames().iter().take(FRAMES_MAX) {
            let mut lines = Vec::new();
            let mut is_start = false;
            // A function that was inlined has a symbol of its own.
            backtrace::resolve(frame.ip(), |symbol| match shown(symbol) {
                Some(line) => lines.push(line),
                None => is_start = true,
            });
            let takes_it =
                frame.symbol_address().addr() == own || lines.iter().all(|line| line.starts_with(TAKER));
            if number == 0 && takes_it {
                continue;
            }
            for line in lines {
                writeln!(f, "{number:4}: {line}")?;
                number += 1;
            }
            if is_start {
                break;
            }
        }
        Ok(())
    }
}

/// A function's name, with its place where the binary tells it; `None` for the one that a thread begins with.
fn shown(symbol: &Symbol) -> Option<String> {
    let name = symbol.name().map(|name| format!("{name:#}")).unwrap_or_default();
    if name.contains(THREAD_START) {
        return None;
    }
    Some(match (symbol.filename(), symbol.lineno()) {
        (Some(file), Some(line)) => format!("{name} at {}:{line}", file.display()),
        _ => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_of_this_name() -> String {
        StackTrace::capture().to_string()
    }

    #[test]
    fn a_trace_names_the_callers_and_ends_with_the_thread() {
        let trace = std::thread::spawn(a_function_of_this_name).join().unwrap();
        assert!(trace.lines().next().is_some_and(|line| line.contains("a_function_of_this_name")), "{trace}");
        assert!(!trace.contains("backtrace::") && !trace.contains("start_thread"), "{trace}");
        assert!(trace.starts_with("   0: ") && trace.lines().count() < FRAMES_MAX, "{trace}");
    }
}
