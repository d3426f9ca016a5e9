//! What is said to the person at the terminal beside results: all of it goes to stderr.

use std::{error::Error, io::Write};

use crate::error::PodError;

/// How much is said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Console {
    /// Leaves out warnings.
    pub(crate) quiet: bool,
    /// Adds notes on how things are done.
    pub(crate) verbose: bool,
}

impl Console {
    /// Something done that was perhaps not meant.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            say(&format!("warning: {text}\n"));
        }
    }

    /// How something is done, for who asks with `-v`.
    pub(crate) fn note(&self, text: &str) {
        if self.verbose {
            say(&format!("note: {text}\n"));
        }
    }

    /// Why the command failed: the error, its causes and what to try.
    pub(crate) fn error(&self, error: &PodError) {
        let mut text = format!("error: {}\n", sentence(&error.to_string()));
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!("  cause: {error}\n"));
            cause = error.source();
        }
        if let Some(hint) = error.hint() {
            text.push_str(&format!("  hint: {hint}\n"));
        }
        say(&text);
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Nothing can be done where stderr is closed, and a pod must not die of it.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
