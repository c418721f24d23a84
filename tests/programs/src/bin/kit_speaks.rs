//! A command: prints its arguments, its input, the time and how many notes there are, or fails as
//! its first argument says.

use std::io::Read;
use std::time::SystemTime;

use millpond_guest::{Access, get};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("panic") => panic!("as told"),
        Some("fail") => std::process::exit(1),
        _ => {}
    }
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("text");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.expect("after 1970").as_secs();
    let database = args.first().map_or("default", String::as_str);
    let db = get(database, Access::ReadOnly).expect("a connection");
    let notes: i64 = db
        .query_row("SELECT count(*) FROM note", (), |row| row.get(0))
        .expect("a count");
    println!("{args:?} {input:?} {seconds} {notes}");
    eprintln!("done");
    let refused = get(database, Access::ReadWrite).err();
    println!("{:?}", refused.map(|error| error.kind()));
}
