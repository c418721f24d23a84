//! A slow statement, for the log.

use std::fmt;
use std::time::Duration;

/// A statement that ran for longer than it should. It has no parameters and no values, but the text
/// is the guest's, and may have values in it as literals.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SlowStatement<'a> {
    /// The request's number.
    pub request: Option<u64>,
    /// The component.
    pub component: &'a str,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// Whose database it is, if each tenant has one.
    pub tenant: Option<&'a str>,
    /// The start of the SQL text, up to 2,000 characters of it, as one line.
    pub sql: &'a str,
    /// Whether that is the whole text.
    pub is_whole: bool,
    /// How long the call took, with everything that it waited for.
    pub time: Duration,
    /// How much of that it waited for its turn to write.
    pub turn_wait: Duration,
    /// How many rows it returned.
    pub rows: u64,
    /// The size of these rows, in bytes.
    pub bytes: u64,
    /// How many rows it changed.
    pub changes: u64,
    /// How it ended: `ok`, `cancelled`, or the kind of error, such as `deadline-exceeded`.
    pub result: &'a str,
    /// The lines of its query plan (<https://sqlite.org/eqp.html>), indented by two spaces for each
    /// level: up to 20 lines. None if the text is a script, has no plan, or was cut short, if every
    /// connection was in use, or if there were too many slow statements.
    pub plan: &'a [String],
    /// How many slow statements there were before this one that are not in the log, because there
    /// were too many.
    pub unlogged: u64,
}

impl fmt::Display for SlowStatement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.request.map(|request| request.to_string());
        let number = number.as_deref().unwrap_or("-");
        let SlowStatement {
            component,
            database,
            sql,
            rows,
            result,
            ..
        } = self;
        let ms = self.time.as_secs_f64() * 1e3;
        if self.unlogged > 0 {
            let unlogged = self.unlogged;
            writeln!(
                f,
                "({unlogged} slow statements before the next are not logged)"
            )?;
        }
        write!(f, "[{number}] slow: {component} {database}")?;
        if let Some(tenant) = self.tenant {
            write!(f, " ({tenant})")?;
        }
        write!(f, " {ms:.1} ms")?;
        if !self.turn_wait.is_zero() {
            write!(
                f,
                " ({:.1} ms for its turn)",
                self.turn_wait.as_secs_f64() * 1e3
            )?;
        }
        let cut = if self.is_whole { "" } else { "…" };
        write!(f, " {rows} rows {result}: {sql}{cut}")?;
        for line in self.plan {
            write!(f, "\n[{number}]   {line}")?;
        }
        Ok(())
    }
}
