//! A disk that loses what was not synced.
//!
//! A crash keeps any part of a file that was not synced (torn, truncated, with holes), and of the names that
//! were given and taken since the folder's last sync any subset. A failed `sync` drops what it could not
//! write, and the next one on the same file succeeds without it. Any operation can fail, done or not.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;

use super::Disk;

/// The medium takes or loses a part as long as this, in bytes.
const SECTOR: usize = 16;

/// One operation's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What the caller is told.
    pub(crate) error: i32,
    /// Whether it was done nonetheless.
    pub(crate) done: bool,
}

/// `errno(3)`.
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EIO: i32 = 5;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EROFS: i32 = 30;

/// A handle to the disk; it outlives the process that wrote to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<File>,
    /// What a running system sees.
    names: Names,
    /// What is on the medium.
    durable: Names,
    /// What was done to names since, each entry at once or not at all.
    pending: Vec<Vec<(PathBuf, Option<usize>)>>,
    operations: u32,
    troubles: BTreeMap<u32, Trouble>,
    crash_at: Option<u32>,
    rng: Option<Rng>,
    /// For showing that the model would catch it: these report success and do nothing.
    lazy_sync: bool,
    lazy_folder_sync: bool,
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Clone, Debug, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    is_dirty: bool,
    /// A sync has failed: what it dropped is clean now, and stays lost.
    is_spoilt: bool,
}

impl ModelDisk {
    pub(crate) fn seeded(seed: u64) -> Self {
        let disk = Self::default();
        disk.state().rng = Some(Rng::with_seed(seed));
        disk
    }

    pub(crate) fn with_lazy_sync(self) -> Self {
        self.state().lazy_sync = true;
        self
    }

    pub(crate) fn with_lazy_folder_sync(self) -> Self {
        self.state().lazy_folder_sync = true;
        self
    }

    /// From now on the operations with these numbers, counted from 0, fail; from number `crash_at` on the
    /// machine is off.
    pub(crate) fn plan(&self, troubles: BTreeMap<u32, Trouble>, crash_at: Option<u32>) {
        let mut state = self.state();
        state.operations = 0;
        state.troubles = troubles;
        state.crash_at = crash_at;
    }

    /// Power fails and comes back.
    pub(crate) fn crash(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let rng = state.rng.get_or_insert_with(|| Rng::with_seed(0));
        for change in state.pending.drain(..) {
            if rng.bool() {
                apply(&mut state.durable, change);
            }
        }
        for file in &mut state.files {
            if file.is_dirty {
                file.durable = torn(&file.seen, rng);
            }
            file.seen.clone_from(&file.durable);
            file.is_dirty = false;
        }
        state.names.clone_from(&state.durable);
        state.crash_at = None;
        state.troubles.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation: refused once the machine is off, and done or not where it is to fail.
    fn operation<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.operation_or(work, |_| {})
    }

    fn operation_or<T>(
        &self,
        work: impl FnOnce(&mut State) -> io::Result<T>,
        failed: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = self.state();
        let number = state.operations;
        state.operations += 1;
        if state.crash_at.is_some_and(|at| number >= at) {
            return Err(io::Error::other("the machine is off"));
        }
        match state.troubles.get(&number).copied() {
            None => work(&mut state),
            Some(Trouble { error, done }) => {
                if done {
                    work(&mut state)?;
                } else {
                    failed(&mut state);
                }
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }
}

impl State {
    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Vec<(PathBuf, Option<usize>)>) {
        apply(&mut self.names, change.clone());
        self.pending.push(change);
    }
}

fn apply(names: &mut Names, change: Vec<(PathBuf, Option<usize>)>) {
    for (path, file) in change {
        match file {
            Some(file) => drop(names.insert(path, file)),
            None => drop(names.remove(&path)),
        }
    }
}

/// Any length, and any sectors of it missing.
fn torn(content: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut kept = content[..rng.usize(0..=content.len())].to_vec();
    for sector in kept.chunks_mut(SECTOR) {
        if rng.u8(0..4) == 0 {
            sector.fill(0);
        }
    }
    kept
}

impl Disk for ModelDisk {
    type File = usize;
    type Lock = ();

    fn create(&self, path: &Path) -> io::Result<usize> {
        self.operation(|state| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = state.files.len();
            state.files.push(File::default());
            state.change(vec![(path.to_owned(), Some(file))]);
            Ok(file)
        })
    }

