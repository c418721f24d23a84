//! Runs one step of a test, and checks what it answers.

use std::fs;

use regex_lite::Regex;
use serde_json::Value;
use toml::Spanned;

use super::file::{Does, Step};
use super::form::Expect;
use super::update::{Edit, quoted};
use crate::app::App;
use crate::compare;
use crate::record::{Answer, Exit, Record};

/// The problems of a step, and what to write into the files.
struct Findings<'a> {
    problems: Vec<String>,
    /// `None` if nothing is written.
    edits: Option<&'a mut Vec<Edit>>,
}

impl Findings<'_> {
    fn add(&mut self, problem: Option<String>) {
        self.problems.extend(problem);
    }

    /// Add a problem that goes away if `value` is written instead of what is expected.
    fn update<T>(&mut self, expected: &Spanned<T>, value: String, problem: String) {
        match &mut self.edits {
            Some(edits) => edits.push(Edit::replace(expected.span(), value)),
            None => self.problems.push(problem),
        }
    }

    /// Compare with a file, or write it.
    fn file(&mut self, path: &std::path::Path, actual: &str, what: &str) {
        let expected = fs::read_to_string(path);
        let problem = match &expected {
            Ok(expected) => compare::lines(expected, actual),
            Err(error) => Some(format!(
                "{}: {error}: write it with --update",
                path.display()
            )),
        };
        match (problem, &mut self.edits) {
            (None, _) => {}
            (Some(_), Some(edits)) => edits.push(Edit::file(path, actual)),
            (Some(problem), None) => self.problems.push(format!("{what} differs:\n{problem}")),
        }
    }
}

impl Step {
    /// Run the step. Returns what is wrong. With `update`, what can be written into the files is
    /// not wrong, but an edit.
    pub(super) async fn run(&self, app: &App, update: bool, edits: &mut Vec<Edit>) -> Vec<String> {
        let mut findings = Findings {
            problems: Vec::new(),
            edits: update.then_some(edits),
        };
        let record = match &self.does {
            Does::Request { request } => {
                let faults = self.faults.iter().cloned();
                let call = faults.fold(app.call(request.clone()), |call, fault| call.fault(fault));
                let answer = call.await;
                match &self.expect {
                    Some(expect) => self.check_answer(expect, &answer, &mut findings),
                    None => self.write_answer(&answer, &mut findings),
                }
                answer.record
            }
            Does::Run { args, stdin } => {
                let run = app.run(args.clone()).stdin(stdin.clone());
                let exit = self
                    .faults
                    .iter()
                    .cloned()
                    .fold(run, |run, fault| run.fault(fault))
                    .await;
                match &self.expect {
                    Some(expect) => check_exit(expect, &exit, &mut findings),
                    None => self.write_exit(&exit, &mut findings),
                }
                exit.record
            }
        };
        if let Some(expect) = &self.expect {
            self.check_record(expect, &record, &mut findings);
        }
        let mut problems = findings.problems;
        for problem in &mut problems {
            *problem = format!("{}: {}", record.name, problem.trim_end());
        }
        if !problems.is_empty() {
            problems.extend(Some(record.context()).filter(|context| !context.is_empty()));
        }
        problems
    }

    fn check_answer(&self, expect: &Expect, answer: &Answer, findings: &mut Findings<'_>) {
        if let Some(expected) = &expect.status
            && *expected.get_ref() != answer.status.as_u16()
        {
            let (status, wanted) = (answer.status.as_u16(), expected.get_ref());
            let mut problem = format!("the status is {status}, not {wanted}");
            if expect.body.is_none() && expect.json.is_none() {
                problem.push_str(&format!("\nbody: {}", shortened(&answer.text())));
            }
            findings.update(expected, status.to_string(), problem);
        }
        for (name, expected) in &expect.headers {
            let actual = answer.header(name);
            if actual != Some(expected.get_ref()) {
                let wanted = expected.get_ref();
                match actual {
                    Some(actual) => {
                        let problem = format!("the header {name} is `{actual}`, not `{wanted}`");
                        findings.update(expected, quoted(actual), problem);
                    }
                    None => findings.add(Some(format!("there is no header {name}: `{wanted}`"))),
                }
            }
        }
        let text = answer.text();
        check_text("the body", expect.body.as_ref(), &text, findings);
        if let Some(expected) = &expect.json {
            check_json(expected, &text, findings);
        }
        if let Some(file) = &expect.body_file {
            findings.file(&self.folder.join(file), &text, "the body");
        }
        check_parts(expect, "the body", &text, findings);
    }

