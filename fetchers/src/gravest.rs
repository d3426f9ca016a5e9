//! [`Gravest`]: which of several errors is told.

use dhow_image::Name;

use crate::error::Error;

/// The gravest of several errors: one that tells of an attack is not hidden by one that tells of a broken cable.
#[derive(Default)]
pub(crate) struct Gravest(Option<Error>);

impl Gravest {
    pub(crate) fn add(&mut self, error: Error) {
        if self.0.as_ref().is_none_or(|other| error.gravity() > other.gravity()) {
            self.0 = Some(error);
        }
    }

    /// The error itself, which names its place, if there was one.
    pub(crate) fn found(self) -> Option<Error> {
        self.0
    }

    /// The same, where there is at least one.
    pub(crate) fn alone(self) -> Error {
        self.0.expect("each place that gave nothing gave an error")
    }

    /// What is told when none of so many places gave the image. There is at least one.
    pub(crate) fn of(self, name: &Name, count: usize) -> Error {
        let gravest = self.alone();
        match count {
            1 => gravest,
            _ => Error::Endpoints {
                name: name.clone(),
                count,
                source: Box::new(gravest),
            },
        }
    }
}
