//! Exit codes, after sysexits(3).

use std::fmt;

use cdc_machine::Cause;

/// Why the process ends, as its supervisor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is done, also after SIGTERM.
    Clean,
    /// The command line is wrong.
    Usage,
    /// A person must decide: the position is lost, belongs to another source, or too many records are bad.
    Decision,
    /// A dependency was not available after all retries.
    Unavailable,
    /// A bug: an invariant broke.
    Bug,
    /// This machine's own files or ports.
    LocalIo,
    /// Temporary: a restart is safe.
    Temporary,
    /// Authentication or a privilege.
    Refused,
    /// The configuration.
    Config,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Usage => 2,
            Self::Decision => 65,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::LocalIo => 74,
            Self::Temporary => 75,
            Self::Refused => 77,
            Self::Config => 78,
        }
    }
}

impl Exit {
    /// Ends the process now. The exit handlers of the libraries in it are left out: they may wait for a server, or for a
    /// thread that does, and nothing of ours is left to them.
    pub fn leave(self) -> ! {
        signal_hook::low_level::exit(i32::from(self.code()))
    }

    /// How a process ends whose machine stopped for this cause.
    #[must_use]
    pub const fn of(cause: Cause) -> Self {
        match cause.exit_code() {
            0 => Self::Clean,
            65 => Self::Decision,
            69 => Self::Unavailable,
            74 => Self::LocalIo,
            75 => Self::Temporary,
            77 => Self::Refused,
            78 => Self::Config,
            _ => Self::Bug,
        }
    }
}

/// The table for `--help`.
pub const TABLE: &str = "\
Exit codes:
   0  clean, also after SIGTERM
   2  the command line is wrong
  65  a person must decide: the position is lost, belongs to another source, or too much is bad
  69  a dependency was not available after all retries
  70  a bug: an invariant broke
  74  this machine's own files or ports
  75  temporary: a restart is safe
  77  authentication or a privilege
  78  the configuration, or a server that is not, or cannot give, what it names

Keys of the configuration may be set by environment variables too: CDC__KAFKA__TOPIC=orders
sets kafka.topic. Defaults < files < environment < --set.";

/// What a command that failed has to say.
#[derive(Debug)]
pub struct Failed {
    /// How the process ends.
    pub exit: Exit,
    /// What happened, to what, and what to do next.
    pub message: String,
}

impl Failed {
    /// A failure with its words.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<crate::config::ConfigError> for Failed {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}
