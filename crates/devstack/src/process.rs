//! Child processes that cannot outlive this one, and signals to them.

use std::{
    fs,
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Between two looks at whether a child has ended.
const EXIT_POLL: Duration = Duration::from_millis(10);
/// A process killed with SIGKILL ends at once, unless the kernel still writes for it.
pub(crate) const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// How long servers live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until they are dropped or this process ends, whichever comes first.
    #[default]
    Scoped,
    /// Until somebody runs the `stop.sh` in their folder: dropping them does nothing.
    Detached,
}

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// The working directory.
    pub(crate) folder: PathBuf,
    /// Takes standard output and standard error, appended.
    pub(crate) log: PathBuf,
    /// Another user to run as, possible only for root.
    pub(crate) user: Option<User>,
    /// Of the running process. Whether dropping kills it is said by [`Process::detach`].
    pub(crate) lifetime: Lifetime,
}

/// A user by numbers, as the kernel and `setpriv` know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The user called `name`, from `/etc/passwd`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.first() != Some(&name) {
                return None;
            }
            Some(Self { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
        })
    }
}

impl Program {
    /// `setpriv` (util-linux) stands between: it drops the user first and then asks for SIGKILL at the parent's death,
    /// in this order because changing credentials clears the request. It replaces itself, so the child keeps its pid.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(user) = self.user {
            command
                .args([format!("--reuid={}", user.uid), format!("--regid={}", user.gid)])
                .arg("--clear-groups");
        }
        command.args([
            "--pdeathsig",
            match self.lifetime {
                Lifetime::Scoped => "KILL",
                Lifetime::Detached => "clear",
            },
        ]);
        command.arg("--").arg(&self.path).args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.process_group(0); // Ctrl-C in a terminal is for the demo, which stops its servers in order
        command
    }

    pub(crate) fn spawn(&self) -> io::Result<Process> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.command();
        command.stdout(log.try_clone()?).stderr(log);
        let child = spawn_from_lasting_thread(command)?;
        Ok(Process { pid: Pid::from_child(&child), child, detached: false })
    }
}

type SpawnRequest = (Command, mpsc::SyncSender<io::Result<Child>>);

/// The thread that starts all children. The parent-death signal fires when the *thread* that forked ends, and a
/// runtime's threads come and go; this one lives as long as the process.
static SPAWNER: LazyLock<mpsc::Sender<SpawnRequest>> = LazyLock::new(|| {
    let (requests, queue) = mpsc::channel::<SpawnRequest>();
    let spawned = thread::Builder::new().name("devstack-spawner".into()).spawn(move || {
        for (mut command, reply) in queue {
            // A requester that is gone needs no answer, and its child must not stay.
            if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(command.spawn()) {
                drop(orphan.kill().and_then(|()| orphan.wait()));
            }
        }
    });
    // Without the thread the queue is gone, and every request answers with an error.
    drop(spawned);
    requests
});

fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    let (reply, answer) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts processes could not be started");
    SPAWNER.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// One running (or ended, not yet forgotten) child and its descendants.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    detached: bool,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From now on, dropping does nothing.
    pub(crate) fn detach(&mut self) {
        self.detached = true;
    }

    /// How it ended, if it has.
    pub(crate) fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends `signal` to the process alone.
    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // The pid cannot belong to another process before it was waited for.
        match self.exit_status()? {
            Some(_) => Err(io::Error::other("the process has ended")),
            None => Ok(kill_process(self.pid, signal)?),
        }
    }

    /// Sends `signal` to the process and its descendants, parents first.
    ///
    /// PostgreSQL's backends lead sessions of their own, so that its process group does not reach them.
    pub(crate) fn signal_tree(&mut self, signal: Signal) -> io::Result<()> {
        self.signal(signal)?;
        for pid in descendants(self.pid()) {
            _ = kill_process(pid, signal); // one that has ended meanwhile has nothing to be told
        }
        Ok(())
    }

    /// Kills process and descendants, and waits until the kernel has forgotten them.
    pub(crate) fn kill_tree(&mut self) -> io::Result<ExitStatus> {
        // Read first: the children of a dead process are nobody's descendants.
        let children = descendants(self.pid());
        match self.exit_status()? {
            Some(status) => return Ok(status),
            None => kill_process(self.pid, Signal::KILL)?,
        }
        for pid in &children {
            _ = kill_process(*pid, Signal::KILL); // it may have ended with its parent
        }
        let status = self.child.wait()?;
        let deadline = Instant::now() + KILLED_WITHIN;
        while children.iter().any(|pid| is_alive(*pid)) && Instant::now() < deadline {
            poll_interval();
        }
        Ok(status)
    }

    /// Waits for its end; `None` if it still runs after `within`.
    pub(crate) async fn exited(&mut self, within: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(EXIT_POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached {
            _ = self.kill_tree(); // nobody is left to be told
        }
    }
}

