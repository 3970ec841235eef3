//! One server process that can be started, stopped, killed, paused and started again on the same data.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    Error,
    process::{Lifetime, Process, Program, STAT_START, User, stat_field},
};

/// From the start of a server to its first right answer; generous, since tests share the machine with a compiler.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Between two questions whether a server is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// For one such question: a server that has accepted a connection may still be silent for long.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// From a polite request to end until SIGKILL.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Starts with fresh ports, if others take them between choice and use.
pub(crate) const START_ATTEMPTS_MAX: usize = 3;

/// One server process: of a replica set or a cluster, one member.
///
/// Dropping it kills the process, unless it was started as [`Lifetime::Detached`].
#[derive(Debug)]
pub struct Server {
    name: String,
    program: Program,
    process: Option<Process>,
    stop_signal: Signal,
    detached: bool,
}

impl Server {
    /// A server that is not running yet.
    pub(crate) fn new(name: impl Into<String>, program: Program) -> Self {
        Self { name: name.into(), program, process: None, stop_signal: Signal::TERM, detached: false }
    }

    /// For a server to which SIGTERM is not the request to end soon and in order.
    pub(crate) fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// What it is called in messages, `kafka-1` for one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it runs (paused counts as running).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The file with its standard output and error, from every start.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.program.log
    }

    /// Starts the process without waiting for it to be ready; a running one stays as it is.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn spawn(&mut self) -> Result<(), Error> {
        if self.process.is_none() {
            let spawned = self.program.spawn();
            let mut process = spawned.map_err(|source| self.error("could not be started", source))?;
            if self.detached {
                process.detach();
            }
            self.process = Some(process);
        }
        Ok(())
    }

    /// From now on, dropping it does nothing.
    pub(crate) fn detach(&mut self) {
        self.detached = true;
        if let Some(process) = &mut self.process {
            process.detach();
        }
    }

    /// Asks the server to end in order, and waits for that. One that does not run is left alone.
    ///
    /// # Errors
    /// If it is still there after 30 s; it has then been killed.
    pub async fn stop(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // A paused process would not see the request; resuming a running one does nothing.
        let asked = process.signal_tree(Signal::CONT).and_then(|()| process.signal(self.stop_signal));
        if let Err(error) = asked {
            // Only one that has ended by itself cannot be signalled.
            return Err(self.error("had already ended when it was to be stopped", error));
        }
        match process.exited(STOP_WITHIN).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                drop(process);
                let message = format!(
                    "did not end within {} s of being asked to, and was killed",
                    STOP_WITHIN.as_secs()
                );
                Err(Error::new(&self.name, message).with_log(self.log()))
            }
            Err(error) => Err(self.error("could not be waited for", error)),
        }
    }

    /// Kills the process and its children with SIGKILL and waits until they are gone, as when the machine loses power
    /// but not its disk cache. One that does not run is left alone.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            // Waiting blocks for some milliseconds.
            let killed = tokio::task::spawn_blocking(move || {
                let mut process = process;
                process.kill_tree()
            });
            // An error means that it was gone before.
            drop(killed.await);
        }
    }

    /// Freezes the process and its children (SIGSTOP): connections stay open, nothing answers.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on (SIGCONT).
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        let process = self.process.as_mut().ok_or_else(|| Error::new(&self.name, "is not running"))?;
        process.signal_tree(signal).map_err(|source| Error::io(&self.name, "could not be signalled", source))
    }

    /// Repeats `probe` until it succeeds.
    ///
    /// # Errors
    /// If the process ends, or with the probe's last error after 90 s; the end of the log comes with it.
    pub(crate) async fn ready(
        &mut self,
        mut probe: impl AsyncFnMut() -> Result<(), String>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let last = match tokio::time::timeout(PROBE_WITHIN, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => format!("no answer within {} s", PROBE_WITHIN.as_secs()),
            };
            if let Some(ended) = self.ended() {
                return Err(ended);
            }
            if Instant::now() >= deadline {
                let message = format!(
                    "runs, but was not ready after {} s ({last}); see its log, and whether the machine is overloaded",
                    READY_WITHIN.as_secs()
                );
                return Err(Error::new(&self.name, message).with_log(self.log()));
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    /// Runs a program that is to end by itself.
    ///
    /// # Errors
    /// If it ends with another status than 0, or not within 90 s.
    pub(crate) async fn run_to_end(&mut self) -> Result<(), Error> {
        self.spawn()?;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let message = match process.exited(READY_WITHIN).await {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => format!("failed ({status})"),
            Ok(None) => format!("did not end within {} s", READY_WITHIN.as_secs()),
            Err(error) => return Err(self.error("could not be waited for", error)),
        };
        Err(Error::new(&self.name, message).with_log(self.log()))
    }

    fn ended(&mut self) -> Option<Error> {
        let how = match self.process.as_mut().map(Process::exit_status) {
            Some(Ok(None)) => return None,
            Some(Ok(Some(status))) => format!("ended before it was ready ({status}); its log tells why"),
            Some(Err(error)) => format!("could not be watched: {error}"),
            None => "was not started".to_owned(),
        };
        self.process = None;
        Some(Error::new(&self.name, how).with_log(self.log()))
    }

    /// Whether the last start failed because another process listens on a port of ours.
    pub(crate) fn port_was_taken(&self) -> bool {
        // mongod, Kafka's JVM, PostgreSQL and Redis all end up with the C library's words.
        fs::read_to_string(self.log())
            .is_ok_and(|log| log.to_ascii_lowercase().contains("address already in use"))
    }

    fn error(&self, message: &str, source: io::Error) -> Error {
        Error::io(&self.name, message, source).with_log(self.log())
    }

    /// `pid start-time`: the second tells a process from a later one with the same number.
    fn identity(&self) -> Option<String> {
        let pid = self.pid()?;
        let start = stat_field(&PathBuf::from(format!("/proc/{pid}/stat")), STAT_START)?;
        Some(format!("{pid} {start}"))
    }
}

/// Where and how the servers of one kind run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Takes the data and the logs.
    pub(crate) folder: &'a Path,
    pub(crate) lifetime: Lifetime,
}

