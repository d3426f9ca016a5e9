//! [`Leaves`]: what stands where in a configuration file, as its writer wrote it.
//!
//! The tables that are read of a file are values; this is beside them, for messages and for `dhow config`.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

/// The keys whose values are nobody's to see.
const SECRETS: [&str; 6] = [
    "password",
    "token",
    "secret-access-key",
    "session-token",
    "account-key",
    "sas-token",
];

/// What is shown of a secret.
pub(super) const HIDDEN: &str = "(secret)";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// The line, where the file has such.
    pub(super) line: Option<usize>,
}

/// A key, its value as it may be shown, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) source: Source,
}

/// A value of several, as those of a mirror, with all that was written of it.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) leaves: Vec<Leaf>,
}

/// All of a file.
pub(super) struct Leaves<'a> {
    text: &'a str,
    path: &'a Path,
    /// What stands in no list of tables.
    pub(super) single: Vec<Leaf>,
    /// The tables of each list, as of `[[mirror]]`, with where each begins.
    lists: HashMap<String, Vec<(usize, Vec<Leaf>)>>,
    /// Where each key and its value stand in the text.
    spans: Vec<(Range<usize>, String)>,
}

impl<T> Placed<T> {
    /// A value of which this much is shown.
    pub(super) fn new(value: T, path: &Path, shown: &[(&str, &str)]) -> Self {
        let source = Source {
            path: path.to_owned(),
            line: None,
        };
        let leaf = |(key, value): &(&str, &str)| Leaf {
            key: (*key).to_owned(),
            value: json!(value),
            source: source.clone(),
        };
        Self {
            value,
            leaves: shown.iter().map(leaf).collect(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

impl<'a> Leaves<'a> {
    /// All of a text, or nothing where it is none of TOML: that is for others to say.
    pub(super) fn of(text: &'a str, path: &'a Path) -> Self {
        let mut leaves = Self {
            text,
            path,
            single: Vec::new(),
            lists: HashMap::new(),
            spans: Vec::new(),
        };
        if let Ok(table) = DeTable::parse(text) {
            let single = leaves.table("", table.get_ref());
            leaves.single = single;
        }
        leaves
    }

    /// A table of a list, and what is shown of it.
    pub(super) fn take(&mut self, list: &str, index: usize) -> Vec<Leaf> {
        let tables = self.lists.get_mut(list);
        let leaves = tables.and_then(|tables| tables.get_mut(index));
        leaves.map(|(_, leaves)| std::mem::take(leaves)).unwrap_or_default()
    }

    /// What is wrong, and where: with a table of a list.
    pub(super) fn in_list(&self, list: &str, index: usize, error: &anyhow::Error) -> anyhow::Error {
        let tables = self.lists.get(list);
        let line = tables.and_then(|tables| tables.get(index)).map_or(1, |(line, _)| *line);
        anyhow::anyhow!("line {line}, `{list}`: {error:#}")
    }

    /// What is wrong, and where. The parser's own message would show the line, which may hold a password.
    pub(super) fn refused(&self, error: &toml::de::Error) -> anyhow::Error {
        let Some(span) = error.span() else {
            return anyhow::anyhow!("{}", error.message());
        };
        let line = self.line(span.start);
        // Keys come before what is in them, so the last is the nearest.
        let key = self.spans.iter().rfind(|(range, _)| range.contains(&span.start));
        match key {
            Some((_, key)) if is_secret(key) => anyhow::anyhow!("line {line}, `{key}`: its value is no text"),
            Some((_, key)) => anyhow::anyhow!("line {line}, `{key}`: {}", error.message()),
            None => anyhow::anyhow!("line {line}: {}", error.message()),
        }
    }

    fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// The leaves of a table; what it has in lists goes there.
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            let (start, end) = (name.span().start, value.span().end);
            self.spans.push((start..end.max(start), key.clone()));
            match value.get_ref() {
                DeValue::Table(inner) => leaves.extend(self.table(&key, inner)),
                DeValue::Array(items) => {
                    for item in items {
                        let DeValue::Table(inner) = item.get_ref() else {
                            continue;
                        };
                        self.spans.push((item.span(), key.clone()));
                        let line = self.line(item.span().start);
                        let inner = self.table(&key, inner);
                        self.lists.entry(key.clone()).or_default().push((line, inner));
                    }
                }
                other => leaves.push(Leaf {
                    value: if is_secret(&key) { json!(HIDDEN) } else { shown(other) },
                    key,
                    source: Source {
                        path: self.path.to_owned(),
                        line: Some(self.line(start)),
                    },
                }),
            }
        }
        leaves.sort_by_key(|leaf| leaf.source.line);
        leaves
    }
}

fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    SECRETS.contains(&last)
}

fn shown(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Boolean(value) => json!(value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| json!(number.as_str()), |number| json!(number)),
        DeValue::Float(number) => json!(number.as_str()),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => Value::Null,
    }
}
