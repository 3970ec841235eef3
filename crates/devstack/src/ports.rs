//! Free TCP ports on 127.0.0.1.
//!
//! They are taken from below the kernel's ephemeral range, not from `bind(0)`: a server that is killed and restarted
//! must find its port free again, and a client that keeps connecting to a closed port *inside* the ephemeral range may
//! be given that very port as its own, connect to itself, and block the server's return.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    fs,
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

use crate::Error;

/// Below it live the well-known ports and those that developers use by hand (5432, 6379, 9092).
const LOWEST: u16 = 15_000;
/// Linux's default start of the ephemeral range (`net.ipv4.ip_local_port_range`).
const EPHEMERAL_DEFAULT: u16 = 32_768;
const ATTEMPTS_MAX: usize = 200;

/// Ports given out by this process: two servers that start at once must not be offered the same one.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on now and that this process has not given out before.
pub(crate) fn free_port() -> Result<u16, Error> {
    let above = ephemeral_start();
    for _ in 0..ATTEMPTS_MAX {
        let port = LOWEST + (random() % u64::from(above - LOWEST)) as u16;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free && GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
    Err(Error::new("devstack", format!("{ATTEMPTS_MAX} ports between {LOWEST} and {above} were all taken")))
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
    use super::*;

    #[test]
    fn gives_no_port_twice_and_none_of_the_ephemeral_range() {
        let ports: Vec<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        assert!(ports.iter().all(|port| (LOWEST..ephemeral_start()).contains(port)));
    }
}
