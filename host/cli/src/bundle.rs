//! `millpond bundle`: composes a guest with the provider, SQLite as a component, so that it runs
//! without Millpond.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use millpond_server::check_header;
use millpond_server::printable::one_line;
use wasm_compose::graph::{Component, CompositionGraph, EncodeOptions, ExportIndex, ImportIndex};
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::{Validator, WasmFeatures};

use crate::failure::Failure;
use crate::output::say;

/// The provider's name next to the command.
const PROVIDER: &str = "millpond-provider.wasm";
/// The contract's package.
const CONTRACT: &str = "millpond:sqlite/";

/// Make a component that needs no Millpond: a guest together with SQLite
///
/// Besides the guest's other imports, the result needs only WASI 0.2: it runs under `wasmtime run`
/// and `wasmtime serve`. It is for tests, demonstrations and single users: nothing is pooled, one
/// instance at a time uses the database, and no limit protects the host.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond bundle guest.wasm -o app.wasm
  wasmtime run --dir . app.wasm
  millpond bundle notes.wasm -o app.wasm
  wasmtime serve -S cli --dir . app.wasm

The database `default` is the file `default.db` in the first folder of `--dir`; MILLPOND_DB_default=PATH
in the guest's environment (`--env`) names another file. For a database NAME, the same holds for NAME.db,
which must exist.

The provider, SQLite as a component, is not a part of this command. `guest/provider/build FILE` in
Millpond's repository builds it, with clang; the README next to it says what else differs.

Exit status: 0 done; 2 a mistake in the command line or a file.")]
pub(crate) struct Bundle {
    /// The guest's component.
    component: PathBuf,

    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// The provider. [default: millpond-provider.wasm next to this command]
    #[arg(long, value_name = "FILE", env = "MILLPOND_PROVIDER")]
    provider: Option<PathBuf>,
}

impl Bundle {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let guest = read(&self.component)?;
        let provider_path = self.provider.unwrap_or_else(beside_the_command);
        if !provider_path.exists() {
            return Err(Failure::about(
                &provider_path,
                "the provider is missing: build it with `guest/provider/build FILE` in Millpond's \
                 repository, with this path as FILE, or name another with --provider or \
                 MILLPOND_PROVIDER",
            ));
        }
        let provider = read(&provider_path)?;

        let composed = compose(guest, provider).map_err(|error| {
            let why = one_line(&format!("{error:#}"));
            Failure::about(&self.component, format_args!("cannot be bundled: {why}"))
        })?;
        fs::write(&self.output, &composed)
            .map_err(|error| Failure::about(&self.output, format_args!("cannot write: {error}")))?;
        say(format_args!(
            "Wrote {} ({:.1} MB)",
            self.output.display(),
            composed.len() as f64 / 1e6
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// Accepts every WebAssembly feature: the runtime that loads the result validates it again.
fn all_features() -> Validator {
    Validator::new_with_features(WasmFeatures::all())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        Failure::about(path, format_args!("cannot read the component: {error}"))
    })?;
    check_header(path, &bytes)?;
    Ok(bytes)
}

fn beside_the_command() -> PathBuf {
    std::env::current_exe()
        .unwrap_or_default()
        .with_file_name(PROVIDER)
}

/// A component that exports what the guest exports, and imports what both import, except the
/// contract.
fn compose(guest: Vec<u8>, provider: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut validator = all_features();
    let guest = Component::from_bytes(&mut validator, "guest", guest)?;
    let provider = Component::from_bytes(&mut validator, "provider", provider)?;
    refuse_modules(&guest)?;
    let connections = connections(&guest, &provider)?;

    let mut graph = CompositionGraph::new();
    let guest = graph.add_component(guest)?;
    let provider = graph.add_component(provider)?;
    let guest = graph.instantiate(guest)?;
    let provider = graph.instantiate(provider)?;
    for (import, export) in connections {
        graph.connect(provider, Some(export), guest, import)?;
    }
    let composed = graph.encode(EncodeOptions {
        define_components: true,
        export: Some(guest),
        // Below, with all features.
        validate: false,
    })?;
    all_features().validate_all(&composed)?;
    Ok(composed)
}

/// Refuse a guest that imports or exports a core module or a component, also within an instance:
/// the library panics on the types of some.
fn refuse_modules(guest: &Component<'_>) -> anyhow::Result<()> {
    let types = guest.types();
    let imports = guest.imports().map(|(_, name, _)| name);
    let imports = imports.map(|name| (name, types.component_item_for_import(name)));
    let exports = guest.exports().map(|(_, name, ..)| name);
    let exports = exports.map(|name| (name, types.component_item_for_export(name)));
    let mut known = HashSet::new();
    for (name, item) in imports.chain(exports) {
        let mut left: Vec<_> = item.map(|item| item.ty).into_iter().collect();
        while let Some(ty) = left.pop() {
            match ty {
                ComponentEntityType::Module(_)
                | ComponentEntityType::Component(_)
                | ComponentEntityType::Type {
                    referenced: ComponentAnyTypeId::Component(_),
                    ..
                } => {
                    bail!("{name} is or has a core module or a component, which cannot be composed")
                }
                ComponentEntityType::Instance(instance)
                | ComponentEntityType::Type {
                    referenced: ComponentAnyTypeId::Instance(instance),
                    ..
                } if known.insert(instance) => {
                    left.extend(types[instance].exports.values().map(|item| item.ty));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Each import of the guest that is the contract's, and the provider's export for it.
fn connections(
    guest: &Component<'_>,
    provider: &Component<'_>,
) -> anyhow::Result<Vec<(ImportIndex, ExportIndex)>> {
    let mut connections = Vec::new();
    for (import, name, _) in guest.imports() {
        if !name.starts_with(CONTRACT) {
            continue;
        }
        match provider.export_by_name(name) {
            Some((export, ..)) => connections.push((import, export)),
            None => bail!("it imports {name}, which the provider does not have"),
        }
    }
    if connections.is_empty() {
        bail!("it does not import millpond:sqlite, so it runs without Millpond as it is");
    }
    Ok(connections)
}
