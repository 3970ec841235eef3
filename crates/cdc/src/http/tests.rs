use cdc_machine::StateName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;

struct Site {
    address: SocketAddr,
    health: watch::Sender<Health>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn site() -> Site {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        metrics::counter!("syncer_messages_consumed_total").absolute(3);
    });
    let (health, receiver) = watch::channel(Health::starting("syncer"));
    let listener = bind("http.listen", SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let probes = Probes::new(receiver, recorder.handle(), "syncer-0".to_owned());
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, probes, async {
        let _ = stopped.await;
    }));
    Site { address, health, stop, served }
}

/// Status, header lines and body of one request.
async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn health_tells_state_and_reason_and_its_status_follows() {
    let site = site().await;
    let (status, head, body) = get(site.address, "/health").await;
    assert_eq!(status, 503);
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(body, r#"{"service":"syncer","state":"Connecting","healthy":false,"reason":"starting"}"#);
    assert_eq!(get(site.address, "/readyz").await.0, 503);
    assert_eq!(get(site.address, "/livez").await.0, 200);

    site.health.send_modify(|health| {
        health.state = StateName::Streaming;
        (health.healthy, health.ready) = (true, true);
        health.reason = "streaming".to_owned();
    });
    let (status, _, body) = get(site.address, "/health").await;
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"service":"syncer","state":"Streaming","healthy":true,"reason":"streaming"}"#)
    );
    assert_eq!(get(site.address, "/readyz").await.0, 200);
}

#[tokio::test]
async fn a_service_whose_loop_is_gone_does_not_live() {
    let site = site().await;
    drop(site.health);
    assert_eq!(get(site.address, "/livez").await.0, 503);
}

#[tokio::test]
async fn metrics_and_status_are_served_and_the_rest_is_not() {
    let site = site().await;
    let (status, head, body) = get(site.address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("syncer_messages_consumed_total 3"), "{body}");
    let (_, _, body) = get(site.address, "/status").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["instance"], &body["state"]), (&"syncer-0".into(), &"Connecting".into()));
    assert_eq!(body["version"], version::PACKAGE_VERSION);
    assert_eq!(get(site.address, "/").await.0, 404);
}

#[tokio::test]
async fn it_ends_when_told_to() {
    let site = site().await;
    site.stop.send(()).unwrap();
    site.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(site.address).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_told_with_its_key() {
    let site = site().await;
    let failed = bind("http.listen", site.address).await.unwrap_err();
    assert_eq!(failed.exit, Exit::LocalIo);
    assert!(
        failed.message.starts_with(&format!("http.listen: {} cannot be listened on: ", site.address)),
        "{failed}"
    );
}
