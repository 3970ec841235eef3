use crate::StateName;

/// What one step did, in names that cost nothing to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state before.
    pub from: StateName,
    /// The state after.
    pub to: StateName,
    /// The input's name.
    pub input: &'static str,
}

/// Sees every step: traces, metrics and invariant monitors are observers. Effects are borrowed; nothing is
/// cloned per event.
pub trait Observer<E> {
    /// Called after each step, before its effects are carried out.
    fn on_step(&mut self, step: Step, effects: &[E]);
}

impl<E> Observer<E> for () {
    fn on_step(&mut self, _step: Step, _effects: &[E]) {}
}
