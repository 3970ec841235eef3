use std::fmt;

use backtrace::{Backtrace, Symbol};

/// Frames that are shown of one trace.
const FRAMES_MAX: usize = 64;
/// Names of what takes the trace, on top of every one.
const TAKERS: [&str; 2] = ["backtrace::", "cdc_executor::stack_trace::"];
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
    pub fn capture() -> Self {
        Self(Backtrace::new_unresolved())
    }
}

impl fmt::Display for StackTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = 0;
        for frame in self.0.frames().iter().take(FRAMES_MAX) {
            let mut lines = Vec::new();
            let mut is_start = false;
            // A function that was inlined has a symbol of its own.
            backtrace::resolve(frame.ip(), |symbol| match shown(symbol) {
                Shown::Line(line) => lines.push(line),
                Shown::Nothing => {}
                Shown::ThreadStart => is_start = true,
            });
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

enum Shown {
    Line(String),
    Nothing,
    ThreadStart,
}

fn shown(symbol: &Symbol) -> Shown {
    let name = symbol.name().map(|name| format!("{name:#}")).unwrap_or_default();
    if name.contains(THREAD_START) {
        return Shown::ThreadStart;
    }
    if TAKERS.iter().any(|taker| name.starts_with(taker)) {
        return Shown::Nothing;
    }
    Shown::Line(match (symbol.filename(), symbol.lineno()) {
        (Some(file), Some(line)) => format!("{name} at {}:{line}", file.display()),
        _ => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_of_this_name() -> StackTrace {
        StackTrace::capture()
    }

    #[test]
    fn a_trace_names_the_callers_and_ends_with_the_thread() {
        let trace = std::thread::spawn(|| a_function_of_this_name().to_string()).join().unwrap();
        assert!(trace.contains("a_function_of_this_name"), "{trace}");
        assert!(!trace.contains("capture") && !trace.contains("start_thread"), "{trace}");
    }
}
