//! Progress on stderr: a bar on a terminal, nothing elsewhere but what the command says at its end.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use dhow_fetchers::{Note, Phase, Progress};
use indicatif::{ProgressBar, ProgressStyle};

/// Shows one bar, for what is going on now.
pub(crate) struct Terminal {
    is_quiet: bool,
    is_shown: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Terminal {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            is_quiet: quiet,
            is_shown: !quiet && std::io::stderr().is_terminal(),
            bar: Mutex::new(None),
        }
    }

    fn replace(&self, bar: Option<ProgressBar>) {
        let mut current = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = std::mem::replace(&mut *current, bar) {
            ended.finish_and_clear();
        }
    }
}

impl Progress for Terminal {
    fn begin(&self, phase: Phase, subject: &str, total: Option<u64>) {
        if !self.is_shown {
            return;
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{msg} [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes}"),
        };
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(format!("{phase} {subject}"));
        bar.enable_steady_tick(Duration::from_millis(100));
        self.replace(Some(bar));
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        self.replace(None);
    }

    #[expect(clippy::print_stderr, reason = "this is where the program speaks to people")]
    fn note(&self, note: &Note<'_>) {
        let told = || eprintln!("warning: {note}");
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(told),
            None if self.is_quiet => {}
            None => told(),
        }
    }
}
