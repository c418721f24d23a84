//! Writing and reading the flat form.

use crate::error::{Error, ErrorKind, Result};
use crate::flat::HEADER;
use crate::value::{Parameters, RawValue, Rows, Value, ValueRef};

/// Values of each kind, including extremes.
fn all() -> Vec<Vec<Value>> {
    vec![
        vec![i64::MIN.into(), f64::NEG_INFINITY.into(), "a\0ü".into()],
        vec![Value::Null, Value::Blob(vec![0xff, 0]), "".into()],
        vec![i64::MAX.into(), Value::Blob(Vec::new()), true.into()],
    ]
}

/// A header and the bytes of values.
fn bytes(width: u32, values: &[&[u8]]) -> Vec<u8> {
    [&width.to_le_bytes()[..], &values.concat()].concat()
}

fn rows(width: u32, values: &[&[u8]]) -> Result<Rows, ErrorKind> {
    Rows::from_bytes(bytes(width, values)).map_err(|error| error.kind())
}

fn parameters(width: u32, values: &[&[u8]]) -> Result<Parameters, ErrorKind> {
    Parameters::from_bytes(bytes(width, values)).map_err(|error| error.kind())
}

const ONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 0, 0];
const A: &[u8] = &[3, 1, 0, 0, 0, b'a'];
const NULL: &[u8] = &[5];
const NAME_A: &[u8] = &[6, 1, 0, 0, 0, b'a'];
const MALFORMED: ErrorKind = ErrorKind::Parameters;

#[test]
fn what_is_written_is_read_back() {
    let rows = Rows::from_rows(all()).expect("rows");
    assert_eq!((rows.len(), rows.width()), (3, 3));
    assert_eq!(rows, all());
    let again = Rows::from_bytes(rows.as_bytes().to_vec()).expect("rows");
    assert_eq!(again, rows);
    assert_eq!(again.to_vec(), all());
    let row = rows.iter().nth(1).expect("a row");
    assert_eq!(row.get(1), Some(ValueRef::Blob(&[0xff, 0])));
    assert_eq!((row.len(), row.get(3)), (3, None));
    assert_eq!(rows.values().count(), 9);

    for values in all() {
        let positional = Parameters::from(values.clone());
        let again = Parameters::from_bytes(positional.as_bytes().to_vec());
        assert_eq!(again, Ok(positional));
        let named = ["a", "", "ü"].into_iter().zip(values);
        let named = Parameters::named(named);
        let again = Parameters::from_bytes(named.as_bytes().to_vec());
        assert_eq!(again.as_ref(), Ok(&named));
        let names = named.iter().filter_map(|(name, _)| name);
        assert_eq!(names.collect::<Vec<_>>(), ["a", "", "ü"]);
    }
}

#[test]
fn the_bytes_are_as_the_contract_documents() {
    let written = Rows::from_rows([[Value::from(1), "a".into()]]).expect("rows");
    assert_eq!(written.as_bytes(), bytes(2, &[ONE, A]));
    let written = Parameters::named([("a", 1)]);
    assert_eq!(written.as_bytes(), bytes(1, &[NAME_A, ONE]));
    let real = Parameters::from([0.5]);
    assert_eq!(
        real.as_bytes(),
        bytes(1, &[&[2, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f]])
    );
    let blob = Parameters::from([Value::Blob(vec![7]), Value::Null]);
    assert_eq!(blob.as_bytes(), bytes(2, &[&[4, 1, 0, 0, 0, 7], NULL]));
}

#[test]
fn no_rows_are_the_empty_list() {
    for nothing in [vec![], bytes(0, &[]), bytes(3, &[])] {
        let rows = Rows::from_bytes(nothing).expect("no rows");
        assert_eq!(rows, Rows::new());
        assert_eq!((rows.as_bytes(), rows.width()), (&[][..], 0));
    }
    for nothing in [vec![], bytes(0, &[])] {
        let none = Parameters::from_bytes(nothing).expect("no parameters");
        assert_eq!(none.as_bytes(), [0; 0]);
        assert_eq!(none, Parameters::NONE);
    }
    assert_eq!(Parameters::from(Vec::<Value>::new()), Parameters::NONE);
    assert_eq!(parameters(1, &[]), Err(MALFORMED));
}

#[test]
fn values_that_do_not_divide_into_rows_are_refused() {
    assert!(rows(3, &[ONE, A, NULL]).is_ok());
    assert!(rows(1, &[ONE, A, NULL]).is_ok());
    assert_eq!(rows(2, &[ONE, A, NULL]), Err(MALFORMED));
    assert_eq!(rows(4, &[ONE, A, NULL]), Err(MALFORMED));
    assert_eq!(rows(0, &[ONE]), Err(MALFORMED));
    assert_eq!(rows(u32::MAX, &[ONE]), Err(MALFORMED));
    let mut rows = Rows::new();
    assert_eq!(rows.push([0; 0]).map_err(|e| e.kind()), Err(MALFORMED));
    assert_eq!(rows, Rows::new());
    rows.push([1, 2]).expect("a row");
    assert_eq!(rows.push([1]).map_err(|e| e.kind()), Err(MALFORMED));
    assert_eq!(rows, vec![[Value::from(1), Value::from(2)]]);
}

