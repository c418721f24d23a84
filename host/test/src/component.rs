//! Compiles each component once for the whole process.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use millpond_wasmtime::{InstanceLimits, recommended_config, start_epochs};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Cache, CacheConfig, Engine};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::error::Mistake;
use crate::guest::{self, Guest};
use crate::outdated::newer_source;

/// A component, ready to be instantiated, in an engine configured as the command `millpond`'s.
pub(crate) struct Compiled {
    pub(crate) path: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) http: Option<ProxyPre<Guest>>,
    pub(crate) command: Option<Command>,
}

/// Which version of WASI a command is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Wasi02,
    Wasi03,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Compiled").field(&self.path).finish()
    }
}

type Once = Arc<OnceLock<Result<Arc<Compiled>, Mistake>>>;

/// The component at `path`, compiled now or before.
pub(crate) fn compiled(path: &Path) -> Result<Arc<Compiled>, Mistake> {
    static COMPILED: Mutex<Option<HashMap<PathBuf, Once>>> = Mutex::new(None);
    let known = fs::canonicalize(path).map_err(|error| {
        Mistake::about(
            path,
            format_args!(
                "cannot read the component: {error}: build it first, in Rust with \
                 `cargo build --target wasm32-wasip2`"
            ),
        )
    })?;
    let once = {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = compiled.get_or_insert_default();
        Arc::clone(compiled.entry(known).or_default())
    };
    once.get_or_init(|| compile(path).map(Arc::new)).clone()
}

fn compile(path: &Path) -> Result<Compiled, Mistake> {
    if let Some(source) = newer_source(path) {
        let source = source.display();
        let message = format_args!(
            "older than {source}: build it again, with `cargo build --target wasm32-wasip2`"
        );
        return Err(Mistake::about(path, message));
    }
    let bytes = fs::read(path).map_err(|error| Mistake::about(path, error))?;
    let cache = Cache::new(CacheConfig::new()).ok();
    let limits = InstanceLimits::new();
    let mut refusal = None;
    // Only WASI 0.3 needs concurrency within an instance.
    for concurrency in [false, true] {
        let mut config = recommended_config(&limits);
        config
            .cache(cache.clone())
            .concurrency_support(concurrency)
            .wasm_component_model_async(concurrency);
        let engine = Engine::new(&config).map_err(|error| Mistake::about(path, error))?;
        match Component::new(&engine, &bytes) {
            Ok(component) => return link(path, engine, &component, concurrency),
            Err(error) => refusal = Some(error),
        }
    }
    let refusal = refusal.map(|error| error.root_cause().to_string());
    Err(Mistake::about(
        path,
        format_args!(
            "not a component that can be run: {}",
            refusal.unwrap_or_default()
        ),
    ))
}

fn link(
    path: &Path,
    engine: Engine,
    component: &Component,
    concurrency: bool,
) -> Result<Compiled, Mistake> {
    let mistake = |error: wasmtime::Error| Mistake::about(path, format!("{error:#}"));
    let mut linker = Linker::new(&engine);
    guest::add_to_linker(&mut linker, component, concurrency).map_err(mistake)?;
    let pre = linker.instantiate_pre(component).map_err(mistake)?;
    let exports: Vec<String> = component
        .component_type()
        .exports(&engine)
        .map(|(name, _)| name.to_string())
        .collect();
    let has = |name: &str| exports.iter().any(|export| export.starts_with(name));
    // Of two versions, the older one, as the command `millpond` does.
    let http = if has("wasi:http/incoming-handler@0.2.") {
        let pre = p2::bindings::ProxyPre::new(pre.clone()).map_err(mistake)?;
        Some(ProxyPre::P2(pre))
    } else if has("wasi:http/handler@0.3.") {
        let pre = p3::bindings::ServicePre::new(pre.clone()).map_err(mistake)?;
        Some(ProxyPre::P3(pre))
    } else {
        None
    };
    let command = if has("wasi:cli/run@0.2.") {
        Some(Command::Wasi02)
    } else if has("wasi:cli/run@0.3.") {
        Some(Command::Wasi03)
    } else {
        None
    };
    start_epochs(&engine).map_err(|error| Mistake::about(path, error))?;
    Ok(Compiled {
        path: path.to_owned(),
        engine,
        pre,
        http,
        command,
    })
}
