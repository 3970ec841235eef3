use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cdc_machine::Fault;
use cdc_ports::{Failure, StoreIdentity};

use crate::classify::file_fault;
use crate::disk::{Disk, LocalDisk};
use crate::record::{MAX_BYTES, Record};
use crate::register::{Expected, Reading, Register, Swap};
use crate::store::LeasedStore;

#[cfg(test)]
mod crashes;

/// How long another process may hold the lock file; it holds it for one read and one write.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait before asking for the lock again.
const LOCK_POLL: Duration = Duration::from_millis(2);

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
pub struct FileRegister<D = LocalDisk> {
    paths: Arc<Paths>,
    disk: Arc<D>,
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
        Self::on(LocalDisk, path)
    }
}

impl<D: Disk> FileRegister<D> {
    /// The same on another disk.
    ///
    /// # Errors
    /// `Fatal` where `path` names no file.
    pub fn on(disk: D, path: impl Into<PathBuf>) -> Result<Self, Failure> {
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
        let paths = Arc::new(Paths { record, previous, lock, temporary, folder });
        Ok(Self { paths, disk: Arc::new(disk), place })
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&D, &Paths) -> Result<T, Step> + Send + 'static,
    ) -> Result<T, Failure> {
        let (disk, paths) = (Arc::clone(&self.disk), Arc::clone(&self.paths));
        match tokio::task::spawn_blocking(move || work(&disk, &paths)).await {
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
        _ => "check the disk and token_storage.file.path",
    };
    let text = format!("could not {doing} {}; {way_out}", path.display());
    Failure::new(file_fault(error.kind()), operation, text).because(error)
}

impl<D: Disk> Register for FileRegister<D> {
    async fn read(&mut self) -> Result<Reading, Failure> {
        self.blocking("token_load", |disk, paths| {
            let _locked = lock(disk, paths)?;
            Ok(Reading { content: read(disk, &paths.record)?, now_ms: now_ms() })
        })
        .await
    }

    async fn swap(&mut self, expected: &Expected, content: &str) -> Result<Swap, Failure> {
        let (expected, content) = (expected.clone(), content.to_owned());
        self.blocking("token_save", move |disk, paths| {
            let _locked = lock(disk, paths)?;
            let current = read(disk, &paths.record)?;
            if !expected.is_met_by(current.as_deref()) {
                return Ok(Swap::Refused(Reading { content: current, now_ms: now_ms() }));
            }
            replace(disk, paths, current.as_deref(), content.as_bytes())?;
            Ok(Swap::Done { now_ms: now_ms() })
        })
        .await
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn setting(&self) -> &'static str {
        "token_storage.file.path"
    }

    fn way_back(&self) -> String {
        format!(
            "copy {} over it, the record before the last write, if it is whole",
            self.paths.previous.display()
        )
    }
}

/// Holds the lock file until the returned handle is dropped. It is a file of its own, since the record is
/// replaced by another inode with every write.
#[expect(clippy::disallowed_methods, reason = "it runs on a thread for blocking work; flock has no time-out")]
fn lock<D: Disk>(disk: &D, paths: &Paths) -> Result<D::Lock, Step> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match disk.try_lock(&paths.lock) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Ok(None) => return Err(io::ErrorKind::WouldBlock.into()).during("lock", &paths.lock),
            Err(error) => return Err(error).during("lock", &paths.lock),
        }
    }
}

/// The file's content; what is longer than any record is cut off, and then is none.
fn read<D: Disk>(disk: &D, path: &Path) -> Result<Option<Vec<u8>>, Step> {
    match disk.read(path, MAX_BYTES) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).during("read", path),
    }
}

/// Replaces the record so that after a crash at any point the old or the new one is there, whole.
fn replace<D: Disk>(disk: &D, paths: &Paths, current: Option<&[u8]>, content: &[u8]) -> Result<(), Step> {
    write_whole(disk, &paths.temporary, content)?;
    // A damaged record must not push out the last good copy.
    if let Some(current) = current.filter(|current| Record::decode(current).is_ok()) {
        keep_previous(disk, paths, current)?;
    }
    disk.rename(&paths.temporary, &paths.record).during("replace", &paths.record)?;
    disk.sync_folder(&paths.folder).during("sync", &paths.folder)
}

/// A file with this content, on the medium; its name may not be yet. It is a new file each time: one whose
/// sync failed before would answer with a success that means nothing.
fn write_whole<D: Disk>(disk: &D, path: &Path, content: &[u8]) -> Result<(), Step> {
    remove(disk, path)?;
    let mut file = disk.create(path).during("create", path)?;
    disk.write(&mut file, content).during("write", path)?;
    disk.sync(&file).during("sync", path)
}

fn keep_previous<D: Disk>(disk: &D, paths: &Paths, current: &[u8]) -> Result<(), Step> {
    remove(disk, &paths.previous)?;
    // Not every file system has hard links.
    match disk.link(&paths.record, &paths.previous) {
        Ok(()) => Ok(()),
        Err(_) => write_whole(disk, &paths.previous, current),
    }
}

fn remove<D: Disk>(disk: &D, path: &Path) -> Result<(), Step> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).during("remove", path),
        _ => Ok(()),
    }
}

/// This machine's clock: a file is shared by processes of one machine, or of machines with one time.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
