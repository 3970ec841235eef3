//! The simulator: both machines and the world between them in one thread, in virtual time, from one seed.
//!
//! A schedule has two phases. In the first anything may fail, at every boundary of an effect: completions of different
//! queues come in any order, requests are refused, carried out unheard or late, processes die, freeze and are replaced.
//! Then the world gets well, and everything has to come to rest with every table as its collection is. After each move the
//! [invariants](crate::invariants) are asked.
//!
//! | file | what it is |
//! |---|---|
//! | `random`, `digest` | chance, from the seed; what tells situations apart |
//! | `faults` | what may go wrong in one schedule |
//! | `schedule` | the moves that it is made of |
//! | `message`, `timers` | what travels, and when |
//! | `mongo`, `kafka`, `group`, `postgres`, `store` | the servers |
//! | `watching`, `syncing` | a process with a machine in it |
//! | `world` | what a move does, and what gets well |
//! | `runner` | draws a schedule, or plays one again |
//! | `shrink` | the least schedule that still fails |
//! | `coverage` | what schedules have come to |
//! | `search` | every interleaving of a small world |

pub mod coverage;
pub mod digest;
pub mod faults;
pub mod group;
pub mod kafka;
pub mod message;
pub mod mongo;
pub mod postgres;
pub mod random;
pub mod runner;
pub mod schedule;
pub mod search;
pub mod shrink;
pub mod store;
pub mod syncing;
pub mod timers;
pub mod watching;
pub mod world;
