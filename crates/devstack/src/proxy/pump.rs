//! One connection of a [`Proxy`](super::Proxy): a pump for each direction, obeying the orders as they change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{Direction, Flow, Link, Moment, Orders};

/// Bytes in hand, for each connection and direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// How a pump ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The sender has nothing more to say.
    Eof,
    /// One of the two connections is broken.
    Broken,
    /// An order struck: both connections are to be reset.
    Reset,
}

/// Connects to the upstream and pumps until the connection is over.
pub(super) async fn both(mut client: TcpStream, upstream: SocketAddr, link: &Link) {
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        // As the client would see it without a proxy: no connection.
        _ = client.set_zero_linger();
        return;
    };
    // A message must not wait for the next one. A socket that refuses is merely slower.
    _ = client.set_nodelay(true);
    _ = server.set_nodelay(true);
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // Set when the answer to what was just sent is to be lost.
        let loses_answer = AtomicBool::new(false);
        let requests = Pump::new(Direction::ToServer, link, &loses_answer);
        let answers = Pump::new(Direction::ToClient, link, &loses_answer);
        tokio::select! {
            end = requests.run(from_client, to_server) => end,
            end = answers.run(from_server, to_client) => end,
        }
    };
    if end == End::Reset {
        _ = client.set_zero_linger();
        _ = server.set_zero_linger();
    }
    if end == End::Eof {
        // Whoever has closed reads no more: the other side is told in order.
        _ = client.shutdown().await;
        _ = server.shutdown().await;
    }
}

struct Pump<'l> {
    direction: Direction,
    link: &'l Link,
    orders: watch::Receiver<Orders>,
    loses_answer: &'l AtomicBool,
    /// The end of what has passed, to find a text that two reads cut apart.
    tail: Vec<u8>,
}

impl<'l> Pump<'l> {
    fn new(direction: Direction, link: &'l Link, loses_answer: &'l AtomicBool) -> Self {
        Self { direction, link, orders: link.orders.subscribe(), loses_answer, tail: Vec::new() }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let (limit, tick) = match self.flow() {
                Flow::Hold => {
                    if self.orders.changed().await.is_err() {
                        return End::Broken;
                    }
                    continue;
                }
                Flow::Slow { bytes, tick } => (bytes.clamp(1, BUFFER_BYTES), Some(tick)),
                Flow::Pass | Flow::ResetAfter(_) | Flow::ResetAt { .. } => (BUFFER_BYTES, None),
            };
            let read = tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return End::Broken;
                    }
                    continue;
                }
                read = from.read(&mut buffer[..limit]) => read,
            };
            let chunk = match read {
                Ok(0) => return End::Eof,
                Ok(length) => &buffer[..length],
                Err(_) => return End::Broken,
            };
            // What was read just before the order came is held, too.
            if self.orders.wait_for(|orders| *orders.flow(self.direction) != Flow::Hold).await.is_err() {
                return End::Broken;
            }
            if let Err(end) = self.pass(chunk, &mut to).await {
                return end;
            }
            if let Some(tick) = tick {
                tokio::time::sleep(tick).await;
            }
        }
    }

    fn flow(&mut self) -> Flow {
        self.orders.borrow_and_update().flow(self.direction).clone()
    }

    /// Passes one chunk on, or as much of it as the orders allow.
    async fn pass(&mut self, chunk: &[u8], to: &mut WriteHalf<'_>) -> Result<(), End> {
        if self.direction == Direction::ToClient && self.loses_answer.load(Ordering::SeqCst) {
            return Err(self.reset());
        }
        match self.flow() {
            Flow::Pass | Flow::Hold | Flow::Slow { .. } => self.write(chunk, to).await,
            Flow::ResetAfter(_) => {
                let allowed = self.take_allowance(chunk.len());
                self.write(&chunk[..allowed], to).await?;
                if allowed == chunk.len() { Ok(()) } else { Err(self.reset()) }
            }
            Flow::ResetAt { text, moment } => {
                let Some(at) = self.find(&text, chunk) else { return self.write(chunk, to).await };
                if !self.claim(&text) {
                    return self.write(chunk, to).await;
                }
                match moment {
                    Moment::Before => {
                        self.write(&chunk[..at], to).await?;
                        Err(self.reset())
                    }
                    Moment::During => {
                        self.write(chunk, to).await?;
                        Err(self.reset())
                    }
                    Moment::After => {
                        self.loses_answer.store(true, Ordering::SeqCst);
                        self.write(chunk, to).await
                    }
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8], to: &mut WriteHalf<'_>) -> Result<(), End> {
        to.write_all(bytes).await.map_err(|_| End::Broken)?;
        self.link.forwarded[self.direction as usize].fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Of this many bytes, how many may still pass. The last one ends the order.
    fn take_allowance(&self, wanted: usize) -> usize {
        let mut allowed = wanted;
        self.link.orders.send_if_modified(|orders| {
            let flow = orders.flow_mut(self.direction);
            if let Flow::ResetAfter(left) = flow {
                allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(wanted);
                *left -= allowed as u64;
                if allowed < wanted {
                    *flow = Flow::Pass;
                }
            }
            false
        });
        allowed
    }

    /// Where in the chunk the text begins (0 if in an earlier one). Remembers the chunk's end.
    fn find(&mut self, text: &[u8], chunk: &[u8]) -> Option<usize> {
        let known = self.tail.len();
        let mut joined = std::mem::take(&mut self.tail);
        joined.extend_from_slice(chunk);
        let at = joined.windows(text.len().max(1)).position(|window| window == text);
        let keep = joined.len().min(text.len().saturating_sub(1));
        self.tail = joined.split_off(joined.len() - keep);
        at.map(|at| at.saturating_sub(known))
    }

    /// True for the one connection that the order strikes; from then on everything passes.
    fn claim(&self, wanted: &Arc<[u8]>) -> bool {
        self.link.orders.send_if_modified(|orders| {
            let flow = orders.flow_mut(self.direction);
            let stands = matches!(flow, Flow::ResetAt { text, .. } if text == wanted);
            if stands {
                *flow = Flow::Pass;
            }
            stands
        })
    }

    fn reset(&self) -> End {
        self.link.resets.fetch_add(1, Ordering::Relaxed);
        End::Reset
    }
}
