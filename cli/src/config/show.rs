//! `dhow config`.

use anyhow::Result;
use clap::Args;
use dhow_fetchers::{DownloadOptions, HttpOptions, RetryPolicy};
use serde_json::{Value, json};

use super::{
    Config,
    leaf::{Leaf, Source},
};
use crate::{
    arguments::Format,
    context::{Context, print},
    fetch,
    table::table,
};

/// Prints what is configured, and where each value comes from.
///
/// Values that no file has are the defaults. Of several files, the last one that has a value counts; what others say of
/// the same is not shown. Secrets are hidden. A file with a mistake, or with a key that is not known, is an error that
/// names its line.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow config
  dhow config --format json
  dhow --config-dir ./config config")]
pub(crate) struct ConfigArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A line of what is printed.
struct Row {
    key: String,
    /// Which one of several, as the prefix of a mirror.
    of: Option<String>,
    value: Value,
    from: From,
}

enum From {
    Default,
    Option(&'static str),
    File(Source),
}

pub(crate) fn config(context: &Context, options: ConfigArguments) -> Result<()> {
    let rows = rows(context)?;
    match options.format {
        Format::Text => {
            let cells: Vec<_> = rows.iter().map(Row::cells).collect();
            print(table(["KEY", "VALUE", "FROM"], &cells));
        }
        Format::Json => rows.iter().for_each(|row| print(row.json())),
    }
    Ok(())
}

fn rows(context: &Context) -> Result<Vec<Row>> {
    let config = context.config()?;
    let (downloads, http, retry) = (
        DownloadOptions::default(),
        HttpOptions::default(),
        RetryPolicy::default(),
    );
    let defaults = [
        ("fetch.pull", json!("update")),
        ("fetch.limit-rate", Value::Null),
        ("fetch.jobs", json!(fetch::JOBS)),
        ("fetch.streams", json!(downloads.streams)),
        ("fetch.per-host", json!(http.per_host)),
        ("fetch.attempts", json!(retry.attempts)),
        ("fetch.timeout", json!(downloads.slow_after.as_secs())),
        ("store.max-size", Value::Null),
    ];
    let by_option = |key: &str| match key {
        "data" => context.global.dir.as_ref().map(|_| "--dir"),
        _ => None,
    };
    let data = json!(context.data_dir()?.display().to_string());
    let mut rows = Vec::new();
    for (key, default) in [("data", data)].into_iter().chain(defaults) {
        let (value, from) = match (by_option(key), config.single.get(key)) {
            (Some(option), _) => (default, From::Option(option)),
            (None, Some(leaf)) => (leaf.value.clone(), From::File(leaf.source.clone())),
            (None, None) => (default, From::Default),
        };
        rows.push(Row {
            key: key.to_owned(),
            of: None,
            value,
            from,
        });
    }
    rows.extend(several(config));
    Ok(rows)
}

/// Mirrors, buckets and logins, as far as they count.
fn several(config: &Config) -> Vec<Row> {
    let mirrors = config.mirrors.iter().map(|mirror| {
        let prefix = mirror.value.prefix.as_ref();
        (
            prefix.map_or("all names", |prefix| prefix.as_str()).to_owned(),
            &mirror.leaves,
        )
    });
    let buckets = config.buckets.iter().map(|bucket| {
        let name = bucket.value.name.as_deref().unwrap_or_default();
        (format!("{}://{name}", bucket.value.scheme.as_str()), &bucket.leaves)
    });
    let mut hosts: Vec<String> = Vec::new();
    let logins = config.credentials.iter().filter_map(|credential| {
        let host = &credential.value.host;
        let host = credential
            .value
            .port
            .map_or(host.clone(), |port| format!("{host}:{port}"));
        if hosts.contains(&host) {
            return None;
        }
        hosts.push(host.clone());
        Some((host, &credential.leaves))
    });
    let row = |of: String, leaf: &Leaf| Row {
        key: leaf.key.clone(),
        of: Some(of),
        value: leaf.value.clone(),
        from: From::File(leaf.source.clone()),
    };
    let rows = |(of, leaves): (String, &Vec<Leaf>)| leaves.iter().map(|leaf| row(of.clone(), leaf)).collect::<Vec<_>>();
    mirrors.chain(buckets).chain(logins).flat_map(rows).collect()
}

impl Row {
    fn cells(&self) -> [String; 3] {
        let key = match &self.of {
            Some(of) => format!("{} ({of})", self.key),
            None => self.key.clone(),
        };
        let value = match &self.value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let from = match &self.from {
            From::Default => "default".to_owned(),
            From::Option(option) => (*option).to_owned(),
            From::File(source) => source.to_string(),
        };
        [key, value, from]
    }

    fn json(&self) -> Value {
        let source = match &self.from {
            From::Default => json!({ "kind": "default" }),
            From::Option(option) => json!({ "kind": "option", "name": option }),
            From::File(Source { path, line }) => json!({ "kind": "file", "path": path, "line": line }),
        };
        json!({ "key": self.key, "of": self.of, "value": self.value, "source": source })
    }
}
