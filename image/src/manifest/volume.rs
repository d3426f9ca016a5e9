//! Volumes: what can be mounted into the apps of a pod (appc spec, pods.md, "Pod Manifest Schema").

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    Extra,
    parameters::{ParametersError, boolean, named_parameters, number},
    reading::{Fields, Readable, Reading, deserialize_by_reading, shorten},
};
use crate::name::AcName;

/// What can be mounted into the apps of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// By which mounts refer to it.
    pub name: AcName,
    /// What it is.
    pub kind: VolumeKind,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    extra: Extra,
}

/// The kinds of volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// A directory of the host.
    Host {
        /// Its absolute path.
        source: String,
        /// Whether what is mounted beneath it comes along; yes, where absent.
        recursive: Option<bool>,
    },
    /// A directory that is made for the pod and goes with it.
    Empty {
        /// Its mode in octal; `0755` where absent.
        mode: Option<String>,
        /// Its owner; 0 where absent.
        uid: Option<u32>,
        /// Its group; 0 where absent.
        gid: Option<u32>,
    },
}

impl Volume {
    /// A volume; what it is is checked when the manifest is.
    pub fn new(name: AcName, kind: VolumeKind, read_only: bool) -> Self {
        Self {
            name,
            kind,
            read_only,
            extra: Extra::new(),
        }
    }

    /// The fields in the order in which they are written.
    fn to_fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Option<Value>| value.and_then(|value| fields.insert(key.to_owned(), value));
        put("name", Some(self.name.as_str().into()));
        match &self.kind {
            VolumeKind::Host { source, recursive } => {
                put("kind", Some("host".into()));
                put("source", Some(source.as_str().into()));
                put("readOnly", self.read_only.then(|| true.into()));
                put("recursive", recursive.map(Value::from));
            }
            VolumeKind::Empty { mode, uid, gid } => {
                put("kind", Some("empty".into()));
                put("readOnly", self.read_only.then(|| true.into()));
                put("mode", mode.as_deref().map(Value::from));
                put("uid", uid.map(Value::from));
                put("gid", gid.map(Value::from));
            }
        }
        fields.extend(self.extra.clone());
        fields
    }
}

impl Serialize for Volume {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_fields().serialize(serializer)
    }
}

impl fmt::Display for Volume {
    /// Writes `NAME,kind=host,source=/PATH,…`, as it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        for (key, value) in self.to_fields() {
            match value {
                Value::String(text) if key != "name" => write!(f, ",{key}={text}")?,
                Value::Bool(_) | Value::Number(_) => write!(f, ",{key}={value}")?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl FromStr for Volume {
    type Err = ParametersError;

    /// Reads `NAME,kind=host,source=/PATH[,readOnly=…][,recursive=…]` or
    /// `NAME,kind=empty[,readOnly=…][,mode=…][,uid=…][,gid=…]`.
    fn from_str(text: &str) -> Result<Self, ParametersError> {
        let (name, parameters) = named_parameters(text)?;
        let mut fields = Map::new();
        fields.insert("name".to_owned(), name.into());
        for (key, value) in parameters {
            let value = match key {
                "kind" | "source" | "mode" => Value::from(value),
                "readOnly" | "recursive" => boolean(key, value)?.into(),
                "uid" | "gid" => number::<u32>(key, value)?.into(),
                _ => return Err(ParametersError::Unknown { key: shorten(key) }),
            };
            fields.insert(key.to_owned(), value);
        }
        super::reading::parse(fields.into()).map_err(|error| ParametersError::Invalid {
            problem: error.findings().first().map(ToString::to_string).unwrap_or_default(),
        })
    }
}

impl Readable for Volume {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        reading.by("pods.md, \"Pod Manifest Schema\"", |reading| {
            let mut fields = Fields::of(value, reading)?;
            let name = fields.required("name", reading);
            let kind = fields.required::<String>("kind", reading);
            let read_only = fields.or_default("readOnly", reading);
            let source: Option<String> = fields.optional("source", reading);
            let recursive = fields.optional("recursive", reading);
            let mode: Option<String> = fields.optional("mode", reading);
            let uid = fields.optional("uid", reading);
            let gid = fields.optional("gid", reading);
            let extra = fields.rest(reading);
            let kind = match kind?.as_str() {
                "host" => {
                    for (field, is_there) in [("mode", mode.is_some()), ("uid", uid.is_some()), ("gid", gid.is_some())]
                    {
                        forbid(field, is_there, "empty", reading);
                    }
                    reading.at("source", |reading| match &source {
                        None => reading.error("is missing"),
                        Some(source) => super::mount_point::check_absolute(source, reading),
                    });
                    VolumeKind::Host {
                        source: source.unwrap_or_default(),
                        recursive,
                    }
                }
                "empty" => {
                    forbid(
                        "source",
                        source.is_some_and(|source| !source.is_empty()),
                        "host",
                        reading,
                    );
                    if recursive.is_some() {
                        reading.at("recursive", |reading| {
                            reading.warning("means nothing for a volume of kind `empty`")
                        });
                    }
                    let is_mode = |text: &String| {
                        (3..=5).contains(&text.len()) && u16::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
                    };
                    if let Some(mode) = mode.as_ref().filter(|mode| !is_mode(mode)) {
                        let problem = format!("is `{}`, which is no mode as in `0755`", shorten(mode));
                        reading.at("mode", |reading| reading.error(problem));
                    }
                    VolumeKind::Empty { mode, uid, gid }
                }
                other => {
                    let problem = format!("is `{}`, which is neither `host` nor `empty`", shorten(other));
                    reading.at("kind", |reading| reading.error(problem));
                    return None;
                }
            };
            Some(Self {
                name: name?,
                kind,
                read_only,
                extra,
            })
        })
    }
}

fn forbid(field: &str, is_there: bool, kind: &str, reading: &mut Reading) {
    if is_there {
        reading.at(field, |reading| {
            reading.error(format!("is for a volume of kind `{kind}`"))
        });
    }
}

deserialize_by_reading!(Volume);
