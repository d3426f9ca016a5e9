//! What can go wrong in discovery.

use dhow_image::Name;
use thiserror::Error;

use crate::{tags::PageError, trace::Trace};

/// Why a name was not discovered. Each variant knows what was done until then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The first part of the name is no host.
    #[error("`{name}` cannot be discovered: `{}` is no host name", name.host())]
    Host {
        /// The name.
        name: Name,
        /// What was done.
        trace: Trace,
    },
    /// No answer came for a page.
    #[error("could not get the discovery page `{url}`")]
    Page {
        /// The page.
        url: String,
        /// What the source of pages says.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What was done.
        trace: Trace,
    },
    /// The server failed. Its pages may have tags, so the parent's are not to be used in their stead.
    #[error("could not get the discovery page `{url}`: the server answered with status {status}")]
    Status {
        /// The page.
        url: String,
        /// The status.
        status: u16,
        /// What was done.
        trace: Trace,
    },
    /// A page cannot be believed.
    #[error("could not read the discovery page `{url}`")]
    Unreadable {
        /// The page.
        url: String,
        /// Why.
        source: PageError,
        /// What was done.
        trace: Trace,
    },
    /// No page has tags for the name.
    #[error("`{name}` was not found: there is no `{tag}` tag for it on {}", pages(trace))]
    NotFound {
        /// The name.
        name: Name,
        /// The tag that was looked for.
        tag: &'static str,
        /// What was done.
        trace: Trace,
    },
    /// There are tags, but none can be used.
    #[error("no template for `{name}` on `{url}` can be used: {}", reasons.join("; "))]
    NoUsableTemplate {
        /// The name.
        name: Name,
        /// The page with the templates.
        url: String,
        /// Why not, for each of them.
        reasons: Vec<String>,
        /// What was done.
        trace: Trace,
    },
}

impl Error {
    /// What was done until then.
    pub fn trace(&self) -> &Trace {
        match self {
            Self::Host { trace, .. }
            | Self::Page { trace, .. }
            | Self::Status { trace, .. }
            | Self::Unreadable { trace, .. }
            | Self::NotFound { trace, .. }
            | Self::NoUsableTemplate { trace, .. } => trace,
        }
    }

    /// Whether all answers came and the name was not in them, rather than something failed.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Host { .. } | Self::NotFound { .. } | Self::NoUsableTemplate { .. }
        )
    }
}

fn pages(trace: &Trace) -> String {
    match trace.0.as_slice() {
        [] => "any page".to_owned(),
        [step] => format!("`{}`", step.url),
        [first, .., last] => format!("any page from `{}` up to `{}`", first.url, last.url),
    }
}
