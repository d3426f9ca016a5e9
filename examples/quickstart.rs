//! The whole of dhow in one run, on this machine alone: builds an image, signs it, publishes it as a site, serves the
//! site over TLS, finds it by its name, trusts its key, fetches, verifies and stores it, and runs it.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! It needs Rust and Linux, no root and no network beyond this machine's loopback. Everything is made in a temporary
//! directory, and gone at the end. Each step says which command does the same.
#![expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

#[path = "quickstart/elf.rs"]
mod elf;
#[path = "quickstart/steps.rs"]
mod steps;
#[path = "quickstart/told.rs"]
mod told;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    // A pod's parent is a process of its own with one thread: this program, started again as `dhow-pod`.
    let arguments: Vec<_> = env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == steps::AS_POD) {
        let program = arguments.first().cloned();
        return dhow_pod::main_with_args(program.into_iter().chain(arguments.into_iter().skip(2)));
    }
    match steps::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe quickstart failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
