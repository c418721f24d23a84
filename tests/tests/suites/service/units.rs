//! The units for systemd, checked by systemd's own tools. `tests/systemd/run` runs them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{has, text};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/cli/systemd");
/// The name of the command in the units.
const INSTALLED: &str = "/usr/bin/millpond";
/// The exposure of the service by systemd's measure, from 0 to 100: higher is worse.
const EXPOSURE: u32 = 14;

/// The units, with the command under test.
fn units(folder: &Path) -> Vec<String> {
    let names = ["millpond.service", "millpond.socket"];
    let units = names.map(|name| {
        let unit = fs::read_to_string(Path::new(UNITS).join(name)).expect("a unit");
        let unit = unit.replace(INSTALLED, env!("CARGO_BIN_EXE_millpond-under-test"));
        let path = folder.join(name);
        fs::write(&path, unit).expect("a file");
        path.to_str().expect("a path").to_owned()
    });
    units.into()
}

#[test]
fn systemd_accepts_the_units_and_finds_them_confined() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let units = units(folder.path());
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .args(&units)
        .output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    // Its measure changes with its version: only a worse one is a failure.
    let output = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .arg(format!("--threshold={EXPOSURE}"))
        .arg(&units[0])
        .output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stdout));
}
