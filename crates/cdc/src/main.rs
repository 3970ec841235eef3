//! The `cdc` binary. See the library of the same name.

use cdc::cli::{Cli, Command, ConfigCommand, DeadLettersCommand, GapsCommand, TokenCommand};
use cdc::commands;
use cdc::exit::Exit;
use clap::Parser as _;
use std::io::Write as _;

/// It gives memory back after a burst, which the system's allocator does not. librdkafka allocates through it, too,
/// and `.cargo/config.toml` says how soon it gives back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let outcome = match Cli::parse().command {
        Command::Watch(arguments) => commands::watch(arguments),
        Command::Sync(arguments) => commands::sync(arguments),
        Command::Run(arguments) => commands::run(arguments),
        Command::Validate(arguments) => commands::validate(arguments),
        Command::Config(ConfigCommand::Print(arguments)) => commands::config_print(arguments),
        Command::Config(ConfigCommand::Schema(arguments)) => commands::config_schema(arguments),
        Command::Token(TokenCommand::Show(arguments)) => commands::token_show(arguments),
        Command::Token(TokenCommand::Reset(arguments)) => commands::token_reset(arguments),
        Command::Token(TokenCommand::Repartition(arguments)) => commands::token_repartition(arguments),
        Command::Gaps(GapsCommand::List(arguments)) => commands::gaps_list(arguments),
        Command::Gaps(GapsCommand::Acknowledge(arguments)) => commands::gaps_acknowledge(arguments),
        Command::DeadLetters(DeadLettersCommand::List(arguments)) => commands::dead_letters_list(arguments),
        Command::DeadLetters(DeadLettersCommand::Show(arguments)) => commands::dead_letters_show(arguments),
        Command::DeadLetters(DeadLettersCommand::Replay(arguments)) => {
            commands::dead_letters_replay(arguments)
        }
        Command::DeadLetters(DeadLettersCommand::Discard(arguments)) => {
            commands::dead_letters_discard(arguments)
        }
        Command::Graph(arguments) => commands::graph(arguments),
    };
    let exit = match outcome {
        Ok(()) => Exit::Clean,
        Err(failed) => {
            // With stderr closed, the exit code is all that is left to say.
            let _ = writeln!(std::io::stderr().lock(), "cdc: {failed}");
            failed.exit
        }
    };
    // As above; whoever closed it does not read it.
    let _ = std::io::stdout().flush();
    exit.leave()
}