    /// Write what a step without `expect` was answered.
    fn write_answer(&self, answer: &Answer, findings: &mut Findings<'_>) {
        let Some(edits) = &mut findings.edits else {
            let problem = "the step has no `expect`: write it, or have it written with --update";
            return findings.add(Some(problem.to_owned()));
        };
        let mut lines = format!("expect.status = {}\n", answer.status.as_u16());
        let is_json = answer
            .header("content-type")
            .is_some_and(|kind| kind.contains("json"));
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(json) if is_json => {
                lines.push_str(&format!("expect.json = {}\n", quoted(&format!("{json:#}"))));
            }
            _ => lines.push_str(&format!("expect.body = {}\n", quoted(&answer.text()))),
        }
        edits.push(Edit::insert(self.end, lines));
    }

    fn write_exit(&self, exit: &Exit, findings: &mut Findings<'_>) {
        let Some(edits) = &mut findings.edits else {
            let problem = "the step has no `expect`: write it, or have it written with --update";
            return findings.add(Some(problem.to_owned()));
        };
        let stdout = quoted(&exit.record.stdout);
        let lines = format!(
            "expect.exit_code = {}\nexpect.stdout = {stdout}\n",
            exit.code
        );
        edits.push(Edit::insert(self.end, lines));
    }

    /// Check statements, scans, leaks and the journal.
    fn check_record(&self, expect: &Expect, record: &Record, findings: &mut Findings<'_>) {
        if expect.leaves_nothing {
            findings.add(record.leaves_something());
        }
        if expect.returns_connections {
            findings.add(record.keeps_connections());
        }
        if let Some(most) = expect.max_statements {
            findings.add(record.exceeds_statements(most));
        }
        if expect.no_full_scan {
            match record.scans(&expect.may_scan) {
                Ok(problem) => findings.add(problem),
                Err(mistake) => findings.add(Some(mistake.to_string())),
            }
        }
        if let Some(file) = &expect.journal {
            let journal = record.journal.to_string();
            findings.file(&self.folder.join(file), &journal, "the journal");
        }
    }
}

fn check_exit(expect: &Expect, exit: &Exit, findings: &mut Findings<'_>) {
    if let Some(expected) = &expect.exit_code
        && *expected.get_ref() != exit.code
    {
        let problem = format!("the exit code is {}, not {}", exit.code, expected.get_ref());
        findings.update(expected, exit.code.to_string(), problem);
    }
    let Record { stdout, stderr, .. } = &exit.record;
    check_text("stdout", expect.stdout.as_ref(), stdout, findings);
    check_text("stderr", expect.stderr.as_ref(), stderr, findings);
    check_parts(expect, "stdout", stdout, findings);
}

fn check_text(
    what: &str,
    expected: Option<&Spanned<String>>,
    actual: &str,
    findings: &mut Findings<'_>,
) {
    if let Some(expected) = expected
        && let Some(difference) = compare::lines(expected.get_ref(), actual)
    {
        let problem = format!("{what} differs:\n{difference}");
        findings.update(expected, quoted(actual), problem);
    }
}

fn check_json(expected: &Spanned<String>, text: &str, findings: &mut Findings<'_>) {
    let actual: Value = match serde_json::from_str(text) {
        Ok(actual) => actual,
        Err(error) => {
            let text = shortened(text);
            return findings.add(Some(format!("the body is not JSON: {error}\nbody: {text}")));
        }
    };
    // Checked when the file was read.
    let wanted = serde_json::from_str(expected.get_ref()).unwrap_or_default();
    if let Some(difference) = compare::json(&wanted, &actual) {
        let updated = compare::updated(&wanted, &actual);
        let problem = format!("the body differs:\n{difference}");
        findings.update(expected, quoted(&format!("{updated:#}")), problem);
    }
}

/// What `--update` does not write, because only part of the text matters.
fn check_parts(expect: &Expect, what: &str, text: &str, findings: &mut Findings<'_>) {
    if let Some(part) = &expect.contains
        && !text.contains(part)
    {
        let text = shortened(text);
        findings.add(Some(format!("{what} does not contain {part:?}:\n{text}")));
    }
    if let Some(pattern) = &expect.matches
        && !Regex::new(pattern.get_ref()).is_ok_and(|pattern| pattern.is_match(text))
    {
        let (pattern, text) = (pattern.get_ref(), shortened(text));
        findings.add(Some(format!("{what} does not match {pattern:?}:\n{text}")));
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 1000;
    let mut short: String = text.trim_end().chars().take(MOST).collect();
    if text.trim_end().chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}
