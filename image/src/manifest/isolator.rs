//! Isolators: the constraints that an app or a pod asks for (appc spec, ace.md, "Isolators").

use serde::{Deserialize, Serialize};

use super::Extra;
use crate::name::Name;

/// One isolator with its parameters as they stand in the manifest; whoever enforces it reads its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isolator {
    /// Which isolator, as in `os/linux/capabilities-retain-set`.
    pub name: Name,
    /// Its parameters.
    pub value: serde_json::Value,
    #[serde(flatten)]
    extra: Extra,
}

impl Isolator {
    /// An isolator with these parameters.
    pub fn new(name: Name, value: serde_json::Value) -> Self {
        Self {
            name,
            value,
            extra: Extra::new(),
        }
    }

    /// The text of the list `set`, which capability and seccomp isolators share.
    pub fn set(&self) -> Option<Vec<&str>> {
        self.value
            .get("set")?
            .as_array()?
            .iter()
            .map(|item| item.as_str())
            .collect()
    }
}
