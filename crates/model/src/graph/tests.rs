use cdc_machine::StateName;

use crate::explore::Transitions;

/// Every state was reached, and a stopped machine is silent.
pub(super) fn check(found: &Transitions) {
    for state in StateName::ALL {
        assert!(found.outcome(state, "Start").is_some(), "{state} was not reached");
    }
    let text = found.markdown();
    let (_, stopped) = text.split_once("## Stopped").unwrap();
    assert!(!stopped.contains('|'), "{stopped}");
}
