//! A table on standard output, and as JSON if the command line has `--json FILE`.

use std::path::PathBuf;

use serde_json::{Map, Value};

/// A table whose rows are printed as they are added.
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Value>,
    file: Option<PathBuf>,
}

/// A column after the name: its key in JSON, its title, and the format of its numbers.
pub(crate) struct Column {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) print: fn(f64) -> String,
}

const NAME_WIDTH: usize = 44;
const WIDTH: usize = 11;

impl Table {
    pub(crate) fn new(columns: &'static [Column]) -> Table {
        let mut args = std::env::args().skip_while(|arg| arg != "--json").skip(1);
        let file = args.next().map(PathBuf::from);
        print!("{:NAME_WIDTH$}", "");
        for column in columns {
            print!(" {:>WIDTH$}", column.title);
        }
        println!();
        Table {
            columns,
            rows: Vec::new(),
            file,
        }
    }

    /// Adds a row: a number, or nothing, for each column.
    pub(crate) fn row(&mut self, name: &str, numbers: &[Option<f64>]) {
        assert_eq!(numbers.len(), self.columns.len());
        print!("{name:NAME_WIDTH$}");
        let mut row = Map::from_iter([("name".to_owned(), Value::from(name))]);
        for (column, number) in self.columns.iter().zip(numbers) {
            let text = number.map_or("-".to_owned(), column.print);
            print!(" {text:>WIDTH$}");
            row.insert(column.key.to_owned(), Value::from(*number));
        }
        println!();
        self.rows.push(Value::Object(row));
    }

    /// Writes the JSON file, if requested.
    pub(crate) fn finish(self) {
        if let Some(file) = self.file {
            let text = format!("{:#}\n", Value::from(self.rows));
            std::fs::write(&file, text).expect("the JSON is written");
            println!("\nwritten to {}", file.display());
        }
    }
}

/// The rows that the command line selects by parts of their names; all, if it names none.
pub(crate) fn wanted(name: &str) -> bool {
    let mut args = std::env::args().skip(1);
    let mut parts = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => drop(args.next()),
            arg if arg.starts_with('-') => {}
            _ => parts.push(arg),
        }
    }
    parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
}

/// A time in nanoseconds, with its unit.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

pub(crate) fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

pub(crate) fn number(number: f64) -> String {
    format!("{number:.0}")
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}
