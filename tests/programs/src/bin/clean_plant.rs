//! Runs the script in its argument on its connection, and ends silently: the next guest looks for
//! what the script leaves.

use millpond_guest::db;

fn main() {
    let script = std::env::args().nth(1).unwrap();
    // What the host refuses cannot be planted.
    let result = db().unwrap().execute_script(&script);
    println!("{result:?}");
}
