//! What the demo says, step by step, with times.

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

/// The demo's steps.
const STEPS: u32 = 7;
/// What the servers' data and logs take at most during a demo.
const DISK_MIB: u64 = 1024;
/// What the four servers and both services take.
const MEMORY_MIB: u64 = 2048;

pub(crate) struct Screen {
    step: Cell<u32>,
    begun: Cell<Instant>,
    terminal: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { step: Cell::new(0), begun: Cell::new(Instant::now()), terminal: io::stdout().is_terminal() }
    }

    /// A closed standard output ends the talk, not the demo.
    fn say(&self, text: &str) {
        let mut out = io::stdout().lock();
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }

    pub(crate) fn step(&self, what: &str) {
        self.step.set(self.step.get() + 1);
        self.begun.set(Instant::now());
        self.say(&format!("[{}/{STEPS}] {what} …\n", self.step.get()));
    }

    pub(crate) fn done(&self, detail: &str) {
        self.clear();
        self.say(&format!("      {:6.1} s  {detail}\n", self.begun.get().elapsed().as_secs_f64()));
    }

    pub(crate) fn note(&self, what: &str) {
        self.clear();
        self.say(&format!("      {:6.1} s  {what}\n", self.begun.get().elapsed().as_secs_f64()));
    }

    /// A line that the next one overwrites; only on a terminal.
    pub(crate) fn progress(&self, done: u64, of: u64) {
        if self.terminal {
            let filled = usize::try_from(done.min(of) * 40 / of.max(1)).unwrap_or_default();
            self.say(&format!("\r      [{:<40}] {done}/{of}", "=".repeat(filled)));
        }
    }

    fn clear(&self) {
        if self.terminal {
            self.say("\r\x1b[K");
        }
    }

    pub(crate) fn table(&self, rows: &[(&str, String)]) {
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let mut text = String::from("\n");
        for (name, value) in rows {
            text.push_str(&format!("  {name:<width$}  {value}\n"));
        }
        text.push('\n');
        self.say(&text);
    }

    pub(crate) fn failed(&self, error: &(dyn Error + Send + Sync)) {
        let text = format!("\ndemo: {error}\n");
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }
}

/// Checks that memory and disk suffice before anything is started.
pub(crate) fn room() -> Result<String, Box<dyn Error + Send + Sync>> {
    let memory = available_memory_mib()?;
    if memory < MEMORY_MIB {
        return Err(format!(
            "{memory} MiB of memory are available; the four servers and both services need {MEMORY_MIB} MiB"
        )
        .into());
    }
    let probe = rustix::fs::statvfs(".")?;
    let disk = probe.f_bavail * probe.f_frsize / (1024 * 1024);
    if disk < DISK_MIB {
        return Err(format!("{disk} MiB of disk are free here; the demo needs {DISK_MIB} MiB").into());
    }
    Ok(format!("{memory} MiB of memory and {disk} MiB of disk are free"))
}

fn available_memory_mib() -> Result<u64, Box<dyn Error + Send + Sync>> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("/proc/meminfo has no line MemAvailable")?;
    Ok(kib.parse::<u64>()? / 1024)
}
