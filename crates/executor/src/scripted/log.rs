//! What a test's own thread logs.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sets the process's subscriber, once. Every world does so before it lets anything log: a subscriber that one
/// test sets for itself misses the call sites that another test's thread is just then registering.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// Takes what this thread has logged since the last time.
pub(crate) fn taken() -> String {
    LINES.with_borrow_mut(|lines| String::from_utf8_lossy(&std::mem::take(lines)).into_owned())
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
