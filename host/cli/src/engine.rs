//! Compiles a component, or loads it from the cache, in an engine configured for hostile guests.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use millpond_wasmtime::{InstanceLimits, recommended_config, start_epochs};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, WasmBacktraceDetails};

use crate::failure::{Failure, reason};
use crate::guest::{self, Guest};
use crate::interfaces::{self, Import, Support};
use crate::output::say;

/// How instances are created.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instances {
    /// One, for as long as the command runs.
    One,
    /// One per request: memory and stacks come from a pool for up to this many at once.
    Pooled(u32),
}

/// A compiled component, with its engine and linker.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) component: Component,
    linker: Linker<Guest>,
}

/// Load the component at `path`.
///
/// Uses the first engine that accepts it, from the most restricted on. Only WASI 0.3 needs
/// concurrency within an instance, which is the newest code in wasmtime; and a component that does
/// not fit the instance pool allocates its own memory. `lines` says whether backtraces have source
/// lines.
pub(crate) fn load(
    path: &Path,
    instances: Instances,
    limits: &InstanceLimits,
    lines: WasmBacktraceDetails,
) -> Result<Loaded, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        Failure::about(path, format_args!("cannot read the component: {error}"))
    })?;
    check_header(path, &bytes)?;
    let cache = Cache::new(CacheConfig::new()).ok();
    let _notice = SlowNotice::after(Duration::from_secs(1), path);

    let alone = match instances {
        Instances::One => &[Instances::One][..],
        Instances::Pooled(_) => &[instances, Instances::One],
    };
    let mut refusal = None;
    for &instances in alone {
        for concurrency in [false, true] {
            let engine = Engine::new(&config(
                instances,
                concurrency,
                limits,
                lines,
                cache.clone(),
            ));
            match engine.and_then(|engine| Component::new(&engine, &bytes).map(|c| (engine, c))) {
                Ok((engine, component)) => {
                    if let (Instances::One, Some(refusal)) = (instances, &refusal)
                        && alone.len() > 1
                    {
                        say(format_args!(
                            "{} does not fit the instance pool, so each request is slower: {}",
                            path.display(),
                            reason(refusal)
                        ));
                    }
                    let linker = guest::linker(&engine, &component, concurrency)
                        .map_err(|error| Failure::about(path, reason(&error)))?;
                    return Ok(Loaded {
                        engine,
                        component,
                        linker,
                    });
                }
                Err(error) => refusal = Some(error),
            }
        }
    }
    let refusal = refusal.map(|error| reason(&error)).unwrap_or_default();
    Err(Failure::about(
        path,
        format_args!("not a component that can be run: {refusal}"),
    ))
}

impl Loaded {
    pub(crate) fn imports(&self) -> Vec<Import> {
        interfaces::imports(&self.engine, &self.component)
    }

    pub(crate) fn exports(&self) -> Vec<String> {
        interfaces::exports(&self.engine, &self.component)
    }

    /// Link every import, or report which cannot be linked.
    pub(crate) fn link(&self) -> Result<InstancePre<Guest>, String> {
        self.linker
            .instantiate_pre(&self.component)
            .map_err(|error| {
                let imports = self.imports().into_iter();
                let missing: Vec<_> = imports
                    .filter(|import| import.support == Support::Missing)
                    .map(|import| import.name)
                    .collect();
                match missing.as_slice() {
                    [] => reason(&error),
                    missing => format!(
                        "it imports what this host does not provide: {}",
                        missing.join(", ")
                    ),
                }
            })
    }

    /// Check that an instance fits into `max_memory` bytes of memory when it starts.
    pub(crate) fn check_memory(&self, max_memory: usize) -> Result<(), String> {
        /// The unit of WebAssembly's memory sizes.
        const PAGE: u64 = 64 * 1024;
        let required = self.component.resources_required();
        let pages = required.and_then(|required| required.max_initial_memory_size);
        let needed = pages.unwrap_or(0).saturating_mul(PAGE);
        if needed > max_memory as u64 {
            return Err(format!(
                "it needs {} KiB of memory from the start: raise --max-memory-size",
                needed / 1024
            ));
        }
        Ok(())
    }

    /// Start the epochs, to interrupt a guest that computes.
    pub(crate) fn start_epochs(&self) -> Result<(), Failure> {
        start_epochs(&self.engine).map_err(Failure::mistake)
    }
}

pub(crate) fn check_header(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md
    const CORE_LAYER: &[u8] = &[0, 0];
    let Some(rest) = bytes.strip_prefix(b"\0asm") else {
        let what = match bytes {
            [] => "the file is empty",
            [b'(', ..] => {
                "WebAssembly in the text format, which is not read: convert it with `wasm-tools parse`"
            }
            _ => "not a WebAssembly file",
        };
        return Err(Failure::about(path, what));
    };
    match rest.get(2..4) {
        None => Err(Failure::about(
            path,
            "the file ends in its header: it is truncated",
        )),
        Some(CORE_LAYER) => Err(Failure::about(
            path,
            "a core module, not a component: build it for wasm32-wasip2, or make a component of \
             it with `wasm-tools component new`",
        )),
        Some(_) => Ok(()),
    }
}

fn config(
    instances: Instances,
    concurrency: bool,
    limits: &InstanceLimits,
    lines: WasmBacktraceDetails,
    cache: Option<Cache>,
) -> Config {
    let mut config = recommended_config(limits);
    config.cache(cache);
    config.wasm_backtrace_details(lines);
    config
        .concurrency_support(concurrency)
        .wasm_component_model_async(concurrency);
    if let Instances::Pooled(at_once) = instances {
        config.allocation_strategy(limits.pooling(at_once));
    }
    config
}

/// Tells a user at a terminal why it takes long.
struct SlowNotice {
    /// Dropping this cancels the notice.
    _done: mpsc::Sender<()>,
}

impl SlowNotice {
    fn after(patience: Duration, path: &Path) -> SlowNotice {
        let (done, is_done) = mpsc::channel::<()>();
        if io::stderr().is_terminal() {
            let path = path.display().to_string();
            thread::spawn(move || {
                if is_done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                    say(format_args!(
                        "Compiling {path} (next time it comes from the cache)"
                    ));
                }
            });
        }
        SlowNotice { _done: done }
    }
}
