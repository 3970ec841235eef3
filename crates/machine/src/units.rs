//! The units that options' legal values are given in.

use core::time::Duration;

/// 1 ms.
pub const MILLISECOND: Duration = Duration::from_millis(1);
/// 60 s.
pub const MINUTE: Duration = Duration::from_secs(60);
/// 60 minutes.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// 1,024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1,024 KiB.
pub const MIB: u64 = 1 << 20;
/// 1,024 MiB.
pub const GIB: u64 = 1 << 30;
