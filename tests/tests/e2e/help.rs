//! What each command says about itself.

use std::process::Command;

use dhow_tests::{Outcome, programs};

/// The commands that a program's help lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.split_once("\nCommands:\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Checks the help of a command and of those beneath it; gives how many there were.
fn check(program: &str, words: &[String]) -> usize {
    let help = Outcome::of(Command::new(programs().join(program)).args(words).arg("--help")).success();
    let line = format!("{program} {}", words.join(" "));
    let beneath = commands(&help);
    if beneath.is_empty() {
        assert!(help.contains("Example"), "`{line} --help` shows no example:\n{help}");
        let first = help.lines().next().unwrap_or_default();
        assert!(
            first.split_whitespace().count() > 2,
            "`{line} --help` does not say what it does:\n{help}"
        );
        return 1;
    }
    beneath
        .iter()
        .map(|name| check(program, &[words, std::slice::from_ref(name)].concat()))
        .sum()
}

#[test]
fn every_command_says_what_it_does_with_an_example() {
    assert!(check("dhow", &[]) >= 20);
    assert!(check("dhow-pod", &[]) >= 8);
    assert!(check("dhow-mirror", &[]) >= 1);
}

#[test]
fn unknown_commands_name_the_program_that_was_looked_for() {
    let outcome = Outcome::of(Command::new(programs().join("dhow")).arg("nonesuch"));
    outcome.exited(2).says("there is no program `dhow-nonesuch`");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    Outcome::of(Command::new(programs().join("dhow")).args(["image", "list", "--nonesuch"])).exited(2);
}
