//! The folder of one run, and the sweeping of folders whose run was killed.

use std::{
    env, fs,
    fs::File,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Error, binaries};

/// Held exclusively by a living run: whoever can lock it has found a folder that nobody owns any more.
const OWNER_FILE: &str = "owner.lock";
const RUN_PREFIX: &str = "run-";
/// Set (to anything but 0), it keeps every run's folder for a look at logs and data.
const KEEP_VARIABLE: &str = "DEVSTACK_KEEP";

/// The folder that holds one run's data and logs; it goes when this value is dropped.
///
/// With the environment variable `DEVSTACK_KEEP=1` it stays.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Removes the folder on drop; `None` if it is kept.
    removal: Option<TempDir>,
    /// Locked as long as this run lives.
    owner: Option<File>,
}

impl RunFolder {
    /// A new folder `run-XXXXXX` below `parent`, by default `target/devstack`.
    ///
    /// # Errors
    /// If the folder or the lock in it cannot be made.
    pub fn create(parent: Option<&Path>) -> Result<Self, Error> {
        let parent = parent.map_or_else(binaries::devstack_folder, Path::to_path_buf);
        let failed = |source| {
            Error::io("devstack", format!("no folder could be made in {}", parent.display()), source)
        };
        fs::create_dir_all(&parent).map_err(failed)?;
        // Sweeping and creating exclude each other: a folder whose owner has yet to lock it looks abandoned.
        let turn = File::create(parent.join("sweep.lock")).map_err(failed)?;
        turn.lock().map_err(failed)?;
        sweep(&parent);
        let folder = tempfile::Builder::new()
            .prefix(RUN_PREFIX)
            .permissions(fs::Permissions::from_mode(0o755)) // PostgreSQL runs as another user and must get through
            .tempdir_in(&parent)
            .map_err(failed)?;
        let owner = File::create(folder.path().join(OWNER_FILE)).map_err(failed)?;
        owner.lock().map_err(failed)?;
        let mut folder =
            Self { path: folder.path().to_path_buf(), removal: Some(folder), owner: Some(owner) };
        if kept_by_environment() {
            folder.keep();
        }
        Ok(folder)
    }

    /// Leaves the folder where it is, also when nobody owns it any more.
    pub(crate) fn keep(&mut self) {
        // Unlocked and without the file, it is none of a sweep's business. A file that cannot be removed is swept.
        _ = fs::remove_file(self.path.join(OWNER_FILE));
        self.owner = None;
        _ = self.removal.take().map(TempDir::keep);
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn kept_by_environment() -> bool {
    env::var_os(KEEP_VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Removes the folders of runs that were killed before they could do so themselves.
///
/// What cannot be removed is left: it harms nobody, and the next sweep tries again.
fn sweep(parent: &Path) {
    if kept_by_environment() {
        return;
    }
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(RUN_PREFIX));
        let abandoned = ours && File::open(path.join(OWNER_FILE)).is_ok_and(|owner| owner.try_lock().is_ok());
        if abandoned {
            _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(Some(parent.path())).unwrap();
        let path = folder.path().to_path_buf();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn sweeps_abandoned_folders_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let living = RunFolder::create(Some(parent.path())).unwrap();
        let mut kept = RunFolder::create(Some(parent.path())).unwrap();
        kept.keep();
        let kept_path = kept.path().to_path_buf();
        drop(kept);
        let abandoned = parent.path().join("run-killed");
        fs::create_dir(&abandoned).unwrap();
        File::create(abandoned.join(OWNER_FILE)).unwrap();
        let foreign = parent.path().join("kafka");
        fs::create_dir(&foreign).unwrap();

        drop(RunFolder::create(Some(parent.path())).unwrap());

        assert!(!abandoned.exists());
        assert!(living.path().exists() && kept_path.exists() && foreign.exists());
    }
}
