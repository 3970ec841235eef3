//! The smallest HTTP client that can ask a service for its health and metrics.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Metrics take some ten KiB.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Gets `path` (with its leading slash) from the HTTP server at `addr`.
///
/// # Errors
/// If nobody listens, the answer is not HTTP, or it takes more than 10 s.
pub async fn get(addr: SocketAddr, path: &str) -> io::Result<Response> {
    timeout(ANSWER_WITHIN, exchange(addr, path)).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("{addr}{path}: no answer within 10 s"))
    })?
}

/// HTTP/1.0: the body then ends with the connection and comes without chunks.
async fn exchange(addr: SocketAddr, path: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{addr}{path}: the answer is not HTTP"))
    })
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn reads_status_and_body() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            stream
                .write_all(b"HTTP/1.0 503 Service Unavailable\r\nx: y\r\n\r\nno\r\n\r\ntopic")
                .await
                .unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let response = get(addr, "/health").await.unwrap();
        assert_eq!(response, Response { status: 503, body: "no\r\n\r\ntopic".into() });
        assert!(server.await.unwrap().starts_with("GET /health HTTP/1.0\r\n"));
    }

    #[test]
    fn refuses_what_is_not_http() {
        assert_eq!(parse("SSH-2.0-OpenSSH_9.2\r\n\r\n"), None);
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), None);
    }
}
