//! The one question that tells a ready Kafka broker from one that merely listens, in Kafka's own protocol.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A Metadata request, version 1, about no topics (KIP-4): length, api key 3, version, correlation id, no client id,
/// an empty list.
const METADATA_REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
/// The answer for three brokers takes some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How many living brokers the one at `addr` knows, itself included.
///
/// A broker processes requests only from the moment when the controller has let it into the cluster.
pub(crate) async fn living_brokers(addr: &str) -> io::Result<usize> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(&METADATA_REQUEST).await?;
    let length = usize::try_from(stream.read_i32().await?).ok().filter(|length| *length <= ANSWER_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("the answer is not one of Kafka"))?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    brokers_in(&answer).ok_or_else(|| io::Error::other("the answer is too short"))
}

/// Correlation id, then the array of brokers, of which only the length matters.
fn brokers_in(answer: &[u8]) -> Option<usize> {
    let count = i32::from_be_bytes(answer.get(4..8)?.try_into().ok()?);
    usize::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_states_its_own_length() {
        assert_eq!(usize::from(METADATA_REQUEST[3]), METADATA_REQUEST.len() - 4);
    }

    #[test]
    fn counts_brokers() {
        assert_eq!(brokers_in(&[0, 0, 0, 1, 0, 0, 0, 3, 9]), Some(3));
        assert_eq!(brokers_in(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(brokers_in(&[0, 0, 0]), None);
    }
}
