use serde_json::Value;

use super::describe::{fields, lines};
use super::desk::{Desk, tell_of};
use super::selection::Selection;
use crate::cli::DeadLettersListArgs;
use crate::commands::output::write;
use crate::exit::Failed;

/// `cdc dead-letters list`: the open dead letters, as far as their topics went when it began.
///
/// # Errors
/// Exit 2 for a filter, 78 for the configuration, 69 or 77 for a server that does not answer or refuses, 65 for a
/// database of another release.
pub fn dead_letters_list(arguments: DeadLettersListArgs) -> Result<(), Failed> {
    let DeadLettersListArgs { config, filter, all, json } = arguments;
    let selection = Selection::parse(&[], filter)?;
    let desk = Desk::open(config, &selection)?;
    let mut is_first = true;
    let passed = desk.for_each(&selection, all, |letters| {
        let text: String = if json {
            letters.iter().map(|letter| format!("{}\n", Value::Object(fields(letter)))).collect()
        } else {
            lines(&letters, is_first, all)
        };
        is_first = false;
        write(text.as_bytes())
    })?;
    tell_of(&passed);
    Ok(())
}
