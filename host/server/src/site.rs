//! What a configuration means for requests: its components, routes and databases.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::Request;
use millpond_wasmtime::InstanceLimits;
use ring::digest::{SHA256, digest};
use tokio::sync::oneshot;
use wasmtime::{Engine, WasmBacktraceDetails};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::component::{self, Instances, LoadedComponent};
use crate::config::{self, Config, Name};
use crate::databases::{Databases, Grants};
use crate::error::{Error, Result};
use crate::failure::reason;
use crate::guest::{Guest, GuestSettings};
use crate::interfaces::Role;
use crate::log::Log;
use crate::route::{Router, to_all};
use crate::tenant::{TenantResolver, TenantSource};

/// The components of a configuration, compiled, and checked as far as that is possible without
/// opening a database.
pub(crate) struct Compiled {
    components: BTreeMap<Name, CompiledComponent>,
}

pub(crate) struct CompiledComponent {
    program: Arc<Program>,
    guest: GuestSettings,
}

/// The compiled components of a configuration, by their names.
pub(crate) type Programs = BTreeMap<Name, Arc<Program>>;

/// A compiled component, with its engine and the pool of its instances. Another configuration keeps
/// it if it is made of the same: each maps much memory, of which a process may map only so much.
pub(crate) struct Program {
    pub(crate) engine: Engine,
    pub(crate) pre: ProxyPre<Guest>,
    made_of: MadeOf,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("made_of", &self.made_of)
            .finish_non_exhaustive()
    }
}

/// All that a compiled component depends on.
#[derive(Debug, PartialEq)]
struct MadeOf {
    /// The SHA-256 of the file.
    digest: Vec<u8>,
    limits: InstanceLimits,
    source_lines: bool,
    instances: Instances,
}

impl Compiled {
    /// Compile the components of `config`, for a server that runs up to `max_requests`, unless
    /// `current` has them. Blocks meanwhile.
    pub(crate) fn new(
        config: &Config,
        max_requests: u32,
        current: &Programs,
        log: &Arc<dyn Log>,
    ) -> Result<Compiled> {
        let mut components = BTreeMap::new();
        for (name, settings) in &config.components {
            let instances = Instances::Pooled(max_requests);
            let current = current.get(name);
            components.insert(name.clone(), compile(settings, instances, current, log)?);
        }
        Ok(Compiled { components })
    }
}

/// Check that where the tenants of each route come from can be used, and read its keys.
pub(crate) fn check_tenants(config: &Config) -> Result<()> {
    config.routes.iter().try_for_each(|route| {
        let source = TenantSource::of_route(route)?;
        source.map(|source| source.open()).transpose().map(drop)
    })
}

/// Compile a component, unless `current` is the same, and check that it can be served.
pub(crate) fn compile(
    settings: &config::Component,
    instances: Instances,
    current: Option<&Arc<Program>>,
    log: &Arc<dyn Log>,
) -> Result<CompiledComponent> {
    let file = &settings.file;
    let guest = GuestSettings::new(settings)?;
    let bytes = component::read(file)?;
    let made_of = MadeOf {
        digest: digest(&SHA256, &bytes).as_ref().to_owned(),
        limits: guest.limits.clone(),
        source_lines: settings.source_lines,
        instances,
    };
    if let Some(same) = current.filter(|current| current.made_of == made_of) {
        let program = Arc::clone(same);
        return Ok(CompiledComponent { program, guest });
    }
    let lines = match settings.source_lines {
        true => WasmBacktraceDetails::Enable,
        false => WasmBacktraceDetails::Disable,
    };
    let loaded = component::load_bytes(file, &bytes, instances, &guest.limits, lines, log)?;
    let role = http_role(&loaded).map_err(|what| Error::about(file, what))?;
    let pre = loaded
        .check_memory(guest.limits.memory_size())
        .and_then(|()| loaded.link())
        .map_err(|reason| Error::about(file, reason))?;
    let pre = match role {
        Role::Http03 => p3::bindings::ServicePre::new(pre).map(ProxyPre::P3),
        _ => p2::bindings::ProxyPre::new(pre).map(ProxyPre::P2),
    };
    let program = Program {
        engine: loaded.engine().clone(),
        pre: pre.map_err(|error| Error::about(file, reason(&error)))?,
        made_of,
    };
    Ok(CompiledComponent {
        program: Arc::new(program),
        guest,
    })
}

/// The role in which a component can be served, or why it cannot.
fn http_role(loaded: &LoadedComponent) -> Result<Role, &'static str> {
    let roles = loaded.roles();
    let is_http = |role: &&Role| matches!(role, Role::Http02 | Role::Http03);
    roles.iter().find(is_http).copied().ok_or({
        match roles.is_empty() {
            true => {
                "not an HTTP handler: it exports neither wasi:http/incoming-handler@0.2 nor \
                 wasi:http/handler@0.3"
            }
            false => "a command, not an HTTP handler: run it with `millpond run`",
        }
    })
}

