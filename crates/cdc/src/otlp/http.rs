use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;

use super::trouble::Trouble;
use crate::config::TraceExport;

/// The longest answer that is read, in bytes; a longer one is none of OTLP's.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A collector over HTTP.
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

impl Http {
    pub(super) fn new(export: &TraceExport) -> Result<Self, String> {
        let tls = super::tls::client(export.certificates.as_deref())?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let mut headers = export.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("cdc/", env!("CARGO_PKG_VERSION"))));
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            endpoint: export.endpoint.clone(),
            headers,
            timeout: export.timeout,
        })
    }

    pub(super) async fn send(&self, request: &ExportTraceServiceRequest) -> Result<u64, Trouble> {
        let answer = tokio::time::timeout(self.timeout, self.exchange(request.encode_to_vec().into())).await;
        answer.map_err(|_elapsed| Trouble::timed_out())?
    }

    async fn exchange(&self, body: Bytes) -> Result<u64, Trouble> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = self.client.request(request).await.map_err(|error| Trouble::unreachable(&error))?;
        if !answer.status().is_success() {
            return Err(Trouble::of_http(answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Trouble::unreachable(&*error))?.to_bytes();
        let answer = ExportTraceServiceResponse::decode(body).map_err(|error| Trouble::no_otlp(&error))?;
        Ok(super::rejected(&answer))
    }
}
