//! The form of test files: what `toml` reads, before it is checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileForm {
    pub(super) now: Option<Spanned<Datetime>>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) databases: BTreeMap<String, DatabaseForm>,
    #[serde(default)]
    pub(super) test: Vec<TestForm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseForm {
    pub(super) migrations: Option<PathBuf>,
    #[serde(default)]
    pub(super) seeds: Vec<PathBuf>,
    #[serde(default)]
    pub(super) read_only: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestForm {
    pub(super) name: Spanned<String>,
    pub(super) now: Option<Spanned<Datetime>>,
    pub(super) seed_sql: Option<String>,
    #[serde(default)]
    pub(super) step: Vec<StepForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepForm {
    pub(super) request: Option<Spanned<String>>,
    pub(super) headers: Option<Spanned<BTreeMap<String, String>>>,
    pub(super) body: Option<Spanned<String>>,
    pub(super) body_file: Option<Spanned<PathBuf>>,
    pub(super) run: Option<Spanned<Vec<String>>>,
    pub(super) stdin: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) fault: Vec<Spanned<FaultForm>>,
    pub(super) expect: Option<Expect>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultForm {
    pub(super) error: Option<Spanned<String>>,
    pub(super) delay_ms: Option<u64>,
    #[serde(default)]
    pub(super) client_leaves: bool,
    pub(super) call: Option<u32>,
    pub(super) sql: Option<String>,
    pub(super) pattern: Option<Spanned<String>>,
    pub(super) times: Option<u32>,
}

/// What a step must answer. The spans are for `--update`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) status: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<String>>,
    pub(super) body: Option<Spanned<String>>,
    pub(super) body_file: Option<PathBuf>,
    pub(super) json: Option<Spanned<String>>,
    pub(super) contains: Option<String>,
    pub(super) matches: Option<Spanned<String>>,
    pub(super) exit_code: Option<Spanned<i32>>,
    pub(super) stdout: Option<Spanned<String>>,
    pub(super) stderr: Option<Spanned<String>>,
    pub(super) max_statements: Option<usize>,
    #[serde(default)]
    pub(super) no_full_scan: bool,
    #[serde(default)]
    pub(super) may_scan: Vec<String>,
    #[serde(default)]
    pub(super) leaves_nothing: bool,
    #[serde(default)]
    pub(super) returns_connections: bool,
    pub(super) journal: Option<PathBuf>,
}
