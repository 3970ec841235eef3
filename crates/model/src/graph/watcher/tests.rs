use super::*;

#[test]
fn the_exploration_reaches_every_situation_and_every_state() {
    for config in smalls() {
        let mut found = Transitions::new();
        let complete = explore(&config, Small::default(), SITUATIONS_MAX, &mut found);
        assert!(complete, "more than {SITUATIONS_MAX} situations: {config:?}");
        for state in StateName::ALL {
            assert!(found.outcome(state, "Start").is_some(), "{state} was not reached");
        }
    }
}

#[test]
fn a_stopped_machine_is_silent() {
    let text = transitions().markdown();
    let (_, stopped) = text.split_once("## Stopped").unwrap();
    assert!(!stopped.contains('|'), "{stopped}");
}
