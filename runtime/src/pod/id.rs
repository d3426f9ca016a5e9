//! The name of a pod (appc spec, ace.md, "Pod UUID").

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The UUID of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodId(Uuid);

impl PodId {
    /// A new one, random.
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The first eight digits, which lists show.
    pub(crate) fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for PodId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for PodId {
    type Err = uuid::Error;

    /// Reads the hyphenated form only, which is what directories are named by.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<uuid::fmt::Hyphenated>().map(|id| Self(id.into_uuid()))
    }
}
