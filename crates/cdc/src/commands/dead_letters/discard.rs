use cdc_postgres::Outcome;

use super::desk::{Desk, tell_of};
use super::selection::Selection;
use crate::cli::{ChosenLetters, DeadLettersDiscardArgs};
use crate::commands::asking::of_server;
use crate::commands::output::print;
use crate::exit::{Exit, Failed};

/// `cdc dead-letters discard`: gives dead letters up. They stay in their topics.
///
/// # Errors
/// As `list`; exit 2 where nothing says which ones are meant, 65 for a letter that is not there.
pub fn dead_letters_discard(arguments: DeadLettersDiscardArgs) -> Result<(), Failed> {
    let DeadLettersDiscardArgs { chosen, because, yes } = arguments;
    let ChosenLetters { letters, config, filter } = chosen;
    let selection = Selection::parse(&letters, filter)?;
    if !selection.is_narrowed() && !yes {
        let text =
            "say which dead letters to discard, by letters or by a filter; --yes discards all open ones";
        return Err(Failed::new(Exit::Usage, text));
    }
    let desk = Desk::open(config, &selection)?;
    desk.book.must_be_there().map_err(of_server)?;
    let mut discarded = 0;
    let mut passed = desk.for_each(&selection, false, |letters| {
        // Those that were named may be done with already.
        let open: Vec<_> = letters.iter().filter(|letter| letter.done.is_none()).collect();
        let places: Vec<_> = open.iter().map(|letter| letter.noted_place()).collect();
        let noted = desk.book.note(&places, Outcome::Discarded, Some(&because));
        desk.runtime.block_on(noted).map_err(of_server)?;
        discarded += places.len() as u64;
        Ok(true)
    })?;
    passed.done += passed.handed - discarded;
    passed.handed = discarded;
    tell_of(&passed);
    print(&format!("{discarded} dead letters discarded"))
}