impl GuestSettings {
    /// Those of a component's configuration.
    ///
    /// # Errors
    ///
    /// One of its inherited variables is not set, or is not UTF-8.
    pub fn new(component: &config::Component) -> Result<GuestSettings> {
        let env = component.env.iter();
        let mut env: BTreeMap<_, _> = env
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect();
        for name in &component.inherit_env {
            let value = env::var(name).map_err(|error| {
                let file = &component.file;
                Error::about(file, format_args!("`inherit-env` has {name}: {error}"))
            })?;
            env.insert(name.clone(), value);
        }
        let name = component.file.file_name().unwrap_or_default();
        let mut args = vec![name.to_string_lossy().into_owned()];
        args.extend(component.args.iter().cloned());
        // Sizes are at most 4 GiB.
        let bytes = |size: config::Size| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        Ok(GuestSettings {
            args,
            env,
            limits: InstanceLimits::new()
                .max_memory_size(bytes(component.max_memory_size))
                .max_memories(component.max_memories)
                .max_tables(component.max_tables)
                .max_table_entries(component.max_table_entries)
                .max_instances(component.max_instances)
                .max_handles(component.max_handles)
                .max_stack_size(bytes(component.max_stack_size))
                .max_call_size(bytes(component.max_call_size)),
            max_random_size: bytes(component.max_random_size),
        })
    }
}

/// What a configuration means for requests. Replaced as a whole by another configuration.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) settings: config::Server,
    pub(crate) databases: Databases,
    pub(crate) programs: Programs,
    router: Router<Target>,
    /// Whether there is more than one component, so that a log must say which.
    pub(crate) has_many: bool,
    /// Dropped with the last request that uses this site.
    _in_use: oneshot::Sender<()>,
}

/// A component, with what it is granted.
pub(crate) struct Component {
    pub(crate) name: Name,
    pub(crate) program: Arc<Program>,
    pub(crate) guest: GuestSettings,
    pub(crate) grants: Grants,
    /// It has been reported that the component asks for a database that is not granted.
    pub(crate) told_of_database: AtomicBool,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a route leads to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) component: Arc<Component>,
    /// Which tenant a request is for, if each tenant has its own database.
    pub(crate) tenant: Option<TenantResolver>,
}

impl Site {
    /// What `config` means, with its components and its open databases. The receiver is closed when
    /// no request uses the site any more.
    pub(crate) fn new(
        config: &Config,
        compiled: Compiled,
        databases: Databases,
    ) -> Result<(Site, oneshot::Receiver<()>)> {
        let (mut components, mut programs) = (BTreeMap::new(), Programs::new());
        for (name, compiled) in compiled.components {
            programs.insert(name.clone(), Arc::clone(&compiled.program));
            let settings = &config.components[&name];
            let grants = Grants::new(name.as_str(), settings, &databases)
                .map_err(|error| Error::new(format_args!("the component `{name}`: {error}")))?;
            let component = Component {
                name: name.clone(),
                program: compiled.program,
                guest: compiled.guest,
                grants,
                told_of_database: AtomicBool::new(false),
            };
            components.insert(name, Arc::new(component));
        }
        let mut routes = config.routes.clone();
        if routes.is_empty() {
            routes.extend(components.keys().map(|only| to_all(only.as_str())));
        }
        let mut targets = Vec::new();
        for route in routes {
            let component = components.get(route.component.as_str()).ok_or_else(|| {
                Error::new(format_args!("there is no component `{}`", route.component))
            })?;
            let source = TenantSource::of_route(&route)?;
            let tenant = source.map(|source| source.open());
            let target = Target {
                component: Arc::clone(component),
                tenant: tenant.transpose()?,
            };
            targets.push((route, target));
        }
        let (in_use, is_in_use) = oneshot::channel();
        let site = Site {
            settings: config.server.clone(),
            databases,
            programs,
            router: Router::new(targets),
            has_many: components.len() > 1,
            _in_use: in_use,
        };
        Ok((site, is_in_use))
    }

    /// Those of its components.
    pub(crate) fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.programs.values().map(|program| &program.engine)
    }

    /// Where a request goes. Its URI has an authority.
    pub(crate) fn route<B>(&self, request: &Request<B>) -> Option<&Target> {
        let uri = request.uri();
        self.router.find(uri.authority(), uri.path())
    }

    /// How many bytes a guest may write to its stdout and stderr for one request.
    pub(crate) fn max_output_size(&self) -> usize {
        // At most 1 GiB.
        usize::try_from(self.settings.max_output_size.bytes()).unwrap_or(usize::MAX)
    }
}
