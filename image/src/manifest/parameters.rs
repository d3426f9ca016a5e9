//! Lists as they stand on a command line: `NAME,key=value,key=value`.

use thiserror::Error;

use super::reading::shorten;

/// Why a text is no list of parameters.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParametersError {
    /// A part is not `key=value`.
    #[error("`{part}` is not `key=value`")]
    NoValue {
        /// The part.
        part: String,
    },
    /// A key stands twice.
    #[error("`{key}` is given twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// The key is not known here.
    #[error("`{key}` is not known here")]
    Unknown {
        /// The key.
        key: String,
    },
    /// A parameter is missing.
    #[error("`{key}=…` is missing")]
    Missing {
        /// Its key.
        key: &'static str,
    },
    /// A value is not what the key needs.
    #[error("`{key}` is `{value}`, where {needed} is needed")]
    Value {
        /// The key.
        key: String,
        /// What it is.
        value: String,
        /// What it would have to be.
        needed: &'static str,
    },
    /// What the parameters describe is not valid together.
    #[error("{problem}")]
    Invalid {
        /// Why.
        problem: String,
    },
}

/// The parameters of `text`, in their order.
pub fn parameters(text: &str) -> Result<Vec<(&str, &str)>, ParametersError> {
    let mut list: Vec<(&str, &str)> = Vec::new();
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| ParametersError::NoValue { part: shorten(part) })?;
        if list.iter().any(|(known, _)| *known == key) {
            return Err(ParametersError::Twice { key: shorten(key) });
        }
        list.push((key, value));
    }
    Ok(list)
}

/// A name and the parameters after it.
type Named<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// The name before the first comma, and the parameters after it.
pub(super) fn named_parameters(text: &str) -> Result<Named<'_>, ParametersError> {
    match text.split_once(',') {
        Some((name, rest)) => Ok((name, parameters(rest)?)),
        None => Ok((text, Vec::new())),
    }
}

/// `true` or `false`, in the spellings that the specification's own tools take.
pub(super) fn boolean(key: &str, value: &str) -> Result<bool, ParametersError> {
    match value {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
        _ => Err(wrong(key, value, "`true` or `false`")),
    }
}

pub(super) fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, ParametersError> {
    value
        .parse()
        .map_err(|_| wrong(key, value, "a whole number in its range"))
}

fn wrong(key: &str, value: &str, needed: &'static str) -> ParametersError {
    ParametersError::Value {
        key: shorten(key),
        value: shorten(value),
        needed,
    }
}
