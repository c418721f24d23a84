//! Fails as its argument says: by an error of the contract, a panic, a trap, or a limit.

use std::hint::black_box;

use millpond_guest::{Error, db};

fn main() -> Result<(), Error> {
    match std::env::args().nth(1).as_deref() {
        Some("error") => error_of_the_contract(),
        Some("panic") => panic_on_purpose(),
        Some("exit") => std::process::exit(1),
        Some("recurse") => {
            println!("{}", recurse(1));
            Ok(())
        }
        Some("reserve") => {
            let reserved = Vec::<u8>::new().try_reserve_exact(1 << 30);
            reserved.map_err(|error| Error::from_sql(error.to_string()))
        }
        Some("grow") => {
            grow();
            Ok(())
        }
        other => panic!("as told: {other:?}"),
    }
}

#[inline(never)]
fn error_of_the_contract() -> Result<(), Error> {
    db()?.execute("INSERT INTO nowhere VALUES (1)", ())?;
    Ok(())
}

#[inline(never)]
fn panic_on_purpose() -> Result<(), Error> {
    panic!("on purpose\u{1b}[31m")
}

#[expect(unconditional_recursion, reason = "it overflows the stack")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    // Not a tail call.
    recurse(black_box(depth) + 1) + 1
}

#[inline(never)]
fn grow() {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        black_box(&all);
    }
}
