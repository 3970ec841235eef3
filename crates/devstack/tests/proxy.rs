//! The proxy that breaks networks, itself: what it is told to lose is lost, and nothing else is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cdc_devstack::links::{LinkName, Links};
use cdc_devstack::pipeline::Endpoints;
use cdc_devstack::proxy::{Direction, Flow, Moment, Proxy};
use cdc_devstack::{KafkaOptions, Options, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
const NOTHING_WITHIN: Duration = Duration::from_millis(200);

/// A server that answers each byte by the same, and tells what it has heard.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (heard, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    heard.send(buffer[..length].to_vec()).unwrap();
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (addr, told)
}

async fn says(stream: &mut TcpStream, text: &[u8]) -> bool {
    let mut answer = vec![0; text.len()];
    let exchange = async {
        stream.write_all(text).await.ok()?;
        stream.read_exact(&mut answer).await.ok()
    };
    timeout(SOON, exchange).await.unwrap().is_some() && answer == text
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(NOTHING_WITHIN, stream.read_u8()).await.is_err()
}

/// How reading ends, once nothing more comes.
async fn end_of(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut rest = Vec::new();
    match timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap() {
        Ok(_) => Ok(rest),
        Err(error) => Err(error.kind()),
    }
}

#[tokio::test]
async fn passes_until_it_is_cut_and_again_once_it_is_healed() {
    let (addr, _heard) = echo().await;
    let link = Proxy::start(addr).await.unwrap();
    let mut client = TcpStream::connect(link.addr()).await.unwrap();
    assert!(says(&mut client, b"hello").await);
    let large = vec![7; 1_000_000];
    let (mut reader, mut writer) = client.split();
    let mut answer = vec![0; large.len()];
    let (sent, got) = tokio::join!(writer.write_all(&large), reader.read_exact(&mut answer));
    sent.unwrap();
    got.unwrap();
    assert!(answer == large, "a megabyte passes unchanged through buffers of 16 KiB");
    assert_eq!((link.connections(), link.accepted()), (1, 1));
    assert_eq!(link.forwarded(Direction::ToServer), 1_000_005);

    link.cut();
    assert!(end_of(&mut client).await.is_ok_and(|rest| rest.is_empty()));
    // The listener goes a moment after the order.
    let refused = timeout(SOON, async {
        loop {
            match TcpStream::connect(link.addr()).await {
                Err(error) => return error.kind(),
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(refused.await.unwrap(), ErrorKind::ConnectionRefused);
    assert_eq!(link.connections(), 0);

    link.heal();
    let mut client = timeout(SOON, async {
        loop {
            if let Ok(client) = TcpStream::connect(link.addr()).await {
                return client;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(says(&mut client, b"again").await);
}

#[tokio::test]
async fn holds_either_direction_and_delivers_late() {
    let (addr, mut heard) = echo().await;
    let link = Proxy::start(addr).await.unwrap();
    let mut client = TcpStream::connect(link.addr()).await.unwrap();
    assert!(says(&mut client, b"one").await);
    heard.recv().await.unwrap();

    link.set(Direction::ToClient, Flow::Hold);
    client.write_all(b"two").await.unwrap();
    assert_eq!(timeout(SOON, heard.recv()).await.unwrap().unwrap(), b"two", "the request arrives");
    assert!(is_silent(&mut client).await, "and its answer does not");
    link.heal();
    assert_eq!(timeout(SOON, client.read_u8()).await.unwrap().unwrap(), b't');

    link.set(Direction::ToServer, Flow::Hold);
    client.write_all(b"three").await.unwrap();
    assert!(timeout(NOTHING_WITHIN, heard.recv()).await.is_err(), "the request does not arrive");
    let mut other = TcpStream::connect(link.addr()).await.unwrap();
    other.write_all(b"four").await.unwrap();
    assert!(is_silent(&mut other).await, "a held link accepts, and stays silent");
    link.heal();
    assert_eq!(timeout(SOON, other.read_u8()).await.unwrap().unwrap(), b'f');
}

#[tokio::test]
async fn slows_down_and_resets_in_the_middle_of_a_message() {
    let (addr, _heard) = echo().await;
    let link = Proxy::start(addr).await.unwrap();
    let mut client = TcpStream::connect(link.addr()).await.unwrap();
    let tick = Duration::from_millis(20);
    link.set(Direction::ToClient, Flow::Slow { bytes: 2, tick });
    let begun = std::time::Instant::now();
    assert!(says(&mut client, b"0123456789").await);
    assert!(begun.elapsed() >= tick * 4, "ten bytes take five ticks");

    link.heal();
    link.set(Direction::ToClient, Flow::ResetAfter(3));
    client.write_all(b"0123456789").await.unwrap();
    let mut part = [0; 3];
    // What has arrived before the reset may be read, or be lost with it.
    let read = timeout(SOON, client.read_exact(&mut part)).await.unwrap();
    assert!(read.is_err() || part == *b"012");
    assert_eq!(
        end_of(&mut client).await.err().or(read.err().map(|e| e.kind())),
        Some(ErrorKind::ConnectionReset)
    );
    assert_eq!(link.resets(), 1);
    let mut client = TcpStream::connect(link.addr()).await.unwrap();
    assert!(says(&mut client, b"only once").await);
}

#[tokio::test]
async fn resets_before_during_or_after_a_text() {
    let (addr, mut heard) = echo().await;
    let link = Proxy::start(addr).await.unwrap();
    for (moment, arrives) in
        [(Moment::Before, Some(false)), (Moment::During, None), (Moment::After, Some(true))]
    {
        let before = link.resets();
        let mut client = TcpStream::connect(link.addr()).await.unwrap();
        link.set(Direction::ToServer, Flow::ResetAt { text: Arc::from(*b"COMMIT;"), moment });
        assert!(says(&mut client, b"work; COM").await, "the half of a text strikes nobody");
        client.write_all(b"MIT; more").await.unwrap();
        assert!(end_of(&mut client).await.is_err(), "{moment:?}: the answer is lost with its connection");
        assert!(link.reset_since(before, SOON).await);
        let mut said = Vec::new();
        while let Ok(Some(bytes)) = timeout(NOTHING_WITHIN, heard.recv()).await {
            said.extend(bytes);
        }
        let has_arrived = String::from_utf8_lossy(&said).contains("COMMIT;");
        assert!(arrives.is_none_or(|arrives| arrives == has_arrived), "{moment:?}: {said:?}");
        let mut client = TcpStream::connect(link.addr()).await.unwrap();
        assert!(says(&mut client, b"COMMIT;").await, "it strikes once");
        heard.recv().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_client_stays_behind_its_door() {
    use rdkafka::consumer::{BaseConsumer, Consumer};

    let kafka = KafkaOptions { doors: Links::DOORS, ..KafkaOptions::default() };
    let stack = Box::pin(Stack::start(Options { kafka, ..Options::default() })).await.unwrap();
    let links = Links::start(&stack, 0).await.unwrap();
    let servers = Endpoints::of(&stack);
    for (name, brokers) in [
        (LinkName::WatcherKafka, links.watcher(&servers).kafka_brokers),
        (LinkName::SyncerKafka, links.syncer(&servers).kafka_brokers),
    ] {
        let told = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer =
                rdkafka::ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
            let metadata = client.fetch_metadata(None, SOON).unwrap();
            metadata.brokers().iter().map(|broker| broker.port()).collect::<Vec<_>>()
        });
        assert_eq!(told.await.unwrap(), [i32::from(links.get(name).addr().port())]);
    }
    // A client of the servers' own listener is told of that.
    let direct = servers.kafka_brokers.clone();
    let told = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer =
            rdkafka::ClientConfig::new().set("bootstrap.servers", &direct).create().unwrap();
        client.fetch_metadata(None, SOON).unwrap().brokers()[0].port()
    });
    assert!(servers.kafka_brokers.ends_with(&format!(":{}", told.await.unwrap())));

    // MongoDB's client stays on its link, too.
    let mongodb = mongodb::Client::with_uri_str(links.watcher(&servers).mongodb_uri).await.unwrap();
    let hello = mongodb.database("admin").run_command(bson::doc! { "hello": 1 }).await.unwrap();
    assert_eq!(hello.get_str("setName").unwrap(), "rs0");
    assert!(links.get(LinkName::WatcherMongodb).accepted() > 0);
}
