//! `dhow-pod` runs images of the store as pods: see the library of the same name.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    dhow_pod::main_with_args(env::args_os())
}
