//! `soak [KILLS [SEED]]`: kills programs at work on a store, and checks after each kill that nothing is lost. 1,000
//! kills unless told otherwise; the seed is printed, so that a run can be repeated.

use std::{env, process::ExitCode};

use dhow_tests::{Workload, World, soak};

#[expect(clippy::print_stdout, reason = "a program that speaks to a person")]
fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Ok(kills), Ok(seed)) = (
        arguments.next().unwrap_or(Ok(1_000)),
        arguments.next().unwrap_or_else(|| Ok(fastrand::u64(..))),
    ) else {
        println!("soak [KILLS [SEED]]: both are numbers");
        return ExitCode::from(2);
    };
    println!("{kills} kills, seed {seed}");
    let world = World::new();
    let workload = Workload::new(&world, 8, seed);
    match soak(&world, &workload, u32::try_from(kills).unwrap_or(u32::MAX), seed) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            // The store is kept, to be looked at.
            println!("FAILED {problem}\nthe store is in {}", world.keep().display());
            ExitCode::FAILURE
        }
    }
}
