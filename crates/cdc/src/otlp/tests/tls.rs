//! A collector behind TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Identity, ServerTlsConfig};

use super::*;

const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// A collector over both protocols that shows a certificate for this name.
    fn collector(&self, name: &str) -> (SocketAddr, Came) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate.pem(), key.serialize_pem()));
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (address, came) = (incoming.local_addr().unwrap(), Came::default());
        let router = Router::new()
            .route_service(GRPC_PATH, TraceServiceServer::new(Taking { came: Arc::clone(&came), rejects: 0 }))
            .route("/v1/traces", over_http(Arc::clone(&came), StatusCode::OK));
        let server = Server::builder().accept_http1(true).tls_config(tls).unwrap();
        tokio::spawn(server.serve_with_incoming(router, incoming));
        (address, came)
    }
}

fn endpoint(name: &str, address: SocketAddr, protocol: TraceProtocol) -> String {
    let path = if protocol == TraceProtocol::Http { "/v1/traces" } else { "" };
    format!("https://{name}:{}{path}", address.port())
}

#[tokio::test]
async fn a_collector_is_believed_by_its_authority_and_its_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for protocol in [TraceProtocol::Grpc, TraceProtocol::Http] {
        for (authority, name, is_believed) in
            [(&ours, "localhost", true), (&theirs, "localhost", false), (&ours, "collector.example", false)]
        {
            let (address, came) = authority.collector(name);
            let certificates = Some(ours.0.pem().into_bytes());
            let wanted = wanted(&endpoint("localhost", address, protocol), protocol);
            let (traces, export, handle) = begin(&TraceExport { certificates, ..wanted });
            finish(&traces, 3);
            // A second is the wait for the other spans of a batch, and enough for a try.
            let closing = if is_believed { Duration::from_secs(30) } else { Duration::from_millis(500) };
            export.close(closing).await;
            let (sent, unsent) = if is_believed { (3, 0) } else { (0, 3) };
            let what = format!("{protocol:?} {name}");
            assert_eq!((counted(&handle, "sent"), counted(&handle, "unsent")), (sent, unsent), "{what}");
            assert_eq!(spans(&came), usize::try_from(sent).unwrap(), "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_with_what_to_look_at() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (authority, name, expected) in [
        (&theirs, "localhost", "invalid peer certificate"),
        (&ours, "collector.example", "collector.example"),
    ] {
        for protocol in [TraceProtocol::Grpc, TraceProtocol::Http] {
            let (address, _came) = authority.collector(name);
            let certificates = Some(ours.0.pem().into_bytes());
            let wanted = wanted(&endpoint("localhost", address, protocol), protocol);
            let collector = Collector::new(&TraceExport { certificates, ..wanted }).unwrap();
            let said = collector.send(ExportTraceServiceRequest::default()).await.unwrap_err();
            assert!(said.kind.is_retryable(), "a certificate may be renewed: {said}");
            let said = said.to_string();
            assert!(said.contains(expected) && said.contains("tracing.certificate"), "{protocol:?}: {said}");
        }
    }
}
