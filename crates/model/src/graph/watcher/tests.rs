use super::*;
use crate::graph::tests::check;

#[test]
fn the_exploration_reaches_every_situation_and_ends_in_silence() {
    for config in smalls() {
        let mut found = Transitions::new();
        let complete = explore(&config, Small::default(), SITUATIONS_MAX, &mut found);
        assert!(complete, "more than {SITUATIONS_MAX} situations: {config:?}");
        check(&found);
    }
}
