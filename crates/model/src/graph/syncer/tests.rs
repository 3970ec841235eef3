use super::*;

/// The small machine, which answers for its invariants after every step.
#[derive(Clone)]
struct Checked(Small);

impl Machine for Checked {
    type Config = Config;
    type Input = Input<()>;
    type Effect = Effect<()>;

    fn step(&mut self, config: &Config, input: Input<()>, out: &mut Effects<Effect<()>>) {
        let label = Small::input_label(&input);
        self.0.step(config, input, out);
        assert_eq!(self.0.machine.check_invariants(config), Ok(()), "{label} {:?}", self.0);
    }
}

impl Explore for Checked {
    type Shape = Vec<u64>;

    fn shape(&self) -> Vec<u64> {
        self.0.shape()
    }

    fn state_name(&self) -> StateName {
        self.0.state_name()
    }

    fn inputs(&self, config: &Config) -> Vec<Input<()>> {
        self.0.inputs(config)
    }

    fn input_label(input: &Input<()>) -> String {
        Small::input_label(input)
    }

    fn effect_name(effect: &Effect<()>) -> &'static str {
        effect.name()
    }
}

#[test]
fn invariants_hold_in_every_situation_and_every_state_is_reached() {
    let mut found = Transitions::new();
    for config in small_configs() {
        let complete = explore(&config, Checked(Small::new(&config)), SITUATIONS_MAX, &mut found);
        assert!(complete, "more than {SITUATIONS_MAX} situations");
    }
    for state in StateName::ALL {
        assert!(found.outcome(state, "Start").is_some(), "{state} was not reached");
    }
}

#[test]
fn a_stopped_machine_is_silent() {
    let found = transitions();
    let text = found.markdown();
    let (_, stopped) = text.split_once("## Stopped").unwrap();
    assert!(!stopped.contains('|'), "{stopped}");
}
