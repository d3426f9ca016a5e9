//! What is noted about a manifest or an archive while it is read.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong, or that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a path through the manifest's JSON as in `app.ports[0].port`, or an entry of the archive.
    /// Empty where it is about the whole.
    pub subject: String,
    /// What is wrong with that, as the rest of a sentence.
    pub problem: String,
    /// The section of the App Container specification that says so, as in `aci.md, "Image Archives"`.
    pub section: &'static str,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The specification's SHOULD is not followed, or something is likely not meant. It is valid nevertheless.
    Warning,
    /// The specification's MUST is broken. It is not valid.
    Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "`{}` {}", self.subject, self.problem)
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}
