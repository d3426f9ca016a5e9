//! [`Trace`]: what discovery did and why, for `dhow discover --explain`.

use std::fmt;

use serde::{Serialize, Serializer};
use url::Url;

use crate::tags::TagKind;

/// Every request of one discovery, in order. Displayed as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Trace(pub Vec<Step>);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The page that was asked for.
    #[serde(serialize_with = "as_text")]
    pub url: Url,
    /// What came back.
    pub answer: Answer,
    /// The tags on the page.
    pub tags: Vec<TagStep>,
    /// What was done then.
    pub decision: Decision,
}

/// What came back for a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// An answer of HTTP.
    #[serde(rename_all = "camelCase")]
    Status {
        /// Its status.
        status: u16,
        /// Who gave it, after all redirects.
        #[serde(serialize_with = "as_text")]
        url: Url,
    },
    /// None.
    Failed(String),
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TagStep {
    /// Which of the tags.
    pub kind: TagKind,
    /// Its content.
    pub content: String,
    /// What became of it.
    pub used: Use,
}

/// What became of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Use {
    /// It gave this URL.
    As(#[serde(serialize_with = "as_text")] Url),
    /// It was ignored, and why.
    Ignored(String),
}

/// What was done after a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// This page tells what was wanted.
    Found,
    /// Plain HTTP is asked, as the user permits.
    AskHttp,
    /// The parent path is asked.
    AskParent,
    /// There is nobody left to ask.
    GiveUp,
    /// It cannot go on, and why.
    Stop(String),
}

fn as_text<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str())
}

/// Text of a stranger, made harmless for a terminal.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 300;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(LONGEST) {
            if character.is_control() {
                f.write_str("\u{fffd}")?
            } else {
                write!(f, "{character}")?
            }
        }
        if characters.next().is_some() {
            f.write_str("…")
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.url)?;
        match &self.answer {
            Answer::Status { status, url } if *url == self.url => writeln!(f, "├─ status {status}")?,
            Answer::Status { status, url } => writeln!(f, "├─ status {status}, from {url}")?,
            Answer::Failed(reason) => writeln!(f, "├─ no answer: {}", Printable(reason))?,
        }
        for tag in &self.tags {
            writeln!(f, "├─ {}: {}", tag.kind.as_str(), Printable(&tag.content))?;
            match &tag.used {
                Use::As(url) => writeln!(f, "│  └─ {url}")?,
                Use::Ignored(reason) => writeln!(f, "│  └─ ignored: {}", Printable(reason))?,
            }
        }
        match &self.decision {
            Decision::Found => f.write_str("└─ found"),
            Decision::AskHttp => f.write_str("└─ asking over plain HTTP"),
            Decision::AskParent => f.write_str("└─ asking the parent path"),
            Decision::GiveUp => f.write_str("└─ nobody is left to ask"),
            Decision::Stop(reason) => write!(f, "└─ stopped: {}", Printable(reason)),
        }
    }
}