    fn write(&self, file: &mut usize, content: &[u8]) -> io::Result<()> {
        let write = |state: &mut State, content: &[u8]| {
            state.files[*file].seen.extend_from_slice(content);
            state.files[*file].is_dirty = true;
        };
        self.operation_or(
            |state| {
                write(state, content);
                Ok(())
            },
            // A disk that fills up takes what fits.
            |state| write(state, &content[..content.len() / 2]),
        )
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        self.operation_or(
            |state| {
                let file = &mut state.files[*file];
                if !state.lazy_sync && !file.is_spoilt {
                    file.durable.clone_from(&file.seen);
                    file.is_dirty = false;
                }
                Ok(())
            },
            |state| {
                let rng = state.rng.get_or_insert_with(|| Rng::with_seed(0));
                let file = &mut state.files[*file];
                file.durable = torn(&file.seen, rng);
                file.is_dirty = false;
                file.is_spoilt = true;
            },
        )
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        self.operation(|state| {
            let mut content = state.files[state.file(path)?].seen.clone();
            content.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            Ok(content)
        })
    }

    fn link(&self, existing: &Path, second: &Path) -> io::Result<()> {
        self.operation(|state| {
            let file = state.file(existing)?;
            if state.names.contains_key(second) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.change(vec![(second.to_owned(), Some(file))]);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(|state| {
            let file = state.file(from)?;
            state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation(|state| {
            state.file(path)?;
            state.change(vec![(path.to_owned(), None)]);
            Ok(())
        })
    }

    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        self.operation_or(
            |state| {
                if !state.lazy_folder_sync {
                    for change in std::mem::take(&mut state.pending) {
                        apply(&mut state.durable, change);
                    }
                }
                Ok(())
            },
            |state| {
                // Some of it is on the medium, some of it never will be.
                let rng = state.rng.get_or_insert_with(|| Rng::with_seed(0));
                for change in std::mem::take(&mut state.pending) {
                    match rng.u8(0..3) {
                        0 => apply(&mut state.durable, change),
                        1 => {}
                        _ => state.pending.push(change),
                    }
                }
            },
        )
    }

    fn try_lock(&self, _path: &Path) -> io::Result<Option<()>> {
        self.operation(|_| Ok(Some(())))
    }
}

mod tests {
    use super::*;

    const CONTENT: &[u8] = b"sixteen bytes and a few more of them";

    fn written(disk: &ModelDisk) -> usize {
        let mut file = disk.create(Path::new("a")).unwrap();
        disk.write(&mut file, CONTENT).unwrap();
        file
    }

    fn read(disk: &ModelDisk) -> Option<Vec<u8>> {
        disk.read(Path::new("a"), u64::MAX).ok()
    }

    #[test]
    fn what_is_synced_stays_and_what_is_not_may_be_lost() {
        let (mut nameless, mut torn) = (0, 0);
        for seed in 0..64 {
            let disk = ModelDisk::seeded(seed);
            let file = written(&disk);
            assert_eq!(read(&disk).as_deref(), Some(CONTENT));
            disk.crash();
            nameless += u32::from(read(&disk).is_none());
            torn += u32::from(read(&disk).is_some_and(|content| content != CONTENT));

            let disk = ModelDisk::seeded(seed);
            assert_eq!(written(&disk), file);
            disk.sync(&file).unwrap();
            disk.sync_folder(Path::new(".")).unwrap();
            disk.crash();
            assert_eq!(read(&disk).as_deref(), Some(CONTENT));
        }
        assert!(nameless > 8 && torn > 8, "{nameless} names and {torn} contents lost in 64 crashes");
    }

    #[test]
    fn a_sync_after_a_failed_one_succeeds_and_saves_nothing() {
        let disk = ModelDisk::seeded(1);
        let file = written(&disk);
        disk.sync_folder(Path::new(".")).unwrap();
        disk.plan(BTreeMap::from([(0, Trouble { error: EIO, done: false })]), None);
        assert_eq!(disk.sync(&file).unwrap_err().raw_os_error(), Some(EIO));
        disk.sync(&file).unwrap();
        disk.crash();
        assert_ne!(read(&disk).as_deref(), Some(CONTENT));
    }

    #[test]
    fn from_the_crash_on_nothing_is_done() {
        let disk = ModelDisk::seeded(1);
        disk.plan(BTreeMap::new(), Some(1));
        assert!(disk.create(Path::new("a")).is_ok());
        assert!(disk.sync_folder(Path::new(".")).is_err());
        assert!(disk.read(Path::new("a"), 1).is_err());
    }
}
