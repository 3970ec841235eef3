//! `cdc dead-letters`: the records that could not be written, for people.
//!
//! | file | what it holds |
//! |---|---|
//! | `desk` | what every command needs: topics, reader, bookkeeping |
//! | `selection` | which letters are meant |
//! | `describe` | a letter in words and in JSON |
//! | `list`, `show`, `replay`, `discard` | the commands |

mod describe;
mod desk;
mod discard;
mod list;
mod replay;
mod selection;
mod show;

pub use discard::dead_letters_discard;
pub use list::dead_letters_list;
pub use replay::dead_letters_replay;
pub use show::dead_letters_show;
