//! A host of plugins: each call runs a plugin in a new instance, with the tenant's own database.

mod host;

use std::time::Duration;

use host::PluginHost;

#[tokio::main]
async fn main() -> wasmtime::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, plugin, folder] = args.as_slice() else {
        wasmtime::bail!("give the plugin's file, and a folder for the databases");
    };
    let host = PluginHost::new(plugin.as_ref(), folder.as_ref())?;
    for tenant in ["ada", "grace", "ada"] {
        host.run(tenant, Duration::from_secs(5)).await?;
    }
    host.close().await;
    Ok(())
}
