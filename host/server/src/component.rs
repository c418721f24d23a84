//! Compiles a component, or loads it from the cache, in an engine configured for hostile guests.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use millpond_wasmtime::{EpochCount, InstanceLimits, recommended_config, start_epochs};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, WasmBacktraceDetails};

use crate::error::{Error, Result};
use crate::failure::reason;
use crate::guest::{self, Guest};
use crate::interfaces::{self, Import, Role, Support};
use crate::log::{Event, Log};

/// How instances are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// One, for as long as its program runs.
    One,
    /// One per request: memory and stacks come from a pool for up to this many at once.
    Pooled(u32),
}

/// A compiled component, with its engine, and a linker that has all that a guest may import.
pub struct LoadedComponent {
    engine: Engine,
    component: Component,
    linker: Linker<Guest>,
}

/// Load the component in the file `path`: compile it, or take it from wasmtime's cache. Compiling
/// takes seconds, and blocks the thread.
///
/// Uses the first engine that accepts it, from the most restricted on. Only WASI 0.3 needs
/// concurrency within an instance, which is the newest code in wasmtime; and a component that does
/// not fit the instance pool allocates its own memory, which `log` is told. `lines` says whether
/// backtraces have source lines.
///
/// # Errors
///
/// The file cannot be read, or is not a component that wasmtime accepts.
pub fn load(
    path: &Path,
    instances: Instances,
    limits: &InstanceLimits,
    lines: WasmBacktraceDetails,
    log: &Arc<dyn Log>,
) -> Result<LoadedComponent> {
    load_bytes(path, &read(path)?, instances, limits, lines, log)
}

/// The bytes of the component in the file `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path)
        .map_err(|error| Error::about(path, format_args!("cannot read the component: {error}")))
}

/// As [`load`], of the bytes that the file `path` has.
pub(crate) fn load_bytes(
    path: &Path,
    bytes: &[u8],
    instances: Instances,
    limits: &InstanceLimits,
    lines: WasmBacktraceDetails,
    log: &Arc<dyn Log>,
) -> Result<LoadedComponent> {
    check_header(path, bytes)?;
    let cache = Cache::new(CacheConfig::new()).ok();
    let _notice = SlowNotice::after(Duration::from_secs(1), path, Arc::clone(log));

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
            match engine.and_then(|engine| Component::new(&engine, bytes).map(|c| (engine, c))) {
                Ok((engine, component)) => {
                    if let (Instances::One, Some(refusal)) = (instances, &refusal)
                        && alone.len() > 1
                    {
                        log.event(&Event::NoInstancePool {
                            component: path,
                            reason: &reason(refusal),
                        });
                    }
                    let linker = guest::linker(&engine, &component, concurrency)
                        .map_err(|error| Error::about(path, reason(&error)))?;
                    return Ok(LoadedComponent {
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
    Err(Error::about(
        path,
        format_args!("not a component that can be run: {refusal}"),
    ))
}

impl fmt::Debug for LoadedComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedComponent").finish_non_exhaustive()
    }
}

impl LoadedComponent {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What it imports.
    pub fn imports(&self) -> Vec<Import> {
        interfaces::imports(&self.engine, &self.component)
    }

    /// The names of what it exports.
    pub fn exports(&self) -> Vec<String> {
        interfaces::exports(&self.engine, &self.component)
    }

    /// How it can run.
    pub fn roles(&self) -> Vec<Role> {
        interfaces::roles(&self.exports())
    }

    /// Link every import.
    ///
    /// # Errors
    ///
    /// The host does not provide an import: the message says which.
    pub fn link(&self) -> Result<InstancePre<Guest>, String> {
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
    ///
    /// # Errors
    ///
    /// It does not: the message says how much it needs.
    pub fn check_memory(&self, max_memory: usize) -> Result<(), String> {
        /// The unit of WebAssembly's memory sizes.
        const PAGE: u64 = 64 * 1024;
        let required = self.component.resources_required();
        let pages = required.and_then(|required| required.max_initial_memory_size);
        let needed = pages.unwrap_or(0).saturating_mul(PAGE);
        if needed > max_memory as u64 {
            return Err(format!(
                "it needs {} KiB of memory from the start: raise max-memory-size",
                needed / 1024
            ));
        }
        Ok(())
    }

    /// Start the epochs, to interrupt a guest that computes. Returns their count, which you may
    /// drop.
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub fn start_epochs(&self) -> Result<EpochCount> {
        start_epochs(&self.engine).map_err(|error| Error::new(error).passing_if(true))
    }
}

/// Check that `bytes`, the contents of the file `path`, begin like a component.
///
/// # Errors
///
/// They do not: the message says what they are instead.
pub fn check_header(path: &Path, bytes: &[u8]) -> Result<()> {
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
        return Err(Error::about(path, what));
    };
    match rest.get(2..4) {
        None => Err(Error::about(
            path,
            "the file ends in its header: it is truncated",
        )),
        Some(CORE_LAYER) => Err(Error::about(
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
        // One more than requests: an expired instance has no place while it is dropped.
        config.allocation_strategy(limits.pooling(at_once.saturating_add(1)));
    }
    config
}

/// Reports a component that takes long to compile.
struct SlowNotice {
    /// Dropping this cancels the notice.
    _done: mpsc::Sender<()>,
}

impl SlowNotice {
    fn after(patience: Duration, path: &Path, log: Arc<dyn Log>) -> SlowNotice {
        let (done, is_done) = mpsc::channel::<()>();
        let path = path.to_path_buf();
        thread::spawn(move || {
            if is_done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                log.event(&Event::Compiling { component: &path });
            }
        });
        SlowNotice { _done: done }
    }
}
