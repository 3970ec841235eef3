use alloc::vec::Vec;

/// A pure transition function over explicit states.
pub trait Machine {
    /// Limits and policies, constant over the machine's life.
    type Config;
    /// A fact about the world: a completion, an error, an expired timer, a signal.
    type Input;
    /// An order to the world.
    type Effect;

    /// Takes one fact, moves to the next state and appends the orders that follow from it to `out`.
    ///
    /// Total: for any input in any state it neither panics nor fails. An input that answers something
    /// that is gone (an old stream, a cancelled timer, a lost partition) changes nothing and is counted.
    fn step(&mut self, config: &Self::Config, input: Self::Input, out: &mut Effects<Self::Effect>);
}

/// The effects of one step, in order. The driver owns one and reuses it: a step allocates nothing once the
/// buffer has grown to the largest batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<E> {
    list: Vec<E>,
}

impl<E> Effects<E> {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Appends one order.
    pub fn push(&mut self, effect: E) {
        self.list.push(effect);
    }

    /// Takes every order out, oldest first, and keeps the buffer.
    pub fn drain(&mut self) -> alloc::vec::Drain<'_, E> {
        self.list.drain(..)
    }

    /// The orders so far, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[E] {
        &self.list
    }

    /// True when the step ordered nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a person or a supervisor asks of a running service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM or SIGINT for the first time: finish what is in hand, then stop.
    Drain,
    /// SIGTERM or SIGINT again: stop at once.
    Abort,
}

/// An invariant, in words: its check.
///
/// # Errors
/// The words, where it does not hold.
pub const fn ensure(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}
