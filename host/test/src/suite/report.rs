//! Writes results for other programs: TAP 14 and JUnit.

use std::fmt::Write;

use super::{Report, TestResult};

impl Report {
    /// The process's exit code: 0 if every test passed, 1 if one failed, and 2 if one could not
    /// run.
    pub fn exit_code(&self) -> u8 {
        let of = |result: &TestResult| match (result.problems.is_empty(), result.is_mistaken) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        self.results.iter().map(of).max().unwrap_or(0)
    }

    /// All results as JUnit XML, with times.
    pub fn junit(&self) -> String {
        let failures = self.results.iter();
        let failures = failures
            .filter(|result| !result.problems.is_empty())
            .count();
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let total = self.results.len();
        _ = writeln!(
            xml,
            "<testsuites tests=\"{total}\" failures=\"{failures}\">"
        );
        let mut results = &self.results[..];
        while let Some(first) = results.first() {
            let of_file = results
                .iter()
                .take_while(|result| result.file == first.file);
            let (file, rest) = results.split_at(of_file.count());
            results = rest;
            let failed = file.iter().filter(|result| !result.problems.is_empty());
            _ = writeln!(
                xml,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">",
                escaped(&first.file),
                file.len(),
                failed.count()
            );
            file.iter().for_each(|result| case(&mut xml, result));
            xml.push_str("  </testsuite>\n");
        }
        xml.push_str("</testsuites>\n");
        xml
    }
}

fn case(xml: &mut String, result: &TestResult) {
    _ = write!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escaped(&result.file),
        escaped(&result.name),
        result.time.as_secs_f64()
    );
    let Some(first) = result.problems.first() else {
        xml.push_str("/>\n");
        return;
    };
    let first = first.lines().next().unwrap_or_default();
    let all = result.problems.join("\n");
    _ = writeln!(
        xml,
        ">\n      <failure message=\"{}\">{}</failure>",
        escaped(first),
        escaped(&all)
    );
    xml.push_str("    </testcase>\n");
}

/// Text for XML, which does not allow all characters.
fn escaped(text: &str) -> String {
    let mut xml = String::new();
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' | '\t' => xml.push(c),
            '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            c if c.is_control() => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
    xml
}

impl TestResult {
    /// The result as test number `number` of TAP 14 (<https://testanything.org>). Problems follow
    /// as a YAML block.
    pub fn tap(&self, number: usize) -> String {
        let what = format!("{}: {}", self.file, self.name);
        let what = what.replace('\\', "\\\\").replace('#', "\\#");
        let what = printable(&what.replace('\n', " "));
        if self.problems.is_empty() {
            return format!("ok {number} - {what}\n");
        }
        let at = printable(&format!("{}:{}", self.file, self.line)).replace('\'', "''");
        let mut tap = format!("not ok {number} - {what}\n  ---\n  at: '{at}'\n");
        tap.push_str("  message: |\n");
        for line in self.problems.iter().flat_map(|problem| problem.lines()) {
            let line = printable(line);
            _ = writeln!(tap, "    {line}");
        }
        tap.push_str("  ...\n");
        tap
    }
}

/// The text without control characters, but for tabs.
fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control() && c != '\t' {
        true => '\u{fffd}',
        false => c,
    };
    text.chars().map(shown).collect()
}
