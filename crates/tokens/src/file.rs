use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cdc_executor::ports::{Failure, StoreIdentity};
use cdc_machine::Fault;

use crate::classify::file_fault;
use crate::record::{MAX_BYTES, Record};
use crate::register::{Reading, Register, Swap};
use crate::store::LeasedStore;

/// How long another process may hold the lock file; it holds it for one read and one write.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait before asking for the lock again.
const LOCK_POLL: Duration = Duration::from_millis(2);
/// The record names hosts and topics and decides what is replayed: its owner's business alone.
const MODE: u32 = 0o600;

/// The token store in a file.
///
/// Beside `resume_token.dat` stand `resume_token.dat.previous`, the record before the last write;
/// `resume_token.dat.lock`, which is held for the time of one read or write; and for a moment
/// `resume_token.dat.tmp`.
pub type FileStore = LeasedStore<FileRegister>;

impl FileStore {
    /// A store in the file at `path` for `instance`. The folder has to exist.
    ///
    /// # Errors
    /// `Fatal` where `path` names no file.
    pub fn new(
        path: impl Into<PathBuf>,
        identity: StoreIdentity,
        instance: impl Into<String>,
    ) -> Result<Self, Failure> {
        Self::over(FileRegister::new(path)?, identity, instance)
    }
}

/// One file as a [`Register`].
pub struct FileRegister {
    paths: Arc<Paths>,
    place: String,
}

#[derive(Debug)]
struct Paths {
    record: PathBuf,
    previous: PathBuf,
    lock: PathBuf,
    temporary: PathBuf,
    folder: PathBuf,
}

/// A failed system call, and what it was for.
#[derive(Debug)]
struct Step {
    doing: &'static str,
    path: PathBuf,
    error: io::Error,
}

trait During<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T, Step>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T, Step> {
        self.map_err(|error| Step { doing, path: path.to_owned(), error })
    }
}

impl FileRegister {
    /// A register over the file at `path`.
    ///
    /// # Errors
    /// `Fatal` where `path` names no file.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, Failure> {
        let record = path.into();
        let (Some(folder), Some(name)) = (record.parent(), record.file_name()) else {
            return Err(Failure::new(
                Fault::Fatal,
                "token_load",
                format!("token_storage.file.path names no file: `{}`", record.display()),
            ));
        };
        let beside = |suffix: &str| {
            let mut name = name.to_owned();
            name.push(suffix);
            record.with_file_name(name)
        };
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
        let place = format!("the file {}", record.display());
        let (previous, lock, temporary) = (beside(".previous"), beside(".lock"), beside(".tmp"));
        Ok(Self { paths: Arc::new(Paths { record, previous, lock, temporary, folder }), place })
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Paths) -> Result<T, Step> + Send + 'static,
    ) -> Result<T, Failure> {
        let paths = Arc::clone(&self.paths);
        match tokio::task::spawn_blocking(move || work(&paths)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(step)) => Err(failure(operation, step)),
            Err(join) => {
                Err(Failure::new(Fault::Fatal, operation, format!("the task for {} broke off", self.place))
                    .because(join))
            }
        }
    }
}

fn failure(operation: &'static str, Step { doing, path, error }: Step) -> Failure {
    let way_out = match error.kind() {
        io::ErrorKind::NotFound => "create the folder of token_storage.file.path, writable for this user",
        io::ErrorKind::PermissionDenied => "let this user write the file and its folder",
        io::ErrorKind::ReadOnlyFilesystem => "put token_storage.file.path on a disk that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk; trying again",
        io::ErrorKind::WouldBlock => "another process holds it; trying again",
        io::ErrorKind::InvalidData => {
            "restore the previous copy (the same name with `.previous`), or run `cdc token reset` to begin anew"
        }
        _ => "check the disk and token_storage.file.path",
    };
    let text = format!("could not {doing} {}; {way_out}", path.display());
    Failure::new(file_fault(error.kind()), operation, text).because(error)
}

impl Register for FileRegister {
    async fn read(&mut self) -> Result<Reading, Failure> {
        self.blocking("token_load", |paths| {
            let _locked = lock(paths)?;
            Ok(Reading { content: read(&paths.record)?, now_ms: now_ms() })
        })
        .await
    }

    async fn swap(&mut self, expected: Option<&str>, content: &str) -> Result<Swap, Failure> {
        let (expected, content) = (expected.map(str::to_owned), content.to_owned());
        self.blocking("token_save", move |paths| {
            let _locked = lock(paths)?;
            let current = read(&paths.record)?;
            let same = match (&current, &expected) {
                (None, None) => true,
                (Some(current), Some(expected)) => current.starts_with(expected.as_str()),
                _ => false,
            };
            if !same {
                return Ok(Swap::Refused(Reading { content: current, now_ms: now_ms() }));
            }
            replace(paths, current.as_deref(), &content)?;
            Ok(Swap::Done { now_ms: now_ms() })
        })
        .await
    }

    fn place(&self) -> &str {
        &self.place
    }
}

/// Holds the lock file until the returned handle is dropped. It is a file of its own, since the record is
/// replaced by another inode with every write.
#[expect(clippy::disallowed_methods, reason = "it runs on a thread for blocking work; flock has no time-out")]
fn lock(paths: &Paths) -> Result<File, Step> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(MODE)
        .open(&paths.lock)
        .during("open", &paths.lock)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(error) => return Err(io::Error::from(error)).during("lock", &paths.lock),
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, Step> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).during("open", path),
    };
    let mut content = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut content).during("read", path)?;
    if content.len() as u64 > MAX_BYTES {
        let error = io::Error::new(io::ErrorKind::InvalidData, "larger than any token record");
        return Err(error).during("read", path);
    }
    Ok(Some(content))
}

/// Replaces the record so that after a crash at any point the old or the new one is there, whole.
fn replace(paths: &Paths, current: Option<&str>, content: &str) -> Result<(), Step> {
    let temporary = &paths.temporary;
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(MODE)
        .open(temporary)
        .during("create", temporary)?;
    file.write_all(content.as_bytes()).during("write", temporary)?;
    file.sync_all().during("sync", temporary)?;
    // A damaged record must not push out the last good copy.
    if current.is_some_and(|current| Record::decode(current).is_ok()) {
        keep_previous(paths)?;
    }
    fs::rename(temporary, &paths.record).during("replace", &paths.record)?;
    File::open(&paths.folder).and_then(|folder| folder.sync_all()).during("sync", &paths.folder)
}

fn keep_previous(paths: &Paths) -> Result<(), Step> {
    match fs::remove_file(&paths.previous) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).during("remove", &paths.previous);
        }
        _ => {}
    }
    // Not every file system has hard links.
    fs::hard_link(&paths.record, &paths.previous)
        .or_else(|_| fs::copy(&paths.record, &paths.previous).map(drop))
        .during("keep the previous copy", &paths.previous)
}

/// This machine's clock: a file is shared by processes of one machine, or of machines with one time.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
