//! The `cdc` command: configuration, commands, telemetry and HTTP around the two services.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`config`] | files, environment and flags, into types |
//! | [`commands`] | what each command does |
//! | [`exit`] | exit codes |
//! | [`logs`] | one JSON object a line, or lines for people |
//! | [`otlp`] | finished spans on their way to a collector |
//! | [`recorder`] | the metrics' recorder and its buckets |
//! | [`http`] | probes, metrics, status |
//! | [`wiring`] | configuration into running services |
//! | [`signals`] | SIGTERM and SIGINT: which count, and what they ask for |
//! | [`watchdog`] | passes signals on, and ends the process in time |
//! | [`version`] | the version and its commit |

pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod http;
pub mod logs;
pub mod otlp;
pub mod recorder;
pub mod signals;
pub mod version;
pub mod watchdog;
pub mod wiring;
