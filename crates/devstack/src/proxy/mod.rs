//! A network that breaks on request: a TCP proxy on one link, told at run time what to do with it.
//!
//! ```no_run
//! # async fn demo(upstream: std::net::SocketAddr) -> Result<(), cdc_devstack::Error> {
//! use cdc_devstack::proxy::{Direction, Flow, Proxy};
//! let link = Proxy::start(upstream).await?; // clients connect to link.addr()
//! link.cut(); // all connections end, new ones are refused
//! link.heal();
//! link.set(Direction::ToClient, Flow::Hold); // requests arrive, answers do not
//! link.heal(); // what was held goes on: the network has delivered it late
//! # Ok(())
//! # }
//! ```

mod pump;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Error;
use crate::ports::free_port;

/// Between two tries to take the port again after a cut, and between two looks at a counter.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Answers.
    ToClient,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// What becomes of the bytes of one direction, of all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They are passed on.
    Pass,
    /// They are held back: connections stay open and new ones are accepted, but nothing arrives. In one
    /// direction alone this is one-way loss.
    Hold,
    /// At most this many pass in each tick.
    Slow {
        /// Bytes of one tick.
        bytes: usize,
        /// How long a tick is.
        tick: Duration,
    },
    /// After this many more bytes (of whichever connections) the connection that carries the last one is
    /// reset on both sides, in the middle of its message. Once; then everything passes.
    ResetAfter(u64),
    /// The connection that carries this text is reset on both sides, at one of three moments. Once; then
    /// everything passes.
    ResetAt {
        /// What to look for in the stream.
        text: Arc<[u8]>,
        /// When to reset.
        moment: Moment,
    },
}

/// When a request is lost with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The other side never sees the text.
    Before,
    /// The other side gets the text and loses the connection at once: whether it acts on it, nobody knows.
    During,
    /// The other side acts on the text and answers, and the answer is lost.
    After,
}

/// The orders in force.
#[derive(Clone, Debug)]
struct Orders {
    is_open: bool,
    /// Grows with each order to end all connections.
    severed: u64,
    to_server: Flow,
    to_client: Flow,
}

impl Orders {
    const fn flow(&self, direction: Direction) -> &Flow {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    const fn flow_mut(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

/// What the listener, the connections and the handle share.
#[derive(Debug)]
struct Link {
    orders: watch::Sender<Orders>,
    connections: AtomicUsize,
    accepted: AtomicU64,
    resets: AtomicU64,
    forwarded: [AtomicU64; 2],
}

/// One link: a listener that forwards to one upstream address.
///
/// Each connection holds at most 16 KiB for each direction. Dropping the proxy ends the connections.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    link: Arc<Link>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(upstream: SocketAddr) -> Result<Self, Error> {
        Self::start_on(free_port()?, upstream).await
    }

    /// Listens on this port of 127.0.0.1: for a server that tells its clients where to find it.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn start_on(port: u16, upstream: SocketAddr) -> Result<Self, Error> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|source| Error::io("proxy", format!("{addr} cannot be listened on"), source))?;
        let open = Orders { is_open: true, severed: 0, to_server: Flow::Pass, to_client: Flow::Pass };
        let link = Arc::new(Link {
            orders: watch::Sender::new(open),
            connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            forwarded: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let accepting = tokio::spawn(accept(listener, addr, upstream, Arc::clone(&link)));
        Ok(Self { addr, link, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Everything passes again. What was held back is delivered now; what was reset stays lost.
    pub fn heal(&self) {
        self.link.orders.send_modify(|orders| {
            orders.is_open = true;
            orders.to_server = Flow::Pass;
            orders.to_client = Flow::Pass;
        });
    }

    /// Ends all connections and refuses new ones, until it is healed.
    pub fn cut(&self) {
        self.link.orders.send_modify(|orders| {
            orders.is_open = false;
            orders.severed += 1;
        });
    }

    /// Ends all connections. New ones are welcome.
    pub fn sever(&self) {
        self.link.orders.send_modify(|orders| orders.severed += 1);
    }

    /// What becomes of the bytes of one direction from now on.
    pub fn set(&self, direction: Direction, flow: Flow) {
        self.link.orders.send_modify(|orders| *orders.flow_mut(direction) = flow);
    }

    /// Holds back both directions.
    pub fn hold(&self) {
        self.link.orders.send_modify(|orders| {
            orders.to_server = Flow::Hold;
            orders.to_client = Flow::Hold;
        });
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.link.connections.load(Ordering::Relaxed)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.link.accepted.load(Ordering::Relaxed)
    }

    /// Bytes passed on so far.
    #[must_use]
    pub fn forwarded(&self, direction: Direction) -> u64 {
        self.link.forwarded[direction as usize].load(Ordering::Relaxed)
    }

    /// How often [`Flow::ResetAfter`] or [`Flow::ResetAt`] has struck.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.link.resets.load(Ordering::Relaxed)
    }

    /// Waits until it has struck more than `before` times; says whether it did within `within`.
    pub async fn reset_since(&self, before: u64, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.resets() <= before {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        true
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.orders.send_modify(|orders| orders.severed += 1);
        self.accepting.abort();
    }
}

/// Accepts while the link is open; a closed one has no listener, so that clients are refused.
async fn accept(listener: TcpListener, addr: SocketAddr, upstream: SocketAddr, link: Arc<Link>) {
    let mut orders = link.orders.subscribe();
    let mut listener = Some(listener);
    loop {
        if !orders.borrow_and_update().is_open {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(addr).await.ok();
        }
        let Some(open) = &listener else {
            // Closed, or the port is not free yet.
            let changed = tokio::time::timeout(LOOK_INTERVAL, orders.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
            continue;
        };
        tokio::select! {
            biased;
            changed = orders.changed() => if changed.is_err() { return },
            accepted = open.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(serve(client, upstream, Arc::clone(&link)));
                }
            }
        }
    }
}

/// One connection's whole life.
async fn serve(client: TcpStream, upstream: SocketAddr, link: Arc<Link>) {
    let mut orders = link.orders.subscribe();
    let severed = orders.borrow_and_update().severed;
    link.accepted.fetch_add(1, Ordering::Relaxed);
    link.connections.fetch_add(1, Ordering::Relaxed);
    tokio::select! {
        biased;
        _ = orders.wait_for(|orders| orders.severed != severed) => {}
        () = pump::both(client, upstream, &link) => {}
    }
    link.connections.fetch_sub(1, Ordering::Relaxed);
}
