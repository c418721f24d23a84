//! Serves an operator's requests.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use crate::admin::Admin;
use crate::http::access_log::Line;
use crate::http::answer::Outgoing;
use crate::http::exchange::Client;
use crate::http::listener::Service;

/// How long a request may take, to the end of its response.
const TIME: Duration = Duration::from_secs(30);

/// Handles an operator's requests. They are not logged.
#[derive(Clone)]
pub(super) struct ForOperator(pub(super) Arc<Admin>);

impl Service for ForOperator {
    fn handle(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Outgoing>> + Send {
        let admin = Arc::clone(&self.0);
        async move {
            let local = client.local;
            let line = Line::new(0, &request, TIME, None);
            let version = request.version();
            // No request has a body of use.
            let response = admin.answer(&request.map(drop), local).await;
            let response = response.map(|body| {
                let body = Full::new(body);
                body.map_err(|never| match never {}).boxed_unsync()
            });
            Outgoing::wrap(response, version, line, client.exchange, Arc::default())
        }
    }

    fn refused(&self, _: StatusCode, _: &hyper::Error) {}
}
