use super::output::print;
use crate::cli::ValidateArgs;
use crate::config::AnyConfig;
use crate::exit::{Exit, Failed};

/// `cdc validate`: reads a configuration of any kind and tells everything that is wrong with it.
///
/// # Errors
/// Exit 78 with all problems; exit 2 without `--offline`.
pub fn validate(arguments: ValidateArgs) -> Result<(), Failed> {
    let config = AnyConfig::load(&arguments.config.sources())?;
    if !arguments.offline {
        return Err(Failed::new(Exit::Usage, "live validation is not available yet; use --offline"));
    }
    print(&format!("the {}'s configuration is valid; no server was asked", config.kind()))?;
    config.needed_namespaces().map_or(Ok(()), |needed| print(&needed))
}
