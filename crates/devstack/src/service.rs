//! The service under test, or any other program that is started, watched and killed beside the servers.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    Error, Lifetime, Response, Samples, http,
    process::{KILLED_WITHIN, Process, Program, STAT_SYSTEM_TICKS, STAT_USER_TICKS, stat_field},
};

/// Between two questions for health.
const HEALTH_INTERVAL: Duration = Duration::from_millis(25);
const HEALTH_OK: u16 = 200;

/// What to start as a [`Service`].
#[derive(Clone, Debug)]
pub struct ServiceCommand {
    /// What it is called in messages.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to the environment of this process.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub folder: PathBuf,
    /// Takes standard output and standard error, appended, so that a restart continues the same file.
    pub log: PathBuf,
    /// Where it serves `/health` and `/metrics`.
    pub http: Option<SocketAddr>,
}

/// A running service. Dropping it kills it; so does the end of this process.
#[derive(Debug)]
pub struct Service {
    command: ServiceCommand,
    process: Process,
}

impl Service {
    /// Starts it, without waiting for anything.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn spawn(command: ServiceCommand) -> Result<Self, Error> {
        let program = Program {
            path: command.program.clone(),
            args: command.args.clone(),
            env: command.env.clone(),
            folder: command.folder.clone(),
            log: command.log.clone(),
            user: None,
            lifetime: Lifetime::Scoped,
        };
        let process = program.spawn().map_err(|source| {
            Error::io(&command.name, format!("{} could not be started", command.program.display()), source)
        })?;
        Ok(Self { command, process })
    }

    /// Its process id, also after it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The file with its output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.command.log
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.process
            .exit_status()
            .map_err(|source| Error::io(&self.command.name, "could not be watched", source))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it still runs after `within`; it goes on running.
    pub async fn exited(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        match self.process.exited(within).await {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(self.error(format!("still runs after {} s", within.as_secs_f64()))),
            Err(source) => Err(Error::io(&self.command.name, "could not be waited for", source)),
        }
    }

    /// SIGTERM, and waits for the end it asks for.
    ///
    /// # Errors
    /// If it had ended before, or still runs after `within`; it goes on running.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        self.request_stop()?;
        self.exited(within).await
    }

    /// SIGTERM alone, for a test that sends a second one.
    ///
    /// # Errors
    /// If it has ended.
    pub fn request_stop(&mut self) -> Result<(), Error> {
        self.signal(Signal::TERM)
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// If it had ended by itself before: then nothing was killed in the middle of its work.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.signal(Signal::KILL)?;
        self.exited(KILLED_WITHIN).await.map(drop)
    }

    /// SIGSTOP: it does not know that time passes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT, after [`Self::pause`].
    ///
    /// # Errors
    /// If it has ended.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// The most memory that it has held so far, in bytes (`VmHWM`, proc(5)).
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory_peak_bytes(&self) -> Result<u64, Error> {
        self.memory("VmHWM:")
    }

    /// The memory that it holds, in bytes (`VmRSS`, proc(5)).
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory_bytes(&self) -> Result<u64, Error> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> Result<u64, Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        status
            .ok()
            .and_then(|status| {
                let line = status.lines().find_map(|line| line.strip_prefix(field))?.trim();
                let kib: u64 = line.strip_suffix(" kB")?.parse().ok()?;
                Some(kib * 1024)
            })
            .ok_or_else(|| self.error("has ended, so its memory cannot be read".into()))
    }

    /// The processor time that all its threads have used so far, to 10 ms.
    ///
    /// # Errors
    /// If it has ended and been waited for.
    pub fn cpu_time(&self) -> Result<Duration, Error> {
        let stat = PathBuf::from(format!("/proc/{}/stat", self.pid()));
        let ticks = |field| stat_field(&stat, field)?.parse::<u64>().ok();
        ticks(STAT_USER_TICKS)
            .zip(ticks(STAT_SYSTEM_TICKS))
            .map(|(user, system)| {
                Duration::from_secs_f64(
                    (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64,
                )
            })
            .ok_or_else(|| self.error("has ended, so its processor time cannot be read".into()))
    }

    /// Gets a path from its HTTP listener.
    ///
    /// # Errors
    /// If it has none or does not answer.
    pub async fn get(&self, path: &str) -> Result<Response, Error> {
        let addr =
            self.command.http.ok_or_else(|| self.error("was started without an HTTP address".into()))?;
        http::get(addr, path)
            .await
            .map_err(|source| Error::io(&self.command.name, format!("http://{addr}{path}"), source))
    }

    /// Its metrics.
    ///
    /// # Errors
    /// If it does not answer with 200 and samples.
    pub async fn metrics(&self) -> Result<Samples, Error> {
        let response = self.get("/metrics").await?;
        if response.status != HEALTH_OK {
            return Err(self.error(format!("/metrics answered {}", response.status)));
        }
        Samples::parse(&response.body).map_err(|message| self.error(message))
    }

    /// Waits until `/health` answers 200: all that it is to copy is there, and is copied.
    ///
    /// # Errors
    /// If it ends first, or with its last answer after `within`.
    pub async fn healthy(&mut self, within: Duration) -> Result<(), Error> {
        self.answers_well("/health", within).await
    }

    /// Waits until `/readyz` answers 200: it copies what there is. A collection or a topic may be missing yet.
    ///
    /// # Errors
    /// If it ends first, or with its last answer after `within`.
    pub async fn ready(&mut self, within: Duration) -> Result<(), Error> {
        self.answers_well("/readyz", within).await
    }

    async fn answers_well(&mut self, path: &str, within: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        loop {
            let (is_well, last) = self.said(path).await;
            if is_well {
                return Ok(());
            }
            if let Some(status) = self.exit_status()? {
                return Err(self.error(format!("ended before {path} was well ({status})")));
            }
            if Instant::now() >= deadline {
                let seconds = within.as_secs_f64();
                let (_, health) = self.said("/health").await;
                return Err(self.error(format!("was not well after {seconds} s ({last}; {health})")));
            }
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }

    /// Whether a path answers 200, and in words what it answers.
    async fn said(&self, path: &str) -> (bool, String) {
        match self.get(path).await {
            Ok(Response { status, body }) => {
                (status == HEALTH_OK, format!("{path} answered {status}: {}", body.trim()))
            }
            Err(error) => (false, error.to_string()),
        }
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        self.process.signal(signal).map_err(|source: io::Error| {
            Error::io(&self.command.name, "could not be signalled", source).with_log(&self.command.log)
        })
    }

    fn error(&self, message: String) -> Error {
        Error::new(&self.command.name, message).with_log(&self.command.log)
    }
}
