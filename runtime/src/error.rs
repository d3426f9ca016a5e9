//! What can go wrong with pods.

use std::{io, path::PathBuf, process::ExitCode};

use dhow_image::{ImageId, ManifestError};
use dhow_store::StoreError;
use thiserror::Error;

/// Why a pod could not be made, run or told of.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PodError {
    /// The store refused.
    #[error("could not use the image store")]
    Store(#[source] StoreError),
    /// No image of the store has this ID.
    #[error("no image `{id}` is in the store")]
    ImageNotFound {
        /// The ID or its beginning.
        id: String,
    },
    /// No pod has this UUID.
    #[error("no pod `{uuid}` is in `{pods}`")]
    PodNotFound {
        /// The UUID or its beginning.
        uuid: String,
        /// Where pods are kept.
        pods: PathBuf,
    },
    /// The beginning of a UUID fits several pods.
    #[error("`{uuid}` fits several pods: {}", candidates.join(", "))]
    AmbiguousPod {
        /// What was given.
        uuid: String,
        /// The pods that it fits.
        candidates: Vec<String>,
    },
    /// The pod is not in the state that the command needs.
    #[error("pod `{uuid}` is {state}, and only a pod that is {needed} can be {action}")]
    State {
        /// The pod.
        uuid: String,
        /// Its state.
        state: &'static str,
        /// The state that is needed.
        needed: &'static str,
        /// What was to be done with it.
        action: &'static str,
    },
    /// A file or directory could not be read, made or removed.
    #[error("could not {action} `{path}`")]
    File {
        /// What was to be done with it.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused something that has no name.
    #[error("could not {action}")]
    System {
        /// What was to be done.
        action: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A pod manifest is not valid.
    #[error("the manifest of the pod is not valid")]
    Manifest(#[source] ManifestError),
    /// What is asked for cannot make a pod.
    #[error("{problem}")]
    Request {
        /// What is wrong with it.
        problem: String,
        /// What to try.
        hint: Option<String>,
    },
    /// The image holds nothing to run.
    #[error("image `{name}` ({id}) does not say what to run")]
    NothingToRun {
        /// Its name.
        name: String,
        /// Its ID.
        id: ImageId,
    },
    /// An app could not be started.
    #[error("could not start app `{app}`: {problem}")]
    Start {
        /// The app.
        app: String,
        /// What stood in the way.
        problem: String,
        /// What to try.
        hint: Option<String>,
    },
    /// Something went wrong inside of the pod, whose processes can send text only.
    #[error("{text}")]
    Inside {
        /// The error's text.
        text: String,
        /// The error that it stems from.
        #[source]
        source: Option<Box<PodError>>,
        /// What to try.
        hint: Option<String>,
    },
    /// A program that is needed failed.
    #[error("`{program}` failed: {output}")]
    Helper {
        /// The program.
        program: String,
        /// What it wrote to stderr.
        output: String,
        /// What to try.
        hint: Option<String>,
    },
    /// A result could not be written.
    #[error("could not write the result")]
    Output(#[source] io::Error),
}

impl PodError {
    /// What a person can try, where there is one thing.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ImageNotFound { .. } => Some("`dhow image list` shows the images, `dhow fetch` adds one".to_owned()),
            Self::PodNotFound { .. } => Some("`dhow list` shows the pods".to_owned()),
            Self::AmbiguousPod { .. } => Some("give more of the UUID".to_owned()),
            Self::NothingToRun { .. } => Some("name a program of the image with `--exec`".to_owned()),
            Self::Request { hint, .. }
            | Self::Start { hint, .. }
            | Self::Inside { hint, .. }
            | Self::Helper { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// The exit code: 3 where something was not found, 4 where the store is damaged, 1 else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::ImageNotFound { .. } | Self::PodNotFound { .. } => ExitCode::from(3),
            Self::Store(StoreError::NotFound { .. } | StoreError::MissingDependency { .. }) => ExitCode::from(3),
            Self::Store(
                StoreError::Damaged { .. }
                | StoreError::DamagedManifest { .. }
                | StoreError::WrongDependency { .. }
                | StoreError::DependencyCycle { .. }
                | StoreError::TooManyDependencies { .. },
            ) => ExitCode::from(4),
            _ => ExitCode::from(1),
        }
    }

    pub(crate) fn request(problem: impl Into<String>) -> Self {
        Self::Request {
            problem: problem.into(),
            hint: None,
        }
    }

    /// Names the file that an I/O error is about.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Says what a system call was for.
    pub(crate) fn system<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }
}

impl From<StoreError> for PodError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { id } => Self::ImageNotFound { id },
            other => Self::Store(other),
        }
    }
}
