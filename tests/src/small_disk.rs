//! A file system of its own, as small as a test wants it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;

/// Mounted until it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// So many bytes, owned by this user and group; `None` where this process may not mount.
    ///
    /// # Errors
    /// If there is no folder to mount it on.
    pub fn mount(bytes: u64, owner: Option<(u32, u32)>) -> Result<Option<Self>, Failure> {
        let disk = Self { folder: tempfile::tempdir()? };
        let owner = owner.map_or_else(String::new, |(user, group)| format!(",uid={user},gid={group}"));
        let options = format!("size={bytes},mode=0700{owner}");
        Ok(disk.run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"]).then_some(disk))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// If it takes more than a disk of its size could.
    pub fn fill(&self) -> Result<(), Failure> {
        match std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(self.ballast())?) {
            Err(full) if full.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err("an endless file ended".into()),
        }
    }

    /// Makes room again.
    ///
    /// # Errors
    /// If it was not full.
    pub fn empty(&self) -> Result<(), Failure> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.path()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may not have been mounted.
        let _ = self.run("umount", &["--lazy"]);
    }
}
