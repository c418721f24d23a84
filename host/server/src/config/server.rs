//! Settings of the whole server: `[server]`, `[[listeners]]` and `[admin]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::address::Address;
use crate::config::endpoint::Endpoint;
use crate::config::macros::{choices, settings};
use crate::config::size::Size;

settings! {
    /// Limits and timeouts that all listeners, components and databases share.
    Server {
        /// How long a request may take, until its client has taken the whole response. Then the
        /// component ends, and everything that it held is returned. The client gets the status 504,
        /// or its response breaks off if it has begun. If a statement waits for a disk that does
        /// not respond, so does the 504.
        request_timeout: Duration, default "30s", from ">0s" to "10000h";

        /// Maximum number of requests that run at the same time. Each has an instance, and one
        /// whose statement takes long also has a thread. A request beyond it gets the status 503.
        max_requests: u32, default 128, from 1 to 4096;

        /// Maximum number of requests of one client address that run at the same time. A request
        /// beyond it gets the status 429. All addresses of a /64 network of IPv6 count as one, and
        /// clients behind one proxy share its address.
        max_client_requests: Option<u32>, unset "no limit but `max-requests`", from 1 to 4096,
            example 16;

        /// Maximum number of requests of one tenant to one component that run at the same time. A
        /// request beyond it gets the status 429.
        max_tenant_requests: Option<u32>, unset "no limit but `max-requests`", from 1 to 4096,
            example 16;

        /// How long a request's head may take to arrive, how long a TLS handshake may take, and how
        /// long a connection may stay open without a request, whatever else its client sends.
        head_timeout: Duration, default "30s", from ">0s" to "1h";

        /// Maximum size of a request's head: its first line and its headers. A larger one gets the
        /// status 431, or 414 if its first line alone is larger.
        max_head_size: Size, default "64KiB", from "8KiB" to "1MiB";

        /// Maximum number of headers of a request. One with more gets the status 431.
        max_headers: u32, default 100, from 1 to 1000;

        /// Maximum size of a request's body. A larger one gets the status 413. If the response has
        /// begun by then, the component gets an error instead of the rest of the body.
        max_body_size: Option<Size>, unset "no limit but `request-timeout`", from "0" to "16384GiB",
            example "64MiB";

        /// Whether to compress responses with gzip or Brotli if the client accepts it and the
        /// response's type is worth it. Do not use it with TLS for responses that have both a
        /// secret and what a request contains: their size reveals the secret to an attacker who
        /// sees the connection and can make the client send requests (BREACH). A response with
        /// `cache-control: no-transform` is never compressed.
        compression: bool, default false;

        /// How many requests an instance of a component handles, one after the other. 1 means a new
        /// instance for each request. More is faster, but whatever a request leaves in the
        /// instance's memory is there for the next one, which may be another client's.
        max_instance_reuse: u32, default 1, from 1 to 1000000;

        /// How long an instance waits for its next request before it is dropped. Only has an effect
        /// if `max-instance-reuse` is more than 1.
        idle_instance_timeout: Duration, default "1s", from ">0s" to "1h";

        /// How long a graceful shutdown waits for running requests.
        grace: Duration, default "10s", from "0s" to "10000h";

        /// When to read the configuration, its components, migrations and keys of tokens again. If
        /// something is wrong with what it reads, the server continues as before, and logs why.
        reload: Reload, default "on-signal";

        /// How much space must be free on each file system with a database or its backups. With
        /// less, the server warns in the log, at `/readyz` and on the operator's page. It still
        /// serves all requests. 0 turns the warnings off.
        min_free_disk: Size, default "256MiB", from "0" to "16384GiB";

        /// Whether to log a line for each request.
        access_log: bool, default true;

        /// The form of log lines.
        log_format: LogFormat, default "text";

        /// Log each statement that runs at least this long, without its parameters.
        slow_statement_time: Option<Duration>, unset "none are logged", from "0s" to "10000h",
            example "1s";

        /// How much of a component's stdout and stderr is logged for one request. Each line counts
        /// as 100 bytes more than its text. The rest is dropped.
        max_output_size: Size, default "64KiB", from "0" to "1GiB";

        /// SQLite's memory limit for all connections of all databases together. A statement that
        /// needs more fails.
        max_sqlite_memory: Size, default "4GiB", from "4MiB" to "16384GiB";
    }
}

