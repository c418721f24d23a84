//! Rows page by page: every boundary, and results of any size.

use millpond_guest::bindings::pool::{Access, get_connection};

use millpond_test_programs::{NONE, Value, integers, positional, read};

const ROWS: i64 = 100_000;

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT i FROM n";
    let statement = db.prepare(numbers).unwrap();
    let up_to = |last: i64| positional(&[Value::Integer(last)]);

    for (last, max_rows, first, more) in [
        (5, 1, vec![1], true),
        (5, 4, vec![1, 2, 3, 4], true),
        (5, 5, vec![1, 2, 3, 4, 5], false),
        (5, 6, vec![1, 2, 3, 4, 5], false),
        (5, 0, vec![1, 2, 3, 4, 5], false),
        (1, 1, vec![1], false),
    ] {
        let page = statement.query(&up_to(last), max_rows, false).unwrap();
        assert_eq!(integers(&page.rows), first, "{max_rows} of {last}");
        assert_eq!(page.rest.is_some(), more, "{max_rows} of {last}");
    }
    let nothing = db
        .prepare("SELECT 1 WHERE 0")
        .unwrap()
        .query(none, 0, false)
        .unwrap();
    assert!(nothing.rows.is_empty() && nothing.rest.is_none());

    let cursor = statement.query(&up_to(5), 2, false).unwrap().rest.unwrap();
    assert_eq!(integers(&cursor.next(2).unwrap()), [3, 4]);
    assert_eq!(integers(&cursor.next(2).unwrap()), [5]);
    assert!(cursor.next(2).unwrap().is_empty());
    assert!(cursor.next(0).unwrap().is_empty());

    // A page ends at its size in bytes, whatever the guest asks for.
    let wide = db.prepare("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT zeroblob(500000) FROM n").unwrap();
    let page = wide.query(none, u32::MAX, false).unwrap();
    assert_eq!(read(&page.rows).len(), 3);
    let cursor = page.rest.unwrap();
    let mut rows = 3;
    loop {
        let page = cursor.next(u32::MAX).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 1_600_000);
        rows += read(&page).len();
    }
    assert_eq!(rows, 10);

    db.execute_script("CREATE TABLE t(a INTEGER, b TEXT, c INTEGER, d TEXT, e REAL)")
        .unwrap();
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO t SELECT i, 'name ' || i, i * 2, 'some longer text for row ' || i, i / 2.0 FROM n",
        &up_to(ROWS),
    )
    .unwrap();
    let scan = db.prepare("SELECT * FROM t ORDER BY a").unwrap();
    let page = scan.query(none, 1000, false).unwrap();
    let (mut rows, mut sum) = (0, 0);
    let mut page_rows = page.rows;
    let cursor = page.rest.unwrap();
    while !page_rows.is_empty() {
        for row in read(&page_rows) {
            let [Value::Integer(a), _, _, _, _] = row[..] else {
                panic!("{row:?}");
            };
            rows += 1;
            sum += a;
        }
        page_rows = cursor.next(1000).unwrap();
    }
    assert_eq!((rows, sum), (ROWS, ROWS * (ROWS + 1) / 2));

    // An open cursor keeps its snapshot while its own connection writes.
    let cursor = scan.query(none, 1, false).unwrap().rest.unwrap();
    db.execute("INSERT INTO t(a) VALUES (0)", none).unwrap();
    let row = read(&cursor.next(1).unwrap());
    assert_eq!(row[0][0], Value::Integer(2));
    drop(cursor);
    db.execute("DROP TABLE t", none).unwrap();
}
