//! Does nothing. Without a build script, cargo ignores the build-dependencies in the manifest.

fn main() {}