#[test]
fn parameters_that_are_not_one_row_are_refused() {
    assert!(parameters(2, &[ONE, A]).is_ok());
    assert_eq!(parameters(1, &[ONE, A]), Err(MALFORMED));
    assert_eq!(parameters(3, &[ONE, A]), Err(MALFORMED));
    assert_eq!(parameters(0, &[ONE]), Err(MALFORMED));
    assert_eq!(parameters(u32::MAX, &[ONE]), Err(MALFORMED));
}

#[test]
fn truncated_bytes_are_refused() {
    for values in [ONE, A, &[2, 0, 0, 0, 0, 0, 0, 0, 0], &[4, 1, 0, 0, 0, 0]] {
        assert!(rows(1, &[values]).is_ok());
        for end in 1..values.len() {
            assert_eq!(rows(1, &[&values[..end]]), Err(MALFORMED));
            assert_eq!(parameters(1, &[&values[..end]]), Err(MALFORMED));
            let named = parameters(1, &[NAME_A, &values[..end]]);
            assert_eq!(named, Err(MALFORMED));
        }
    }
    for end in 1..HEADER {
        let header = &bytes(1, &[])[..end];
        let kind = |error: Error| error.kind();
        let rows = Rows::from_bytes(header.to_vec()).map_err(kind);
        assert_eq!(rows, Err(MALFORMED));
        let parameters = Parameters::from_bytes(header.to_vec()).map_err(kind);
        assert_eq!(parameters, Err(MALFORMED));
    }
    let long = [4, 0xff, 0xff, 0xff, 0xff, 0];
    assert_eq!(rows(1, &[&long]), Err(MALFORMED));
    assert_eq!(parameters(1, &[&long]), Err(MALFORMED));
    for end in 1..NAME_A.len() {
        assert_eq!(parameters(1, &[&NAME_A[..end]]), Err(MALFORMED));
    }
    assert_eq!(parameters(1, &[NAME_A]), Err(MALFORMED));
    assert_eq!(parameters(1, &[NAME_A, NAME_A, ONE]), Err(MALFORMED));
}

#[test]
fn unknown_type_codes_are_refused() {
    for code in (0..=u8::MAX).filter(|code| !(1..=5).contains(code)) {
        let values = [code, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(rows(1, &[&values]), Err(MALFORMED), "{code}");
        assert_eq!(parameters(1, &[&values]), Err(MALFORMED), "{code}");
    }
}

#[test]
fn names_are_for_all_values_or_none_and_for_no_row() {
    assert!(parameters(2, &[NAME_A, ONE, NAME_A, A]).is_ok());
    assert_eq!(parameters(2, &[NAME_A, ONE, A]), Err(MALFORMED));
    assert_eq!(parameters(2, &[ONE, NAME_A, A]), Err(MALFORMED));
    assert_eq!(rows(1, &[NAME_A, ONE]), Err(MALFORMED));
}

#[test]
fn text_and_names_are_utf8() {
    let text = [3, 1, 0, 0, 0, 0xff];
    assert_eq!(rows(1, &[&text]), Err(ErrorKind::NotUtf8));
    assert_eq!(parameters(1, &[&text]), Err(ErrorKind::NotUtf8));
    let name = [6, 1, 0, 0, 0, 0xff];
    assert_eq!(parameters(1, &[&name, ONE]), Err(ErrorKind::NotUtf8));
    // One character, split between two values.
    let split = [3, 1, 0, 0, 0, 0xc3, 3, 1, 0, 0, 0, 0xa9];
    assert_eq!(rows(1, &[&split]), Err(ErrorKind::NotUtf8));
    let mut read = Rows::with_capacity(0);
    read.start_row(1);
    let pushed = read.push_raw(RawValue::Text(&[0xff]), 0);
    assert_eq!(
        pushed.map_err(|error| error.kind()),
        Err(ErrorKind::NotUtf8)
    );
}

#[test]
fn what_is_printed_is_the_values() {
    let rows = Rows::from_rows([[Value::from(1), "a".into()]]).expect("rows");
    assert_eq!(format!("{rows:?}"), r#"[[Integer(1), Text("a")]]"#);
    let parameters = Parameters::from([1.5]);
    assert_eq!(format!("{parameters:?}"), "[Real(1.5)]");
    let parameters = Parameters::named([("a", None::<i64>)]);
    assert_eq!(format!("{parameters:?}"), r#"{"a": Null}"#);
}
