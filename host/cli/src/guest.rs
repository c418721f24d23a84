//! The options for a guest.

use std::path::Path;

use clap::Args;
use clap::builder::RangedI64ValueParser;
use millpond_server::config::{Component, Size};

use crate::arguments;

/// The options for every guest.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Guest")]
pub(crate) struct GuestOptions {
    /// Set an environment variable of the guest; without VAL, to the command's own value
    ///
    /// The guest gets no other variables.
    #[arg(long, value_name = "NAME[=VAL]", value_parser = arguments::variable)]
    env: Vec<(String, Option<String>)>,

    /// Maximum size of each linear memory of an instance, in bytes or with a unit (powers of 1024):
    /// 64KiB to 4GiB.
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = max_memory)]
    max_memory_size: usize,

    /// Show source lines in the backtrace of a guest that fails, if the component has DWARF
    ///
    /// Reading it takes the host tens to hundreds of milliseconds, each time that a guest traps or
    /// exits. Do not use it for components that you do not trust.
    #[arg(long)]
    source_lines: bool,

    #[command(flatten)]
    wasm: WasmLimits,
}

/// The limits of an instance, besides its memory.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Guest")]
struct WasmLimits {
    /// Maximum number of linear memories of an instance: 1 to 16.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = up_to(16),
        hide_short_help = true
    )]
    max_memories: u32,

    /// Maximum number of tables of an instance: 1 to 64.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = up_to(64),
        hide_short_help = true
    )]
    max_tables: u32,

    /// Maximum number of entries of each table: 1 to 1000000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20_000,
        value_parser = up_to(1_000_000),
        hide_short_help = true
    )]
    max_table_entries: u32,

    /// Maximum number of core modules in an instance: 1 to 256.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32,
        value_parser = up_to(256),
        hide_short_help = true
    )]
    max_instances: u32,

    /// Maximum number of open handles of all kinds together: 1 to 1000000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4096,
        value_parser = up_to(1_000_000),
        hide_short_help = true
    )]
    max_handles: u32,

    /// Stack for the guest's own frames, in bytes or with a unit: 64KiB to 16MiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "512KiB",
        value_parser = max_stack,
        hide_short_help = true
    )]
    max_stack_size: usize,

    /// Maximum size of one call's arguments, such as a statement's parameters or the rows of
    /// `execute-many`, in bytes or with a unit: 64KiB to 1GiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "32MiB",
        value_parser = max_call,
        hide_short_help = true
    )]
    max_call_size: usize,

    /// Maximum number of random bytes that one call returns, in bytes or with a unit: 64 to 1MiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "64KiB",
        value_parser = max_random,
        hide_short_help = true
    )]
    max_random_size: usize,
}

fn up_to(most: i64) -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=most)
}

fn max_stack(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64 << 10..=16 << 20, "64KiB", "16MiB")
}

fn max_call(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64 << 10..=1 << 30, "64KiB", "1GiB")
}

fn max_random(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64..=1 << 20, "64", "1MiB")
}

fn max_memory(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64 << 10..=4 << 30, "64KiB", "4GiB")
}

impl GuestOptions {
    /// The component in this file, with these options, and no database yet.
    pub(crate) fn component(&self, file: &Path) -> Component {
        let wasm = &self.wasm;
        let size = |bytes: usize| Size(bytes as u64);
        let mut component = Component::default();
        component.file = file.to_owned();
        // If a variable is set twice, the last one counts, as in a shell.
        for (name, value) in &self.env {
            component.env.remove(name);
            component.inherit_env.retain(|inherited| inherited != name);
            match value {
                Some(value) => {
                    let value = value.as_str().into();
                    component.env.insert(name.clone(), value);
                }
                None => component.inherit_env.push(name.clone()),
            }
        }
        component.max_memory_size = size(self.max_memory_size);
        component.max_memories = wasm.max_memories;
        component.max_tables = wasm.max_tables;
        component.max_table_entries = wasm.max_table_entries;
        component.max_instances = wasm.max_instances;
        component.max_handles = wasm.max_handles;
        component.max_stack_size = size(wasm.max_stack_size);
        component.max_call_size = size(wasm.max_call_size);
        component.max_random_size = size(wasm.max_random_size);
        component.source_lines = self.source_lines;
        component
    }
}
