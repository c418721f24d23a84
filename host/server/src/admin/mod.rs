//! What an operator sees of a running server: its metrics, its health, and a page.
//!
//! `watch` collects it: it is the log of the server, and the observer of its pools. Everything is
//! read here, and nothing can be changed.

mod disks;
mod health;
mod host;
mod metrics;
mod page;
mod plan;
mod pools;
mod recent;
mod requests;
mod slow;
mod tenants;
mod times;
mod upkeep;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Bytes;
use millpond_wasmtime::pool::observe::prometheus::CONTENT_TYPE as OPEN_METRICS;
use serde_json::{Value, json};

pub(crate) use self::health::Health;
pub(crate) use self::requests::Running;
pub(crate) use self::watch::{State, Watch};

/// Only the page's own files, and nothing written into the page itself, may run or style it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The older text format of Prometheus.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers an operator's requests.
#[derive(Debug)]
pub(crate) struct Admin {
    watch: Arc<Watch>,
    health: Health,
    /// The name in the address that it listens on.
    name: String,
}

impl Admin {
    /// Show what this watches. `name` is the host of the address in the configuration.
    pub(crate) fn new(watch: Arc<Watch>, name: &str) -> Admin {
        Admin {
            watch,
            health: Health::default(),
            name: name.to_owned(),
        }
    }

    /// The response to a request that came to the socket address `local`.
    pub(crate) async fn answer<B>(
        &self,
        request: &Request<B>,
        local: Option<SocketAddr>,
    ) -> Response<Bytes> {
        let mut response = if !host::is_own(request, &self.name, local) {
            text(
                StatusCode::MISDIRECTED_REQUEST,
                "ask for this server by its address, or as localhost\n",
            )
        } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "nothing can be changed here\n",
            );
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        } else {
            self.get(request).await
        };
        let always: [(HeaderName, &'static str); 5] = [
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
        ];
        for (name, value) in always {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn get<B>(&self, request: &Request<B>) -> Response<Bytes> {
        match request.uri().path() {
            "/metrics" => {
                let open_metrics = accepts(request, "application/openmetrics-text");
                let kind = match open_metrics {
                    true => OPEN_METRICS,
                    false => PROMETHEUS_TEXT,
                };
                response(StatusCode::OK, kind, self.watch.metrics(open_metrics))
            }
            "/healthz" => text(StatusCode::OK, "the server accepts connections\n"),
            "/readyz" => {
                let (status, answer) = self.health.answer(&self.watch).await;
                json_response(status, &answer)
            }
            "/stats" => json_response(StatusCode::OK, &self.stats()),
            "/snapshot" => json_response(StatusCode::OK, &self.watch.snapshot()),
            // A program that reads the counters accepts anything.
            "/" if !accepts(request, "text/html") => json_response(StatusCode::OK, &self.stats()),
            path => match page::file(path) {
                Some((kind, file)) => response(StatusCode::OK, kind, file),
                None => text(
                    StatusCode::NOT_FOUND,
                    "there are /, /metrics, /healthz, /readyz, /stats and /snapshot\n",
                ),
            },
        }
    }

    /// The counters of each database, as `{"databases": {NAME: {COUNTER: NUMBER}}}`.
    fn stats(&self) -> Value {
        let databases = self.watch.databases();
        let databases = databases.iter();
        let databases = databases.map(|(name, open)| (name.to_string(), open.stats().to_json()));
        json!({ "databases": databases.collect::<serde_json::Map<_, _>>() })
    }
}

/// Whether a request names this media type as one that it accepts.
fn accepts<B>(request: &Request<B>, kind: &str) -> bool {
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    accepted.any(|accepted| {
        accepted
            .to_str()
            .is_ok_and(|accepted| accepted.contains(kind))
    })
}

fn text(status: StatusCode, text: &'static str) -> Response<Bytes> {
    response(status, "text/plain; charset=utf-8", text)
}

fn json_response(status: StatusCode, value: &Value) -> Response<Bytes> {
    response(status, "application/json", format!("{value:#}\n"))
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use millpond_wasmtime::pool::block_on;

    use super::*;
    use crate::TextLog;
    use crate::config::Config;

    fn get(admin: &Admin, method: Method, path: &str, host: &str) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(HOST, host).header(ACCEPT, "text/html");
        block_on(admin.answer(&request.body(()).expect("a request"), None))
    }

    #[test]
    fn a_server_that_starts_is_alive_but_not_ready() {
        let watch = Watch::new(&Config::default(), Arc::new(TextLog::new(std::io::sink())));
        let admin = Admin::new(Arc::clone(&watch), "localhost");
        let ready = || get(&admin, Method::GET, "/readyz", "localhost");
        assert_eq!(ready().status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = String::from_utf8_lossy(ready().body()).into_owned();
        assert!(body.contains("\"starting\""), "{body}");
        assert_eq!(
            get(&admin, Method::GET, "/healthz", "localhost").status(),
            StatusCode::OK
        );
        watch.set_state(State::Serving);
        assert_eq!(ready().status(), StatusCode::OK);
        watch.set_state(State::ShuttingDown);
        assert_eq!(ready().status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn every_answer_forbids_what_is_not_the_page_s_own() {
        let watch = Watch::new(&Config::default(), Arc::new(TextLog::new(std::io::sink())));
        let admin = Admin::new(watch, "localhost");
        for (method, path, host, status) in [
            (Method::GET, "/", "localhost", 200),
            (Method::HEAD, "/page.js", "localhost", 200),
            (Method::GET, "/snapshot", "localhost", 200),
            (Method::GET, "/none", "localhost", 404),
            (Method::GET, "/", "example.com", 421),
            (Method::DELETE, "/", "localhost", 405),
        ] {
            let response = get(&admin, method, path, host);
            assert_eq!(response.status(), status, "{path}");
            let policy = response.headers()[CONTENT_SECURITY_POLICY]
                .to_str()
                .expect("text");
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        }
    }

    #[test]
    fn the_page_asks_for_files_that_there_are() {
        let (_, html) = page::file("/").expect("the page");
        // The policy allows neither a script nor a style in the page itself.
        for forbidden in ["<style", "style=", " onclick", "<script>"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        let of_html = html.split('"').filter(|part| part.starts_with("page."));
        let (_, script) = page::file("/page.js").expect("its script");
        let imports = script
            .split('\'')
            .filter_map(|part| part.strip_prefix("./"));
        let mut files: Vec<&str> = of_html.chain(imports).collect();
        files.sort_unstable();
        assert_eq!(files, ["dom.js", "page.css", "page.js", "series.js"]);
        for file in files {
            assert!(page::file(&format!("/{file}")).is_some(), "{file}");
        }
    }
}
