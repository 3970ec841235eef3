//! The exhaustive search: every interleaving of a small world, breadth first, so that the first counterexample is among
//! the shortest. The world, the machines and the invariants are the simulator's; what a seed draws there is tried here
//! in every order.
//!
//! | file | what it is |
//! |---|---|
//! | `bounds` | how often each kind of misfortune may strike |
//! | `choices` | which moves may come next |
//! | `frontier` | the search itself |
//! | `controls` | planted bugs that it has to find |
//! | `goals` | what has to come to pass in some order, or the search looked at nothing |
//! | `scopes` | the small worlds |
//! | `cases` | what is searched |
//! | `page` | `specs/exhaustive.md` |

pub mod bounds;
pub mod cases;
pub mod choices;
pub mod controls;
pub mod frontier;
pub mod goals;
pub mod page;
pub mod scopes;
