//! The `cdc` binary. See the library of the same name.

use std::io::Write as _;
use std::process::ExitCode;

use cdc::cli::{Cli, Command, GapsCommand, TokenCommand};
use cdc::commands;
use clap::Parser as _;

/// It gives memory back after a burst, which the system's allocator does not. librdkafka allocates through it, too,
/// and `.cargo/config.toml` says how soon it gives back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Watch(arguments) => commands::watch(arguments),
        Command::Sync(arguments) => commands::sync(arguments),
        Command::Run(arguments) => commands::run(arguments),
        Command::Validate(arguments) => commands::validate(arguments),
        Command::Token(TokenCommand::Show(arguments)) => commands::token_show(arguments),
        Command::Token(TokenCommand::Reset(arguments)) => commands::token_reset(arguments),
        Command::Token(TokenCommand::Repartition(arguments)) => commands::token_repartition(arguments),
        Command::Gaps(GapsCommand::List(arguments)) => commands::gaps_list(arguments),
        Command::Gaps(GapsCommand::Acknowledge(arguments)) => commands::gaps_acknowledge(arguments),
        Command::Graph(arguments) => commands::graph(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // With stderr closed, the exit code is all that is left to say.
            let _ = writeln!(std::io::stderr().lock(), "cdc: {failed}");
            failed.exit.into()
        }
    }
}
