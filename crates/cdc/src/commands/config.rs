use super::output::print;
use crate::cli::{ConfigFile, ConfigPrintArgs, ConfigSchemaArgs};
use crate::config::{self, Kind};
use crate::exit::Failed;

/// `cdc config print`
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn config_print(arguments: ConfigPrintArgs) -> Result<(), Failed> {
    let text = config::print(&arguments.config.sources(), arguments.defaults)?;
    print(text.trim_end())
}

/// `cdc config schema`
///
/// # Errors
/// When stdout cannot be written.
pub fn config_schema(arguments: ConfigSchemaArgs) -> Result<(), Failed> {
    let kind = match arguments.file {
        ConfigFile::Watcher => Kind::Watcher,
        ConfigFile::Syncer => Kind::Syncer,
        ConfigFile::Pipeline => Kind::Pipeline,
    };
    print(&format!("{:#}", config::schema(kind)))
}
