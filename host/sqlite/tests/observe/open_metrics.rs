//! Parses the text format of OpenMetrics strictly
//! (<https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>).

use std::collections::{BTreeMap, BTreeSet};

/// The value of each series: `name{label="value",…}`, the labels in order.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    values: BTreeMap<String, f64>,
    families: BTreeSet<String>,
    /// The current family, its type, and what of it has been seen.
    family: String,
    kind: String,
    metadata: Vec<&'static str>,
    /// Of the current family, by labels: the bound and the count of the last bucket, and the count.
    buckets: BTreeMap<String, (f64, f64)>,
    counts: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Scrape {
        let body = text.strip_suffix("# EOF\n").expect("the end");
        let mut scrape = Scrape::default();
        for line in body.split_terminator('\n') {
            match line.strip_prefix("# ") {
                Some(metadata) => scrape.metadata(metadata),
                None => scrape.sample(line),
            }
        }
        scrape.end_histogram();
        scrape
    }

    pub(crate) fn get(&self, series: &str) -> f64 {
        let value = self.values.get(series);
        *value.unwrap_or_else(|| panic!("no {series}: {:#?}", self.values.keys()))
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn metadata(&mut self, line: &str) {
        let (what, rest) = line.split_once(' ').expect("a name");
        let (name, text) = rest.split_once(' ').expect("a text");
        check_name(name);
        if name != self.family {
            self.end_histogram();
            assert!(self.families.insert(name.to_owned()), "{name} comes twice");
            name.clone_into(&mut self.family);
            self.kind.clear();
            self.metadata.clear();
        }
        let what = ["HELP", "TYPE", "UNIT"]
            .into_iter()
            .find(|known| *known == what);
        let what = what.expect("a known word");
        assert!(!self.metadata.contains(&what), "two of {what} for {name}");
        self.metadata.push(what);
        match what {
            "TYPE" => text.clone_into(&mut self.kind),
            "UNIT" => assert!(name.ends_with(&format!("_{text}")), "{name} in {text}"),
            _ => assert!(!text.is_empty()),
        }
    }

    fn sample(&mut self, line: &str) {
        let name_end = line.find(['{', ' ']).expect("a value");
        let (name, rest) = line.split_at(name_end);
        check_name(name);
        let suffix = name.strip_prefix(&self.family).expect("of the family");
        let (mut labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (Vec::new(), rest),
        };
        let value = value.strip_prefix(' ').expect("a space");
        let value: f64 = value.parse().expect("a number, without a timestamp");
        let le = labels.iter().position(|(name, _)| name == "le");
        let le = le.map(|index| labels.remove(index).1);
        match (&*self.kind, suffix) {
            ("counter", "_total") => assert!(value >= 0.0),
            ("gauge", "") => {}
            ("histogram", "_bucket") => self.check_bucket(&labels, le.as_deref(), value),
            ("histogram", "_count") => {
                self.counts.insert(key("", &labels), value);
            }
            ("histogram", "_sum") => assert!(value >= 0.0),
            other => panic!("{other:?} for {line}"),
        }
        labels.extend(le.map(|le| ("le".to_owned(), le)));
        let series = key(name, &labels);
        assert!(self.values.insert(series, value).is_none(), "twice: {line}");
    }

    fn check_bucket(&mut self, labels: &[(String, String)], le: Option<&str>, count: f64) {
        let le = le.expect("a bound").parse().expect("a number, or +Inf");
        let of = key("", labels);
        if let Some((bound, fewer)) = self.buckets.get(&of) {
            assert!(*bound < le && *fewer <= count, "{of} at {le}");
        }
        self.buckets.insert(of, (le, count));
    }

    fn end_histogram(&mut self) {
        let counts = std::mem::take(&mut self.counts).into_iter();
        let counts: BTreeMap<_, _> = counts
            .map(|(of, count)| (of, (f64::INFINITY, count)))
            .collect();
        assert_eq!(std::mem::take(&mut self.buckets), counts);
    }
}

fn key(name: &str, labels: &[(String, String)]) -> String {
    let mut labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    labels.sort();
    labels.dedup_by_key(|label| label.split('=').next().map(str::to_owned));
    format!("{name}{{{}}}", labels.join(","))
}

/// Read labels up to the brace, and return what follows it.
fn labels(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut labels: Vec<(String, String)> = Vec::new();
    loop {
        let (name, text) = rest.split_once("=\"").expect("a label");
        check_name(name);
        assert!(
            labels.iter().all(|(other, _)| other != name),
            "{name} twice"
        );
        let mut value = String::new();
        let mut chars = text.char_indices();
        let end = loop {
            match chars.next().expect("the end of the value") {
                (index, '"') => break index,
                (_, '\\') => value.push(match chars.next().expect("an escape") {
                    (_, 'n') => '\n',
                    (_, escaped @ ('"' | '\\')) => escaped,
                    (_, other) => panic!("\\{other}"),
                }),
                (_, char) => value.push(char),
            }
        };
        labels.push((name.to_owned(), value));
        let after = &text[end + 1..];
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, after.strip_prefix('}').expect("the brace")),
        }
    }
}

fn check_name(name: &str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    assert!(begins && name.chars().all(is_plain), "{name}");
}
