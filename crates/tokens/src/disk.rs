//! What the file store needs of a file system, and no more: few enough operations that a model can lose what
//! a real disk may lose.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[cfg(test)]
pub(crate) mod model;

/// The record names hosts and topics and decides what is replayed: its owner's business alone.
const MODE: u32 = 0o600;

/// A file system, as far as the token store uses one.
///
/// What is written is durable after [`Self::sync`] on the file *and*, for its name, [`Self::sync_folder`] on
/// the folder, both without an error. After a failed `sync` the file is of no use: the kernel may have
/// dropped what it could not write and answer the next `sync` with success.
pub trait Disk: Send + Sync + 'static {
    /// A file that is being written.
    type File: Send;
    /// A lock, held until it is dropped.
    type Lock: Send;

    /// Makes a new file for its owner alone.
    ///
    /// # Errors
    /// Whatever the system says; `AlreadyExists` where the name is taken.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Writes everything.
    ///
    /// # Errors
    /// Whatever the system says; part of it may have been written.
    fn write(&self, file: &mut Self::File, content: &[u8]) -> io::Result<()>;

    /// Brings a file's content onto the medium.
    ///
    /// # Errors
    /// Whatever the system says; not to be tried again on the same file.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Reads a file, at most this many bytes of it.
    ///
    /// # Errors
    /// Whatever the system says; `NotFound` where there is none.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// Whatever the system says; not every file system can.
    fn link(&self, existing: &Path, second: &Path) -> io::Result<()>;

    /// Gives a file another name, at once and in the place of the file that has it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    /// Whatever the system says; `NotFound` where there is no such name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Brings a folder's names onto the medium.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Locks a file, made where there is none, against other processes; `None` where another has it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;
}

/// This machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    type File = File;
    type Lock = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().create_new(true).write(true).mode(MODE).open(path)
    }

    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        file.write_all(content)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut content)?;
        Ok(content)
    }

    fn link(&self, existing: &Path, second: &Path) -> io::Result<()> {
        fs::hard_link(existing, second)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<File>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
