//! Prints what a command gets from its caller: arguments, environment, standard streams, exit code.

fn main() {
    for argument in std::env::args().skip(1) {
        println!("argument {argument}");
    }
    for (name, value) in std::env::vars() {
        println!("environment {name}={value}");
    }
    for line in std::io::stdin().lines() {
        println!("input {}", line.unwrap());
    }
    eprintln!("error");
    std::process::exit(7);
}
