//! Isolators: the constraints that an app or a pod asks for (appc spec, ace.md, "Isolators").

mod setting;

use serde::Serialize;
use serde_json::Value;

use super::{
    Extra, ManifestError,
    parameters::{ParametersError, parameters},
    reading::{Fields, Readable, Reading, deserialize_by_reading, parse},
};
use crate::name::Name;

pub use setting::{IsolatorSetting, Resource, SeccompSet, SelinuxContext};

const SECTION: &str = "types.md, \"Isolator Type\"";
/// Names of which an app or a pod may have only one (ace.md, the notes of each).
const SINGLE: [&str; 7] = [
    "os/linux/seccomp-remove-set",
    "os/linux/seccomp-retain-set",
    "os/linux/selinux-context",
    "os/linux/apparmor-profile",
    "os/linux/oom-score-adj",
    "os/linux/cpu-shares",
    "os/unix/sysctl",
];
/// Names that contradict each other.
const CONFLICTS: [(&str, &str); 2] = [
    ("os/linux/seccomp-retain-set", "os/linux/seccomp-remove-set"),
    ("os/linux/capabilities-retain-set", "os/linux/capabilities-remove-set"),
];

/// One isolator: its name, its parameters as they stand in the manifest, and what those mean.
///
/// The parameters of a name that the specification defines are valid; those of any other are kept as they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Isolator {
    name: Name,
    value: Value,
    #[serde(skip)]
    setting: IsolatorSetting,
    #[serde(flatten)]
    extra: Extra,
}

/// Where an isolator stands, since some are for one place only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    App,
    Pod,
}

impl Isolator {
    /// An isolator with these parameters, which must be valid where the specification defines them.
    ///
    /// ```
    /// use dhow_image::{Isolator, IsolatorSetting, Name};
    ///
    /// let value = serde_json::json!({ "request": "1G", "limit": "2Gi" });
    /// let isolator = Isolator::new(Name::new("resource/memory")?, value)?;
    /// let IsolatorSetting::Memory(memory) = isolator.setting() else { panic!() };
    /// assert_eq!(memory.limit.unwrap().value(), 2_147_483_648);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(name: Name, value: Value) -> Result<Self, ManifestError> {
        parse(serde_json::json!({ "name": name, "value": value }))
    }

    /// An isolator as it is written on a command line: `resource/memory,request=1G,limit=2G`,
    /// `os/linux/no-new-privileges,true`.
    ///
    /// Parameters that can be read as JSON are taken as that where text would not be valid.
    pub fn from_parameters(text: &str) -> Result<Self, IsolatorParametersError> {
        let (name, rest) = text.split_once(',').unwrap_or((text, ""));
        let name = Name::new(name)?;
        if !rest.contains('=') {
            let value = serde_json::from_str(rest).unwrap_or_else(|_| Value::from(rest));
            return Ok(Self::new(name, value)?);
        }
        let mut value = serde_json::Map::new();
        for (key, text) in parameters(rest)? {
            let parsed = match (key, text) {
                ("default", "true" | "false") => Value::from(text == "true"),
                ("set", list) => list.split(['+', ' ']).map(Value::from).collect(),
                _ => Value::from(text),
            };
            value.insert(key.to_owned(), parsed);
        }
        Ok(Self::new(name, value.into())?)
    }

    /// Which isolator it is, as in `os/linux/capabilities-retain-set`.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its parameters, as they stand in the manifest.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What the parameters mean.
    pub fn setting(&self) -> &IsolatorSetting {
        &self.setting
    }
}

/// Why a text is no isolator.
#[derive(Debug, thiserror::Error)]
pub enum IsolatorParametersError {
    /// What it begins with is no name.
    #[error(transparent)]
    Name(#[from] crate::name::NameError),
    /// The rest is no list of parameters.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// The isolator is defined, and these are not its parameters.
    #[error("the isolator is not valid")]
    Invalid(#[from] ManifestError),
}

impl Readable for Isolator {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        reading.by(SECTION, |reading| {
            let mut fields = Fields::of(value, reading)?;
            fields.rename("val", "value", reading);
            let name: Option<Name> = fields.required("name", reading);
            let value = fields.required::<Value>("value", reading);
            let extra = fields.rest(reading);
            let (name, value) = (name?, value?);
            let setting = reading.at("value", |reading| setting::read(name.as_str(), value.clone(), reading))?;
            Some(Self {
                name,
                value,
                setting,
                extra,
            })
        })
    }
}

/// Checks the isolators of one app or pod against each other.
pub(super) fn check_together(isolators: &[Isolator], scope: Scope, reading: &mut Reading) {
    let count = |name: &str| {
        isolators
            .iter()
            .filter(|isolator| isolator.name.as_str() == name)
            .count()
    };
    reading.by("ace.md, \"Isolators\"", |reading| {
        for name in SINGLE.iter().filter(|name| count(name) > 1) {
            reading.error(format!("has `{name}` twice"));
        }
        for (one, other) in CONFLICTS {
            if count(one) > 0 && count(other) > 0 {
                reading.error(format!("has `{one}` together with `{other}`"));
            }
        }
        for (index, isolator) in isolators.iter().enumerate() {
            let name = isolator.name.as_str();
            let is_misplaced = match scope {
                Scope::App => name == "os/unix/sysctl",
                Scope::Pod => {
                    name.starts_with("os/linux/seccomp-")
                        || name.starts_with("os/linux/capabilities-")
                        || name == "os/linux/no-new-privileges"
                }
            };
            if is_misplaced {
                let place = if scope == Scope::App { "a pod" } else { "an app" };
                reading.at(&format!("[{index}]"), |reading| {
                    reading.warning(format!("is `{name}`, which has an effect on {place} only"));
                });
            }
        }
    });
}

deserialize_by_reading!(Isolator);
