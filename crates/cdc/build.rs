//! Names the commit that the binary is built from, for `cdc --version`, and leaves debug information out of it.

use std::path::Path;
use std::process::Command;

fn main() {
    // The first stack trace in the log makes the process read all line tables of the binary: 47 MiB in the
    // development profile. The symbols stay, so that traces name their functions.
    println!("cargo::rustc-link-arg-bins=-Wl,-S");
    println!("cargo::rerun-if-env-changed=CDC_COMMIT");
    // A build from a tarball has no repository and says so, unless its packager names the commit.
    let commit = std::env::var("CDC_COMMIT").ok().or_else(described).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=CDC_COMMIT={commit}");
}

fn described() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // The log of HEAD changes with every commit and every switch of branches, and with nothing else.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists());
    if let Some(log) = log {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["describe", "--always", "--tags", "--abbrev=12"]).filter(|commit| !commit.is_empty())
}
