//! What was built, and from which commit.

/// The version of the package and the commit that it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CDC_COMMIT"), ")");

/// The version of the package.
pub const PACKAGE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, as `git describe` names it; `unknown` in a build from a tarball.
pub const COMMIT: &str = env!("CDC_COMMIT");
