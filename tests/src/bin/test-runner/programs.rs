//! The test programs that cargo has built.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cdc_tests::Failure;
use serde_json::Value;

/// One program with tests.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) package: String,
    /// The name of the library, the binary or the file below `tests/`.
    pub(crate) target: String,
    pub(crate) path: PathBuf,
    /// The package's folder, from which cargo would run it.
    pub(crate) folder: PathBuf,
    /// In the order in which it runs them.
    pub(crate) tests: Vec<String>,
}

/// The cargo to call.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds all tests as `cargo test` would. Returns the programs that hold any.
pub(crate) fn build() -> Result<Vec<Program>, Failure> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    let built = command.stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        return Err("the tests could not be built".into());
    }
    let mut programs = Vec::new();
    for line in String::from_utf8(built.stdout)?.lines() {
        let Some(mut program) = program(&serde_json::from_str(line)?) else { continue };
        program.tests = tests(&program)?;
        if !program.tests.is_empty() {
            programs.push(program);
        }
    }
    Ok(programs)
}

/// A program with tests, where the message is of one.
fn program(message: &Value) -> Option<Program> {
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let manifest = PathBuf::from(message["manifest_path"].as_str().filter(|_| is_test)?);
    let folder = manifest.parent()?.to_path_buf();
    // `path+file:///…/crates/kafka#cdc-kafka@0.1.0`, without the name where the folder has the same.
    let (address, version) = message["package_id"].as_str()?.rsplit_once('#')?;
    let package =
        version.split_once('@').map_or_else(|| address.rsplit('/').next(), |(name, _)| Some(name))?;
    Some(Program {
        package: package.to_owned(),
        target: message["target"]["name"].as_str()?.to_owned(),
        path: PathBuf::from(message["executable"].as_str()?),
        folder,
        tests: Vec::new(),
    })
}

/// The names of its tests.
fn tests(program: &Program) -> Result<Vec<String>, Failure> {
    let listed = Command::new(&program.path).args(["--list", "--format=terse"]).output()?;
    if !listed.status.success() {
        return Err(format!("{} does not list its tests", program.path.display()).into());
    }
    let listed = String::from_utf8(listed.stdout)?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}
