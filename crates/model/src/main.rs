//! `cargo run -p cdc-model -- sim`: the simulator, for as long as one likes; `-- search`: every interleaving of small
//! worlds.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod command;

use std::process::ExitCode;

use command::Words;

fn main() -> ExitCode {
    command::run(&Words::of_the_program())
}
