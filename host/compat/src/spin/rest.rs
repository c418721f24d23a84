//! The rest of Spin's world, which guests import without calling it.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};

/// Define the imports of a Spin guest for which [`is_trapping_interface`] is true, such that
/// calling one traps and says which it was. Spin's SDKs import many interfaces into every guest.
///
/// Does nothing for a component that imports neither `fermyon:spin` nor a package `spin:…`.
///
/// # Errors
///
/// Returns an error if the linker already defines one of the names.
pub fn add_traps_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    component: &Component,
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let component_type = component.component_type();
    let imports = || component_type.imports(&engine);
    if !imports().any(|(name, _)| is_spin_interface(name)) {
        return Ok(());
    }
    for (name, import) in imports() {
        if let ComponentItem::ComponentInstance(instance) = import.ty
            && is_trapping_interface(name)
        {
            let mut defined = linker.instance(name)?;
            for (item, export) in instance.exports(&engine) {
                define(&mut defined, name, item, &export.ty)?;
            }
        }
    }
    Ok(())
}

/// Whether this is a name of an interface of Spin itself.
pub fn is_spin_interface(name: &str) -> bool {
    name.starts_with("fermyon:spin/") || name.starts_with("spin:")
}

/// Whether [`add_traps_to_linker`] defines the interface of this name for a Spin guest: those of
/// Spin itself except SQLite, and those that its worlds contain besides and that have no final
/// version: `wasi:config`, `wasi:otel` and the release candidates of WASI 0.3. Spin's
/// `wasi:keyvalue` is [`keyvalue`](crate::keyvalue)'s.
pub fn is_trapping_interface(name: &str) -> bool {
    let is_provided =
        name.starts_with("fermyon:spin/sqlite@2.") || name.starts_with("spin:sqlite/sqlite@3.");
    let (package, version) = (
        name.split('/').next().unwrap_or_default(),
        name.rsplit('@').next().unwrap_or_default(),
    );
    !is_provided
        && (is_spin_interface(name)
            || matches!(package, "wasi:config" | "wasi:otel")
            || package.starts_with("wasi:") && version.starts_with("0.3.0-rc"))
}

fn define<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, T>,
    interface: &str,
    item: &str,
    item_type: &ComponentItem,
) -> wasmtime::Result<()> {
    let message =
        format!("the guest called `{item}` of {interface}, which this host does not have");
    match item_type {
        // Only an engine with support for them compiles a component with such functions.
        ComponentItem::ComponentFunc(function) if function.async_() => instance
            .func_new_concurrent(item, move |_, _, _, _| {
                let message = message.clone();
                Box::pin(async move { Err(wasmtime::Error::msg(message)) })
            }),
        ComponentItem::ComponentFunc(_) => instance.func_new(item, move |_, _, _, _| {
            Err(wasmtime::Error::msg(message.clone()))
        }),
        // No function returns one.
        ComponentItem::Resource(_) => {
            instance.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_of_spins_worlds_trap() {
        for name in [
            "fermyon:spin/llm@2.0.0",
            "fermyon:spin/sqlite",
            "spin:sqlite/sqlite@4.0.0",
            "spin:variables/variables@3.0.0",
            "wasi:config/store@0.2.0-draft-2024-09-27",
            "wasi:cli/exit@0.3.0-rc-2026-03-15",
        ] {
            assert!(is_trapping_interface(name), "{name}");
        }
        for name in [
            "fermyon:spin/sqlite@2.0.0",
            "spin:sqlite/sqlite@3.0.0",
            "spin:sqlite/sqlite@3.1.0",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/store@0.2.0-draft2",
            "wasi:cli/exit@0.3.0",
            "wasi:nn/graph@0.2.0",
            "acme:spin/sqlite@2.0.0",
        ] {
            assert!(!is_trapping_interface(name), "{name}");
        }
    }
}
