//! Runs a guest: a new instance for one call, to its end, and records what it did.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_channel::oneshot;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use millpond_wasmtime::{Grant, SqliteCtx, StatsScope};
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{I32Exit, WasiCtx};
use wasmtime_wasi_http::handler::{Prepared, Proxy, ProxyPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView, p2};

use crate::app::App;
use crate::call::Options;
use crate::component::Command;
use crate::guest::{Frozen, Guest};
use crate::record::{Answer, Exit, Record};
use crate::recorder::Ongoing;

/// How much a guest may write to its stdout, and to its stderr, in one call.
const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// The maximum size of a response's body.
const MAX_BODY_BYTES: usize = 64 << 20;
/// The status for a client that went away.
const CLIENT_LEFT: u16 = 499;
/// A shell's exit code for a process whose reader went away.
const BROKEN_PIPE: i32 = 128 + 13;
/// The exit code of a guest that trapped.
const TRAPPED: i32 = 134;

type Received = Result<Response<WasiBody>, wasmtime::Error>;

/// A guest that is about to run.
struct Instance {
    app: App,
    store: Store<Guest>,
    ongoing: Ongoing,
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
    deadline: Instant,
}

/// How a guest's call ended.
enum Ended<T> {
    Done(wasmtime::Result<T>),
    TimedOut,
    ClientLeft,
}

impl Instance {
    /// `statement` and `transaction` are how long a statement and a transaction may take.
    fn new(
        app: &App,
        options: Options,
        (statement, transaction): (Duration, Duration),
        configure: impl FnOnce(&mut wasmtime_wasi::WasiCtxBuilder),
    ) -> Instance {
        let inner = &app.inner;
        let pipes = [(); 2].map(|()| MemoryOutputPipe::new(MAX_OUTPUT_BYTES));
        let [stdout, stderr] = pipes;
        let mut wasi = WasiCtx::builder();
        wasi.stdout(stdout.clone())
            .stderr(stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        for (name, value) in &inner.env {
            wasi.env(name, value);
        }
        if let Some(now) = options.now.or(inner.now) {
            let since = now.duration_since(SystemTime::UNIX_EPOCH);
            wasi.wall_clock(Frozen(since.unwrap_or_default()));
        }
        configure(&mut wasi);
        let deadline = Instant::now() + inner.timeout;
        let mut sqlite = SqliteCtx::builder().deadline(deadline);
        for opened in &inner.databases {
            let grant = Grant::new(&opened.pool, opened.access)
                .max_statement_time(statement)
                .max_transaction_time(transaction)
                .max_hold_time(Duration::MAX)
                .stats(StatsScope::Pool);
            sqlite = sqlite.grant(&opened.name, grant);
        }
        let sqlite = sqlite.build();
        let ongoing = inner.calls.begin(sqlite.request().id(), options.faults);
        Instance {
            app: app.clone(),
            store: Guest::store(&inner.component.engine, wasi.build(), sqlite),
            ongoing,
            stdout,
            stderr,
            deadline,
        }
    }

    /// Run `work` to its end, and drop everything of the guest. What it printed and did is in the
    /// record.
    async fn run<T>(
        self,
        name: String,
        work: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> (Ended<T>, Record) {
        let mut store = self.store;
        let recorder = &self.ongoing.recorder;
        let ended = tokio::select! {
            biased;
            () = tokio::time::sleep_until(self.deadline.into()) => Ended::TimedOut,
            () = recorder.leave.notified() => Ended::ClientLeft,
            outcome = work(&mut store) => Ended::Done(outcome),
        };
        let unknown_database = store.data_mut().unknown_database().map(str::to_owned);
        recorder.guest_has_ended();
        drop(store);
        // Every connection that the guest still held is back now, unless a statement did not stop.
        recorder.all_returned().await;
        let inner = &self.app.inner;
        let (journal, left, unused_faults) = recorder.take();
        let text = |pipe: &MemoryOutputPipe| String::from_utf8_lossy(&pipe.contents()).into_owned();
        let stats = inner.databases.iter();
        let record = Record {
            name,
            journal,
            left,
            unused_faults,
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            failure: match &ended {
                Ended::Done(Err(error)) if error.downcast_ref::<I32Exit>().is_none() => {
                    Some(format!("{error:?}"))
                }
                Ended::TimedOut => Some(format!("it took longer than {:?}", inner.timeout)),
                _ => None,
            },
            unknown_database,
            stats: stats
                .map(|opened| (opened.name.clone(), opened.pool.stats()))
                .collect(),
            app: self.app.clone(),
        };
        (ended, record)
    }
}

/// Send a request to a new instance.
pub(crate) async fn request(app: App, request: Request<Bytes>, options: Options) -> Answer {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let name = format!("{} {target}", request.method());
    let limits = (Duration::MAX, Duration::from_secs(10));
    let instance = Instance::new(&app, options, limits, |_| {});
    let request = request.map(|body| {
        let body = Full::new(body).map_err(|never| match never {});
        body.boxed_unsync()
    });
    let (answer, answered) = oneshot::channel();
    let component = Arc::clone(&app.inner.component);
    let guest = instance.run(name, async move |store| match &component.http {
        Some(pre) => call(store, pre, request, answer).await,
        None => Err(wasmtime::format_err!(
            "{} is not an HTTP handler: it exports neither wasi:http/incoming-handler@0.2 nor \
             wasi:http/handler@0.3",
            component.path.display()
        )),
    });
    // The guest may produce the body while it is being received.
    let response = async {
        match answered.await {
            Ok(Ok(response)) => Some(receive(response).await),
            Ok(Err(error)) => Some(Err(error)),
            // The guest ended without a response, and `ended` says why.
            Err(oneshot::Canceled) => None,
        }
    };
    let ((ended, mut record), response) = tokio::join!(guest, response);
    if let Ended::Done(Err(error)) = &ended
        && let Some(I32Exit(code)) = error.downcast_ref()
    {
        record.failure = Some(format!(
            "it called exit({code}): an HTTP handler must return, and set a response"
        ));
    }
    let mut status = |status: StatusCode, error: Option<String>| {
        // The guest's own failure is why its response is not complete.
        record.failure = record.failure.take().or(error);
        (status, HeaderMap::new(), Bytes::new())
    };
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    let (status, headers, body) = match (ended, response) {
        (Ended::ClientLeft, _) => {
            let left = StatusCode::from_u16(CLIENT_LEFT);
            status(left.unwrap_or(StatusCode::BAD_REQUEST), None)
        }
        (_, Some(Ok((code, ..)))) if code.is_informational() => {
            let problem = format!("its response has the status {code}, which is not final");
            status(failed, Some(problem))
        }
        (_, Some(Ok(answer))) => answer,
        (Ended::TimedOut, _) => status(StatusCode::GATEWAY_TIMEOUT, None),
        (_, Some(Err(error))) => status(failed, Some(format!("{error:?}"))),
        (Ended::Done(_), None) => status(failed, None),
    };
    Answer {
        status,
        headers,
        body,
        record,
    }
}

async fn receive(
    response: Response<WasiBody>,
) -> Result<(StatusCode, HeaderMap, Bytes), wasmtime::Error> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|error| {
        wasmtime::format_err!("the body of its response is not complete: {error}")
    })?;
    Ok((head.status, head.headers, body.to_bytes()))
}

