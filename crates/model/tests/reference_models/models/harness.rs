//! What both reference models have in common: how a request ends, how a case is drawn, and how the machine under test is
//! compared with the model's own.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash as _, Hasher as _};
use std::marker::PhantomData;

use cdc_machine::{Cause, Fault};
use cdc_model::invariants::{Invariant, Violation};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Good,
    Failed(Fault),
    /// It is carried out, and the answer is lost.
    Unheard,
}

impl End {
    /// What is heard of it.
    pub(crate) const fn done(self) -> Result<(), Fault> {
        match self {
            Self::Good => Ok(()),
            Self::Failed(fault) => Err(fault),
            Self::Unheard => Err(Fault::Transient),
        }
    }
}

/// The world around a machine, with one in it.
pub(crate) trait Model: Clone + Debug + 'static {
    type Move: Copy + Debug + PartialEq;

    /// Worlds at their beginning; `to_the_letter` with one thing in hand at a time.
    fn drawn(to_the_letter: bool) -> BoxedStrategy<Self>;
    /// What may happen now, each with its weight.
    fn possible(&self) -> Vec<(u32, Self::Move)>;
    fn make(&mut self, r#move: Self::Move);
    /// The world gets well: everything comes to rest, and then to an end.
    fn rest(&mut self);
    fn violation(&self) -> Option<&Violation>;
    /// The digest of all that the machine has ordered.
    fn trace(&self) -> u64;
}

/// Adds an order to the digest.
pub(crate) fn digest(trace: u64, order: &impl Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    (trace, format!("{order:?}")).hash(&mut hasher);
    hasher.finish()
}

/// What a machine says of itself.
pub(crate) fn of_itself(
    own: Result<(), &'static str>,
    cause: Option<Cause>,
    unexpected: u64,
) -> Result<(), Violation> {
    if cfg!(feature = "plants") {
        // It would name most planted bugs before anybody else.
        return Ok(());
    }
    let own = own.and(match cause {
        Some(Cause::Invariant(what)) => Err(what),
        _ if unexpected > 0 => Err("it was answered what it did not ask"),
        _ => Ok(()),
    });
    own.map_err(|what| Violation { invariant: Invariant::Machine, what: what.to_owned() })
}

/// A model as the reference, so that each move is drawn from what is outstanding, also while a case shrinks. The machine
/// under test stands in a world of its own, is moved in the same way, and has to order the same.
pub(crate) struct Of<M, const TO_THE_LETTER: bool = false>(PhantomData<M>);

impl<M: Model, const TO_THE_LETTER: bool> ReferenceStateMachine for Of<M, TO_THE_LETTER> {
    type State = M;
    type Transition = M::Move;

    fn init_state() -> BoxedStrategy<M> {
        M::drawn(TO_THE_LETTER)
    }

    fn transitions(state: &M) -> BoxedStrategy<M::Move> {
        let possible = state.possible();
        let total: u32 = possible.iter().map(|(weight, _)| weight).sum();
        (0..total)
            .prop_map(move |mut drawn| {
                let is_it = |(weight, _): &&(u32, M::Move)| match drawn.checked_sub(*weight) {
                    Some(left) => {
                        drawn = left;
                        false
                    }
                    None => true,
                };
                possible.iter().find(is_it).map_or(possible[0].1, |(_, it)| *it)
            })
            .boxed()
    }

    fn preconditions(state: &M, r#move: &M::Move) -> bool {
        state.possible().iter().any(|(_, it)| it == r#move)
    }

    fn apply(mut state: M, r#move: &M::Move) -> M {
        state.make(*r#move);
        state
    }
}

impl<M: Model, const TO_THE_LETTER: bool> StateMachineTest for Of<M, TO_THE_LETTER> {
    type SystemUnderTest = M;
    type Reference = Self;

    fn init_test(state: &M) -> M {
        state.clone()
    }

    fn apply(mut world: M, reference: &M, r#move: M::Move) -> M {
        world.make(r#move);
        assert_eq!(world.trace(), reference.trace(), "the same moves, and other orders");
        world
    }

    fn check_invariants(world: &M, _: &M) {
        assert_eq!(world.violation(), None);
    }

    fn teardown(mut world: M, _: M) {
        world.rest();
        assert_eq!(world.violation(), None);
    }
}
