use std::time::Duration;

use http::uri::Scheme;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Extensions, Request};

use super::trouble::Trouble;
use crate::config::TraceExport;
use crate::version;

/// A collector over gRPC.
pub(super) struct Grpc {
    client: TraceServiceClient<Channel>,
    metadata: MetadataMap,
    timeout: Duration,
}

impl Grpc {
    pub(super) fn new(export: &TraceExport) -> Result<Self, String> {
        let cannot = |error: tonic::transport::Error| {
            let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
            format!(
                "the collector cannot be spoken to: {error}{why}; check tracing.endpoint and tracing.certificate"
            )
        };
        let mut endpoint = Endpoint::from(export.endpoint.clone())
            .user_agent(format!("cdc/{}", version::PACKAGE_VERSION))
            .map_err(cannot)?
            .connect_timeout(export.timeout);
        if export.endpoint.scheme() == Some(&Scheme::HTTPS) {
            let tls = ClientTlsConfig::new();
            let tls = match &export.certificates {
                Some(pem) => {
                    super::tls::client(Some(pem))?;
                    tls.ca_certificate(Certificate::from_pem(pem))
                }
                None => tls.with_native_roots(),
            };
            endpoint = endpoint.tls_config(tls).map_err(cannot)?;
        }
        Ok(Self {
            client: TraceServiceClient::new(endpoint.connect_lazy()),
            metadata: MetadataMap::from_headers(export.headers.clone()),
            timeout: export.timeout,
        })
    }

    pub(super) async fn send(&self, request: ExportTraceServiceRequest) -> Result<u64, Trouble> {
        let request = Request::from_parts(self.metadata.clone(), Extensions::default(), request);
        let mut client = self.client.clone();
        let answer = tokio::time::timeout(self.timeout, client.export(request)).await;
        let answer = answer.map_err(|_elapsed| Trouble::timed_out())?;
        let answer = answer.map_err(|status| Trouble::of_grpc(&status))?.into_inner();
        Ok(super::rejected(&answer))
    }
}
