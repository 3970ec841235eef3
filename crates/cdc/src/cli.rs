//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Sources;
use crate::exit;
use crate::version::VERSION;

/// Change data capture: MongoDB change streams to Kafka to PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "cdc", version = VERSION, after_help = exit::TABLE, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the Watcher: MongoDB's change stream to Kafka
    Watch(ConfigArgs),
    /// Run the Syncer: Kafka to PostgreSQL
    Sync(ConfigArgs),
    /// Run both services in one process
    Run(ConfigArgs),
    /// Check a configuration
    Validate(ValidateArgs),
    /// Print a configuration as it holds, or the schema of its file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the saved position, or move it
    #[command(subcommand)]
    Token(TokenCommand),
    /// List what was not delivered, or say that a person has seen it
    #[command(subcommand)]
    Gaps(GapsCommand),
    /// List the records that could not be written, look at one, send them back, or give them up
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Print a service's state diagram, made from the code
    Graph(GraphArgs),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// A configuration file; may be given again, and the later one wins
    #[arg(short, long = "config", value_name = "FILE", required = true)]
    pub config: Vec<PathBuf>,
    /// Set one key over everything else; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

impl ConfigArgs {
    /// The files and overrides, with this process's environment between them.
    #[must_use]
    pub fn sources(self) -> Sources {
        Sources::from_process(self.config, self.overrides)
    }
}

/// The arguments of `cdc validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The files and overrides.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Ask no server: check the configuration alone
    #[arg(long)]
    pub offline: bool,
}

/// The commands below `cdc config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what holds of all files, variables and overrides, each key with its place; secrets are not shown
    Print(ConfigPrintArgs),
    /// Print the JSON Schema of a file, for an editor
    Schema(ConfigSchemaArgs),
}

/// The arguments of `cdc config print`.
#[derive(Debug, Args)]
pub struct ConfigPrintArgs {
    /// The files and overrides.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the keys that nobody has set, too, with their defaults
    #[arg(long)]
    pub defaults: bool,
}

/// The arguments of `cdc config schema`.
#[derive(Clone, Copy, Debug, Args)]
pub struct ConfigSchemaArgs {
    /// Which file's
    pub file: ConfigFile,
}

/// The kinds of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigFile {
    /// For `cdc watch`
    Watcher,
    /// For `cdc sync`
    Syncer,
    /// For `cdc run`
    Pipeline,
}

/// The commands below `cdc token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print the saved position; `null` where there is none
    Show(TokenShowArgs),
    /// Move the saved position, with the gap that this leaves on record; no Watcher may be running
    Reset(TokenResetArgs),
    /// Spread keys among all partitions that the topics have by now; no Watcher may be running, and no Syncer, which has
    /// to have read everything
    Repartition(TokenRepartitionArgs),
}

/// The arguments of `cdc token repartition`.
#[derive(Debug, Args)]
pub struct TokenRepartitionArgs {
    /// The files and overrides: the Watcher's, and the Syncer's where it is at hand.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A consumer group that has to have read everything; may be given again. Default: the Syncer's of the files, else
    /// cdc-syncer
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
}

/// The commands below `cdc gaps`.
#[derive(Debug, Subcommand)]
pub enum GapsCommand {
    /// Print the gaps of the Watcher, of the Syncer or of both, whichever the files configure
    List(GapsListArgs),
    /// Mark all open gaps as seen: they stay on record and no longer count in cdc_gaps_open; no Watcher may be running
    Acknowledge(ConfigArgs),
}