/// Run a new instance to its end. An error before the response replaces the response; one after it
/// is returned.
async fn call(
    store: &mut Store<Guest>,
    pre: &ProxyPre<Guest>,
    request: Request<WasiBody>,
    answer: oneshot::Sender<Received>,
) -> wasmtime::Result<()> {
    let proxy = pre.instantiate_async(&mut *store).await?;
    match &proxy {
        Proxy::P2(proxy) => call_02(store, proxy, request, answer).await,
        Proxy::P3(_) => {
            store
                .run_concurrent(async |accessor| {
                    let prepared = accessor.with(|mut store| {
                        let store = store.as_context_mut();
                        Prepared::new(store, &proxy, request, Guest::http, answer)
                    })?;
                    prepared.run(accessor, pending()).await?;
                    // The response's body, and the guest's work after it, are separate tasks.
                    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                    Ok(())
                })
                .await?
        }
    }
}

async fn call_02(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: Request<WasiBody>,
    answer: oneshot::Sender<Received>,
) -> wasmtime::Result<()> {
    let answer = Arc::new(Mutex::new(Some(answer)));
    let take =
        |answer: &Mutex<Option<_>>| answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let outparam = http.new_response_outparam_from_callback({
        let answer = Arc::clone(&answer);
        move |response| {
            if let Some(answer) = take(&answer) {
                let _ = answer.send(response.map_err(wasmtime::Error::from));
            }
        }
    })?;
    let handler = proxy.wasi_http_incoming_handler();
    handler.call_handle(store, request, outparam).await?;
    match take(&answer) {
        Some(_) => Err(wasmtime::format_err!(
            "it returned without setting a response"
        )),
        None => Ok(()),
    }
}

/// Run a new instance as a command.
pub(crate) async fn command(app: App, args: Vec<String>, stdin: Bytes, options: Options) -> Exit {
    let component = Arc::clone(&app.inner.component);
    let program = component.path.file_name().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    let name = args
        .iter()
        .fold(program.clone(), |name, arg| name + " " + arg);
    let limits = (Duration::from_secs(60), Duration::MAX);
    let instance = Instance::new(&app, options, limits, |wasi| {
        wasi.arg(program)
            .args(&args)
            .stdin(MemoryInputPipe::new(stdin));
    });
    let (ended, record) = instance
        .run(name, async move |store| match component.command {
            Some(version) => run(store, &component.pre, version).await,
            None => Err(wasmtime::format_err!(
                "{} is not a command: it does not export wasi:cli/run",
                component.path.display()
            )),
        })
        .await;
    let code = match ended {
        Ended::Done(Ok(Ok(()))) => 0,
        Ended::Done(Ok(Err(()))) => 1,
        Ended::Done(Err(error)) => match error.downcast_ref::<I32Exit>() {
            // Only the lowest byte, as the system does with an exit code.
            Some(I32Exit(code)) => code & 0xff,
            None => TRAPPED,
        },
        Ended::TimedOut => TRAPPED,
        Ended::ClientLeft => BROKEN_PIPE,
    };
    Exit { code, record }
}

async fn run(
    store: &mut Store<Guest>,
    pre: &wasmtime::component::InstancePre<Guest>,
    version: Command,
) -> wasmtime::Result<Result<(), ()>> {
    match version {
        Command::Wasi03 => {
            let instance = pre.instantiate_async(&mut *store).await?;
            let command = wasmtime_wasi::p3::bindings::Command::new(&mut *store, &instance)?;
            let run =
                store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await);
            run.await?
        }
        Command::Wasi02 => {
            let command = wasmtime_wasi::p2::bindings::CommandPre::new(pre.clone())?;
            let command = command.instantiate_async(&mut *store).await?;
            command.wasi_cli_run().call_run(store).await
        }
    }
}
