//! Free TCP ports on 127.0.0.1.
//!
//! They are taken from below the kernel's ephemeral range, not from `bind(0)`: a server that is killed and restarted
//! must find its port free again, and a client that keeps connecting to a closed port *inside* the ephemeral range may
//! be given that very port as its own, connect to itself, and block the server's return.
//!
//! Test processes run side by side, and a server that is down for a while must not lose its port to another process's.
//! So ports are taken by the block, and a block belongs to a process for as long as it holds the lock on its file.

use std::{
    collections::hash_map::RandomState,
    fs,
    fs::File,
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::{Mutex, PoisonError},
};

use crate::{Error, binaries};

/// Below it live the well-known ports and those that developers use by hand (5432, 6379, 9092).
const LOWEST: u16 = 15_000;
/// Linux's default start of the ephemeral range (`net.ipv4.ip_local_port_range`).
const EPHEMERAL_DEFAULT: u16 = 32_768;
/// Ports that a process takes at once; few tests need more.
const BLOCK: u16 = 64;
/// Blocks tried at random before all are taken to be other processes'.
const ATTEMPTS_MAX: usize = 2_000;

/// The blocks of this process and what it has given out of them: two servers that start at once must not be offered
/// the same port.
static TAKEN: Mutex<Taken> = Mutex::new(Taken { left: Vec::new(), locks: Vec::new() });

struct Taken {
    left: Vec<u16>,
    /// Held until the process ends.
    locks: Vec<File>,
}

/// A port that nobody listens on now and that neither this process nor another one here has been given before.
pub(crate) fn free_port() -> Result<u16, Error> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while let Some(port) = taken.left.pop() {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        let (block, lock) = take_block(&binaries::devstack_folder().join("ports"))?;
        taken.left.extend(block);
        taken.locks.push(lock);
    }
}

/// A block that is nobody's, with the lock that keeps it so.
fn take_block(folder: &Path) -> Result<(std::ops::Range<u16>, File), Error> {
    let failed =
        |source| Error::io("devstack", format!("no port could be taken in {}", folder.display()), source);
    fs::create_dir_all(folder).map_err(failed)?;
    let above = ephemeral_start();
    let blocks = u64::from((above - LOWEST) / BLOCK);
    for _ in 0..ATTEMPTS_MAX {
        let start = LOWEST + BLOCK * (random() % blocks) as u16;
        let file = File::create(folder.join(start.to_string())).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => return Ok((start..start + BLOCK, file)),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(Error::new("devstack", format!("all ports between {LOWEST} and {above} are taken")))
}

fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|start| *start > LOWEST + 1_000)
        .unwrap_or(EPHEMERAL_DEFAULT)
}

/// The standard library's only source of randomness: the keys of a new hasher.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn gives_no_port_twice_and_none_of_the_ephemeral_range() {
        let ports: Vec<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        assert!(ports.iter().all(|port| (LOWEST..ephemeral_start()).contains(port)));
    }

    #[test]
    fn a_block_is_given_to_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let taken: Vec<_> = (0..50).map(|_| take_block(folder.path()).unwrap()).collect();
        let starts: BTreeSet<u16> = taken.iter().map(|(block, _)| block.start).collect();
        assert_eq!(starts.len(), taken.len());
    }
}