impl Place<'_> {
    /// A program that keeps its data in `folder/<name>` and its log beside it.
    pub(crate) fn program(
        &self,
        name: &str,
        path: PathBuf,
        args: Vec<String>,
        user: Option<User>,
    ) -> Result<Program, Error> {
        let folder = self.data(name)?;
        Ok(Program {
            path,
            args,
            env: Vec::new(),
            log: self.log(name),
            folder,
            user,
            lifetime: self.lifetime,
        })
    }

    /// The data folder of the server `name`, made if need be.
    pub(crate) fn data(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)
            .map_err(|source| Error::io(name, format!("{} could not be made", folder.display()), source))?;
        Ok(folder)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

/// Writes the script by which a user ends detached servers and removes their folder.
pub(crate) fn write_stop_script<'a>(
    folder: &Path,
    elsewhere: Option<&Path>,
    servers: impl Iterator<Item = &'a Server>,
) -> Result<(), Error> {
    let mut script = String::from(concat!(
        "#!/bin/sh\n",
        "# Ends the servers that were left running, and removes this folder and what belongs to it.\n",
        "stop() { # pid, start time, signal: only while the pid still is the process that was started\n",
        "  if [ \"$(sed 's/.*) //' \"/proc/$1/stat\" 2>/dev/null | cut -d ' ' -f 20)\" = \"$2\" ]; then\n",
        "    kill -s \"$3\" \"$1\"\n",
        "    while sed 's/.*) //' \"/proc/$1/stat\" 2>/dev/null | grep -qv '^Z'; do sleep 0.1; done\n",
        "  fi\n",
        "}\n",
    ));
    for server in servers {
        let Some(identity) = server.identity() else { continue };
        let signal = if server.stop_signal == Signal::INT { "INT" } else { "TERM" };
        // Writing into a String cannot fail.
        _ = writeln!(script, "stop {identity} {signal} # {}", server.name);
    }
    if let Some(elsewhere) = elsewhere {
        _ = writeln!(script, "rm -rf '{}'", elsewhere.display());
    }
    script.push_str("rm -rf \"$(cd \"$(dirname \"$0\")\" && pwd)\"\n");
    let path = folder.join("stop.sh");
    fs::write(&path, script)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(|source| Error::io("devstack", "stop.sh could not be written", source))
}