/// Waits between two looks, where nothing can be awaited.
#[expect(
    clippy::disallowed_methods,
    reason = "`Drop` is not async, and `Server::kill` is on a thread for blocking work"
)]
fn poll_interval() {
    thread::sleep(EXIT_POLL);
}

/// The processes whose chain of parents leads to `root`, parents before children.
fn descendants(root: u32) -> Vec<Pid> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let parent: u32 = stat_field(&entry.path().join("stat"), STAT_PARENT)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}

fn is_alive(pid: Pid) -> bool {
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat_field(&stat, STAT_STATE).is_some_and(|state| state != "Z")
}

/// Numbers of fields in `/proc/PID/stat`, counted from 1 as in proc(5).
pub(crate) const STAT_STATE: usize = 3;
const STAT_PARENT: usize = 4;
pub(crate) const STAT_USER_TICKS: usize = 14;
pub(crate) const STAT_SYSTEM_TICKS: usize = 15;
pub(crate) const STAT_START: usize = 22;

/// One field after the second; that one, the command's name in parentheses, may itself contain blanks.
pub(crate) fn stat_field(path: &Path, number: usize) -> Option<String> {
    let stat = fs::read_to_string(path).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split_whitespace().nth(number - STAT_STATE).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GREETING".into(), "hello".into())],
            folder: folder.into(),
            log: folder.join("log"),
            user: None,
            lifetime: Lifetime::Scoped,
        }
    }

    /// Waits until the script has written `word` into its log, so that a test never races with its start.
    fn wait_for(folder: &Path, word: &str) {
        while !fs::read_to_string(folder.join("log")).unwrap_or_default().contains(word) {
            poll_interval();
        }
    }

    #[tokio::test]
    async fn captures_output_and_exit_status() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = program(folder.path(), "echo $GREETING; exit 3").spawn().unwrap();
        let status = process.exited(Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), "hello\n");
    }

    #[test]
    fn dropping_kills_the_grandchildren_too() {
        let folder = tempfile::tempdir().unwrap();
        // setsid: like a PostgreSQL backend, a grandchild outside the process group.
        let process = program(folder.path(), "setsid sleep 1000 & echo started; wait").spawn().unwrap();
        wait_for(folder.path(), "started");
        let tree = descendants(process.pid());
        assert_eq!(tree.len(), 1);
        drop(process);
        assert!(!tree.iter().any(|pid| is_alive(*pid)));
    }

    #[tokio::test]
    async fn survives_the_thread_that_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_path_buf();
        let mut process =
            thread::spawn(move || program(&path, "sleep 1000").spawn().unwrap()).join().unwrap();
        assert_eq!(process.exited(Duration::from_millis(200)).await.unwrap(), None);
    }

    #[test]
    fn reads_fields_behind_a_name_with_blanks() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "42 (a) b (c) S 7 42 42").unwrap();
        assert_eq!(stat_field(file.path(), STAT_STATE).unwrap(), "S");
        assert_eq!(stat_field(file.path(), STAT_PARENT).unwrap(), "7");
    }
}
