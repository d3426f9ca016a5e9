//! The states of a pod's life (rkt's pod life cycle, with one directory in place of many).

use std::fmt;

use serde::Serialize;

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PodState {
    /// It is being made, or its apps are about to start.
    Preparing,
    /// It is made and was not run yet.
    Prepared,
    /// Its apps run.
    Running,
    /// Its apps have ended.
    Exited,
    /// Whoever was making it ended before it was made or started.
    Aborted,
    /// It waits to be removed by `gc`.
    Garbage,
}

/// The facts from which the state follows.
pub(super) struct Facts {
    pub(super) locked: bool,
    pub(super) prepared: bool,
    pub(super) started: bool,
    pub(super) garbage: bool,
}

impl PodState {
    pub(super) fn from_facts(facts: &Facts) -> Self {
        match facts {
            Facts { garbage: true, .. } => Self::Garbage,
            Facts {
                started: true,
                locked: true,
                ..
            } => Self::Running,
            Facts { started: true, .. } => Self::Exited,
            Facts { locked: true, .. } => Self::Preparing,
            Facts { prepared: true, .. } => Self::Prepared,
            _ => Self::Aborted,
        }
    }

    /// The state in one word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Aborted => "aborted",
            Self::Garbage => "garbage",
        }
    }
}

impl fmt::Display for PodState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
