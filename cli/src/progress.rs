//! Progress on stderr: a bar for each image on a terminal, a line now and then elsewhere, or JSON for machines.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use dhow_fetchers::{Note, Phase, Progress};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressFormat {
    /// Bars on a terminal, a line now and then elsewhere.
    #[default]
    Auto,
    /// A JSON object a line, for programs.
    Json,
}

/// What shows the progress of several fetches at once.
pub(crate) struct Display {
    kind: Kind,
    bars: MultiProgress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quiet,
    Bars,
    Lines,
    Json,
}

/// The progress of one of them.
struct Task {
    kind: Kind,
    bars: MultiProgress,
    reference: String,
    current: Mutex<Option<Current>>,
}

/// What is being done now.
struct Current {
    phase: Phase,
    subject: String,
    total: Option<u64>,
    done: u64,
    began: Instant,
    /// Of `done`, what was there when it began.
    before: Option<u64>,
    told: Instant,
    bar: Option<ProgressBar>,
}

/// How often a line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often a machine is told.
const JSON_EVERY: Duration = Duration::from_millis(250);

impl Display {
    pub(crate) fn new(quiet: bool, format: ProgressFormat) -> Self {
        let kind = match format {
            ProgressFormat::Json => Kind::Json,
            ProgressFormat::Auto if quiet => Kind::Quiet,
            ProgressFormat::Auto if std::io::stderr().is_terminal() => Kind::Bars,
            ProgressFormat::Auto => Kind::Lines,
        };
        Self {
            kind,
            bars: MultiProgress::new(),
        }
    }

    /// The progress of what a user asked for by this reference.
    pub(crate) fn task(&self, reference: impl ToString) -> Arc<dyn Progress> {
        Arc::new(Task {
            kind: self.kind,
            bars: self.bars.clone(),
            reference: reference.to_string(),
            current: Mutex::new(None),
        })
    }

    /// Tells a person something, above the bars.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        match self.kind {
            Kind::Quiet | Kind::Json => {}
            Kind::Bars | Kind::Lines => self.bars.suspend(|| line(text)),
        }
    }
}

impl Task {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        if let Some(bar) = self.current().take().and_then(|current| current.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn json(&self, event: &str, mut fields: serde_json::Value) {
        fields["event"] = event.into();
        fields["reference"] = self.reference.as_str().into();
        line(fields);
    }
}

impl Progress for Task {
    fn begin(&self, phase: Phase, subject: &str, total: Option<u64>) {
        self.clear();
        let now = Instant::now();
        let bar = (self.kind == Kind::Bars).then(|| self.bars.add(bar(phase, subject, total)));
        *self.current() = Some(Current {
            phase,
            subject: subject.to_owned(),
            total,
            done: 0,
            began: now,
            before: None,
            told: now,
            bar,
        });
        if self.kind == Kind::Json {
            self.json(
                "begin",
                json!({"phase": phase.id(), "subject": subject, "total": total}),
            );
        }
    }

    fn advance(&self, bytes: u64) {
        let mut current = self.current();
        let Some(current) = &mut *current else { return };
        current.done += bytes;
        // What was here from before does not count into the rate.
        let before = *current.before.get_or_insert_with(|| {
            let is_resumed = current.phase == Phase::Archive && current.began.elapsed() < Duration::from_millis(5);
            if is_resumed { bytes } else { 0 }
        });
        let every = match self.kind {
            Kind::Quiet => return,
            Kind::Bars => {
                if let Some(bar) = &current.bar {
                    bar.inc(bytes);
                }
                return;
            }
            Kind::Lines => LINE_EVERY,
            Kind::Json => JSON_EVERY,
        };
        let is_end = current.total == Some(current.done) && self.kind == Kind::Json;
        if current.told.elapsed() < every && !is_end {
            return;
        }
        current.told = Instant::now();
        let rate = current.done.saturating_sub(before) as f64 / current.began.elapsed().as_secs_f64();
        if self.kind == Kind::Json {
            let fields = json!({
                "phase": current.phase.id(), "subject": current.subject, "done": current.done,
                "total": current.total, "bytesPerSecond": rate as u64,
            });
            self.json("progress", fields);
        } else {
            let total = current
                .total
                .map_or(String::new(), |total| format!(" of {}", HumanBytes(total)));
            line(format_args!(
                "{} `{}`: {}{total}, {}/s",
                current.phase,
                current.subject,
                HumanBytes(current.done),
                HumanBytes(rate as u64),
            ));
        }
    }

    fn peers(&self, count: u32) {
        if let Some(bar) = self.current().as_ref().and_then(|current| current.bar.as_ref()) {
            bar.set_prefix(format!(", peers: {count}"));
        }
        if self.kind == Kind::Json {
            self.json("peers", json!({"peers": count}));
        }
    }

    fn end(&self) {
        self.clear();
        if self.kind == Kind::Json {
            self.json("end", json!({}));
        }
    }

    fn note(&self, note: &Note<'_>) {
        match self.kind {
            Kind::Quiet => {}
            Kind::Bars | Kind::Lines => self.bars.suspend(|| match note {
                Note::Waiting { .. } | Note::Rebuilt { .. } => line(note),
                _ => line(format_args!("warning: {note}")),
            }),
            Kind::Json => self.json("note", json!({"text": note.to_string()})),
        }
    }
}

fn bar(phase: Phase, subject: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg}{prefix} [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(format!("{phase} {subject}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[expect(clippy::print_stderr, reason = "this is where the program speaks to people")]
fn line(text: impl std::fmt::Display) {
    eprintln!("{text}");
}