/// When to read the configuration, its components, migrations and the keys of tokens again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// On SIGHUP alone.
    OnSignal,
    /// On SIGHUP, and about a second after the last change of the file, a component, a migration or
    /// a token's key.
    OnChange,
}

choices!(Reload {
    Reload::OnSignal = "on-signal", "on SIGHUP alone";
    Reload::OnChange = "on-change",
        "on SIGHUP, and when the file, a component, a migration or a token's key has changed and none \
         of them changes again for a second";
});

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: each line is a JSON object.
    Json,
}

choices!(LogFormat {
    LogFormat::Text = "text", "for people";
    LogFormat::Json = "json", "for programs: each line is a JSON object";
});

settings! {
    /// Where clients connect: one table for each address. Without any, one with the defaults. Each
    /// listener speaks HTTP/1.1, and HTTP/1.0.
    Listener {
        /// Address and port, such as `127.0.0.1:8080`, `localhost:8080`, or `:8080` for all
        /// addresses of this machine. Port 0 chooses a free port.
        address: Address, default "127.0.0.1:8080";

        /// Whether to speak HTTP/2 too: with TLS if the client chooses it, without TLS if the
        /// client begins with it.
        http2: bool, default true;

        /// Serve HTTPS, with this certificate.
        tls: Option<Tls>, unset "plain HTTP",
            example r#"{ certificate = "certificate.pem", key = "key.pem" }"#;
    }
}

settings! {
    /// The certificate of a listener, for TLS 1.2 and 1.3. When the files change, the server serves
    /// the new certificate to new connections; if it cannot, it continues with the one before, and
    /// logs why.
    Tls {
        /// A file with the certificate in PEM, then those of the authorities between it and the
        /// root.
        certificate: PathBuf, required "certificate.pem";

        /// A file with the certificate's private key in PEM.
        key: PathBuf, required "key.pem";
    }
}

settings! {
    /// A second server for the operator: counters of the pools, metrics, and health. It has no
    /// password.
    Admin {
        /// Address and port.
        address: Option<Address>, unset "no such server", example "127.0.0.1:9090";

        /// Allow an address that other machines can connect to. All of them can read what it shows.
        allow_other_machines: bool, default false;
    }
}

settings! {
    /// What the server sends to an OpenTelemetry collector: a trace of each request, with its
    /// connections and statements, but never their parameters or rows. A request with the header
    /// `traceparent` continues that trace; it is not traced if the header's flags say that the
    /// client does not record the trace. Metrics are at the admin server's `/metrics`, for the
    /// collector to scrape.
    ///
    /// Requests never wait for the collector. At most 8,192 spans wait to be sent, and each request
    /// has spans for at most 1,000 connections and statements. Further spans are dropped, counted
    /// in the metric `millpond_telemetry_spans_total`, and reported in the log. A shutdown sends
    /// the spans that wait, for up to 2 seconds.
    Telemetry {
        /// The collector's URL, without a path: `http://HOST:PORT`. It gets traces at `/v1/traces`,
        /// by OTLP over plain HTTP, as JSON.
        opentelemetry: Option<Endpoint>, unset "nothing is sent", example "http://127.0.0.1:4318";

        /// The name of this server in traces, the resource's `service.name`.
        service_name: String, default "millpond";

        /// Whether to send SQL text, up to 2,000 characters of each statement. It may contain
        /// values as literals.
        query_text: bool, default false;
    }
}
