//! Steps that are told as they happen.

use std::time::Instant;

/// Tells the steps of a story, each with its time.
pub(crate) struct Story {
    began: Instant,
    step: Instant,
    number: u32,
}

impl Story {
    pub(crate) fn begin(title: &str) -> Self {
        println!("{title}\n");
        Self {
            began: Instant::now(),
            step: Instant::now(),
            number: 0,
        }
    }

    /// Begins a step, and names the command that does it.
    pub(crate) fn step(&mut self, what: &str, command: &str) {
        self.number += 1;
        println!("{}. {what}", self.number);
        println!("   $ {command}");
        self.step = Instant::now();
    }

    /// A fact of the step: what was made or what was checked.
    pub(crate) fn fact(&self, text: impl std::fmt::Display) {
        println!("   {text}");
    }

    /// Ends a step.
    pub(crate) fn done(&self) {
        println!("   done in {:.1} ms\n", self.step.elapsed().as_secs_f64() * 1000.0);
    }

    pub(crate) fn end(&self, text: &str) {
        println!("{text} All of it took {:.2} s.", self.began.elapsed().as_secs_f64());
    }
}
