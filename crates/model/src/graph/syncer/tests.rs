use super::*;
use crate::graph::tests::check;

#[test]
fn the_exploration_reaches_every_situation_and_ends_in_silence() {
    let mut found = Transitions::new();
    for config in small_configs() {
        let complete = explore(&config, Small::new(&config), SITUATIONS_MAX, &mut found);
        assert!(complete, "more than {SITUATIONS_MAX} situations");
    }
    check(&found);
}