/// The arguments of `cdc gaps list`.
#[derive(Debug, Args)]
pub struct GapsListArgs {
    /// The files and overrides: the Watcher's, the Syncer's, or both.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The commands below `cdc dead-letters`.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// Print the open dead letters, from their topics
    List(DeadLettersListArgs),
    /// Print one dead letter with its headers
    Show(DeadLettersShowArgs),
    /// Send records back to the topics that they were read from; those whose row is newer by now are told and not sent
    Replay(DeadLettersReplayArgs),
    /// Give dead letters up: they stay in their topics, and are neither listed nor sent any more
    Discard(DeadLettersDiscardArgs),
}

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct LetterFilter {
    /// Records of this topic; may be given again
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// Records that were read from this partition of their topic
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<i32>,
    /// Records that were read at this offset, or at these: 17, or 17-40
    #[arg(long, value_name = "OFFSETS")]
    pub offset: Option<String>,
    /// Records that fell for this reason; may be given again
    #[arg(long, value_name = "REASON", value_parser = clap::builder::PossibleValuesParser::new(
        cdc_syncer::Reject::ALL.map(cdc_syncer::Reject::as_str)
    ))]
    pub reason: Vec<String>,
    /// Records that fell no earlier: a time such as 2024-01-15T10:30:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Records that fell before: likewise
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Records whose key has this hash, as the log and `list` show it
    #[arg(long, value_name = "HASH")]
    pub key_hash: Option<String>,
    /// So many, at most
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u64>,
}

/// The arguments of `cdc dead-letters list`.
#[derive(Debug, Args)]
pub struct DeadLettersListArgs {
    /// The files and overrides: the Syncer's, or a pipeline's.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which ones.
    #[command(flatten)]
    pub filter: LetterFilter,
    /// Those that are done with, too: replayed, overtaken or discarded
    #[arg(long)]
    pub all: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `cdc dead-letters show`.
#[derive(Debug, Args)]
pub struct DeadLettersShowArgs {
    /// The letter, as `list` prints it: `<dead-letter topic>/<partition>/<offset>`
    #[arg(value_name = "LETTER")]
    pub letter: String,
    /// The files and overrides: the Syncer's, or a pipeline's.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print key and body, too: they hold a document
    #[arg(long)]
    pub body: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The letters that a command acts on.
#[derive(Debug, Args)]
pub struct ChosenLetters {
    /// Letters, as `list` prints them; without any, all open ones that the filters leave
    #[arg(value_name = "LETTER")]
    pub letters: Vec<String>,
    /// The files and overrides: the Syncer's, or a pipeline's.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which ones.
    #[command(flatten)]
    pub filter: LetterFilter,
}

/// The arguments of `cdc dead-letters replay`.
#[derive(Debug, Args)]
pub struct DeadLettersReplayArgs {
    /// Which ones, and whose.
    #[command(flatten)]
    pub chosen: ChosenLetters,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `cdc dead-letters discard`.
#[derive(Debug, Args)]
pub struct DeadLettersDiscardArgs {
    /// Which ones, and whose.
    #[command(flatten)]
    pub chosen: ChosenLetters,
    /// Why they are given up, for whoever looks later (`list --all`)
    #[arg(long, value_name = "TEXT")]
    pub because: String,
    /// All open ones are meant: needed where nothing else says which
    #[arg(long)]
    pub yes: bool,
}

/// The arguments of `cdc token reset`.
#[derive(Debug, Args)]
pub struct TokenResetArgs {
    /// The files and overrides.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// now; a time such as 2024-01-15T10:30:00Z; or a resume token, as `token show --json` prints it
    #[arg(long, value_name = "POSITION")]
    pub to: String,
    /// The source or the topic was replaced: bind the record to this configuration, in a new lineage
    #[arg(long)]
    pub new_source: bool,
}

/// The arguments of `cdc token show`.
#[derive(Debug, Args)]
pub struct TokenShowArgs {
    /// The files and overrides.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `cdc graph`.
#[derive(Clone, Copy, Debug, Args)]
pub struct GraphArgs {
    /// Whose diagram
    pub service: Service,
    /// In which language
    #[arg(long, value_name = "LANGUAGE", default_value = "mermaid")]
    pub format: GraphFormat,
}

/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// MongoDB to Kafka
    Watcher,
    /// Kafka to PostgreSQL
    Syncer,
}

/// The languages of diagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Mermaid
    Mermaid,
    /// Graphviz
    Dot,
}
