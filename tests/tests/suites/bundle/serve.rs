//! A bundled HTTP guest, as `wasmtime serve --dir FOLDER::/data` runs it: an instance for each
//! request, and nothing but WASI.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::{Place, native};
use crate::process::MIGRATIONS;

struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    no_requests: NoRequests,
    table: ResourceTable,
}

struct NoRequests;

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.no_requests,
        }
    }
}

/// Send a request to a new instance. Returns the response's status and body.
async fn ask(
    place: &Place,
    component: &Component,
    folder: &Path,
    (method, path): (&str, &str),
    body: &'static str,
) -> (u16, String) {
    let mut linker = Linker::new(&place.engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("HTTP");
    let wasi = WasiCtxBuilder::new()
        .inherit_stderr()
        .preopened_dir(folder, "/data", FsPerms::ReadWrite)
        .expect("a folder")
        .build();
    let host = Host {
        wasi,
        http: WasiHttpCtx::new(),
        no_requests: NoRequests,
        table: ResourceTable::new(),
    };
    let mut store = Store::new(&place.engine, host);
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .expect("a request");
    let (answer, answered) = oneshot::channel();
    let mut http = store.data_mut().http();
    let request = http
        .new_incoming_request(Scheme::Http, request)
        .expect("a request");
    let outparam = http
        .new_response_outparam(answer)
        .expect("a place for the response");
    let pre = linker.instantiate_pre(component).expect("only WASI");
    let proxy = ProxyPre::new(pre).expect("an HTTP handler");
    let guest = async {
        let proxy = proxy
            .instantiate_async(&mut store)
            .await
            .expect("an instance");
        let handler = proxy.wasi_http_incoming_handler();
        handler
            .call_handle(&mut store, request, outparam)
            .await
            .expect("no trap");
    };
    // The guest may write the body while it is read.
    let response = async {
        let response = answered.await.expect("a response").expect("no error");
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    };
    tokio::join!(guest, response).1
}

#[tokio::test]
async fn the_notes_are_served_on_wasi_alone() {
    let Some(place) = Place::new() else { return };
    let component = place.load("millpond_notes");
    let folder = place.database("notes", "");
    let mut migrations: Vec<_> = std::fs::read_dir(MIGRATIONS)
        .expect("migrations")
        .map(|entry| entry.expect("a file").path())
        .collect();
    migrations.sort();
    for file in migrations {
        let sql = std::fs::read_to_string(file).expect("SQL");
        native(&folder).execute_batch(&sql).expect("a migration");
    }
    let note = r#"{"title": "Tea", "body": "Black"}"#;
    let request = |request, body| ask(&place, &component, &folder, request, body);
    assert_eq!(request(("POST", "/api/notes"), note).await.0, 201);
    assert_eq!(request(("POST", "/api/notes"), "{}").await.0, 422);
    let writers = (0..4).map(|_| request(("POST", "/api/notes"), note));
    let [a, b, c, d] = writers.collect::<Vec<_>>().try_into().ok().expect("four");
    let ended = tokio::join!(a, b, c, d);
    assert_eq!([ended.0.0, ended.1.0, ended.2.0, ended.3.0], [201; 4]);
    let (status, list) = request(("GET", "/api/notes"), "").await;
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!((status, &list["total"]), (200, &5.into()));
    let (status, page) = request(("GET", "/"), "").await;
    assert!(status == 200 && page.contains("<html"), "{status} {page}");
}
