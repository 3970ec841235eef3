//! Where the servers' binaries are: what `scripts/setup.sh servers` put under the target folder, Debian's PostgreSQL
//! with its versioned folders, and PATH for the rest.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::Error;

const SETUP_ADVICE: &str = "run scripts/setup.sh servers";

/// Debian keeps one folder of PostgreSQL binaries for each major version, none of them on PATH.
const POSTGRES_FOLDER: &str = "/usr/lib/postgresql";

/// The folder of everything that belongs to the test servers: binaries, templates and the folders of the runs.
pub(crate) fn devstack_folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    // Without "..", so that process listings and log lines show plain paths.
    let target = target.canonicalize().unwrap_or(target);
    target.join("devstack")
}

pub(crate) fn mongod() -> Result<PathBuf, Error> {
    existing("mongod", devstack_folder().join("mongodb/mongod"))
}

pub(crate) fn kafka_libs() -> Result<PathBuf, Error> {
    existing("kafka", devstack_folder().join("kafka/libs"))
}

pub(crate) fn java() -> Result<PathBuf, Error> {
    on_path("java")
}

pub(crate) fn redis_server() -> Result<PathBuf, Error> {
    on_path("redis-server")
}

/// The tool that checks and plays Prometheus' rules.
///
/// # Errors
/// Where it is not installed.
pub fn promtool() -> Result<PathBuf, Error> {
    existing("promtool", devstack_folder().join("prometheus/promtool"))
}

/// The `bin` folder of the newest installed PostgreSQL.
pub(crate) fn postgres_bin() -> Result<PathBuf, Error> {
    let versions = fs::read_dir(POSTGRES_FOLDER).into_iter().flatten().flatten();
    versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").exists())
        .max()
        .map(|(_, bin)| bin)
        .ok_or_else(|| {
            Error::new("postgres", format!("no server below {POSTGRES_FOLDER} is installed; {SETUP_ADVICE}"))
        })
}

fn existing(server: &str, path: PathBuf) -> Result<PathBuf, Error> {
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::new(server, format!("{} does not exist; {SETUP_ADVICE}", path.display())))
    }
}

fn on_path(program: &str) -> Result<PathBuf, Error> {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::new(program, format!("is not on PATH; {SETUP_ADVICE}")))
}
