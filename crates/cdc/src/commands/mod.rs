//! The commands. Each takes its parsed arguments and returns what it has to say, or why it failed.

mod asking;
mod config;
mod dead_letters;
mod gaps;
mod graph;
mod output;
mod services;
mod token;
mod token_repartition;
mod token_reset;
mod validate;

pub use config::{config_print, config_schema};
pub use dead_letters::{dead_letters_discard, dead_letters_list, dead_letters_replay, dead_letters_show};
pub use gaps::{gaps_acknowledge, gaps_list};
pub use graph::graph;
pub use services::{run, sync, watch};
pub use token::token_show;
pub use token_repartition::token_repartition;
pub use token_reset::token_reset;
pub use validate::validate;
