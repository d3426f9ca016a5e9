//! `dhow-pod list`.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use dhow_image::{PodApp, PodManifest};
use serde::Serialize;

use super::{Context, Format, print};
use crate::{
    PodError, ages,
    app_status::AppStatus,
    pod::{PodDirectory, PodState},
};

/// List the pods
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod list --full")]
pub(super) struct ListArgs {
    /// Show whole UUIDs, image IDs and times
    #[arg(long)]
    full: bool,
    /// Leave out the heading
    #[arg(long)]
    no_legend: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What is shown of a pod.
#[derive(Debug, Serialize)]
pub(super) struct PodSummary {
    uuid: String,
    pub(super) state: PodState,
    apps: Vec<AppSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
}

#[derive(Debug, Serialize)]
struct AppSummary {
    name: String,
    image_name: String,
    image_id: String,
    /// As a shell reports it, once the app has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

/// Prints one line for each app of each pod.
pub(super) fn list(args: &ListArgs, context: &Context) -> Result<(), PodError> {
    let pods = context.pods().all()?;
    // A pod that is removed meanwhile is left out.
    let summaries: Vec<_> = pods
        .iter()
        .filter(|pod| pod.path().exists())
        .map(PodSummary::of)
        .collect::<Result<_, _>>()?;
    if args.format == Format::Json {
        return print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&summaries).expect("a summary is plain data")
        ));
    }
    let mut rows = Vec::new();
    if !args.no_legend {
        let mut heading = vec!["UUID", "APP", "IMAGE NAME", "IMAGE ID", "STATE", "CREATED", "STARTED"];
        if !args.full {
            heading.remove(3);
        }
        rows.push(heading.into_iter().map(str::to_owned).collect());
    }
    for summary in &summaries {
        rows.extend(summary.rows(args.full));
    }
    print(&table(&rows))
}

impl PodSummary {
    pub(super) fn of(pod: &PodDirectory) -> Result<Self, PodError> {
        let state = pod.state()?;
        // A pod that is being made, or whose making was cut short, has no manifest.
        let apps = pod
            .manifest()
            .map_or_else(|_| Vec::new(), |manifest: PodManifest| manifest.apps);
        Ok(Self {
            uuid: pod.id().to_string(),
            state,
            apps: apps
                .iter()
                .map(|app| AppSummary::of(app, pod.app_status(&app.name)))
                .collect(),
            created: pod.created().ok(),
            started: pod.started(),
            pid: pod
                .pid()
                .filter(|_| state == PodState::Running)
                .map(nix::unistd::Pid::as_raw),
        })
    }

    /// The pod for people, one fact a line (rkt status).
    pub(super) fn lines(&self) -> String {
        let mut text = format!("state={}\n", self.state);
        for (name, time) in [("created", self.created), ("started", self.started)] {
            if let Some(time) = time {
                text.push_str(&format!("{name}={}\n", exact(time)));
            }
        }
        if let Some(pid) = self.pid {
            text.push_str(&format!("pid={pid}\n"));
        }
        let exited = matches!(self.state, PodState::Exited | PodState::Garbage);
        text.push_str(&format!("exited={exited}\n"));
        for app in &self.apps {
            if let Some(code) = app.exit_code {
                text.push_str(&format!("app-{}={code}\n", app.name));
            }
        }
        text
    }

    fn rows(&self, full: bool) -> Vec<Vec<String>> {
        let now = Utc::now();
        let show = |time: Option<DateTime<Utc>>| match time {
            Some(time) if full => exact(time),
            Some(time) => ages::ago(time, now),
            None => String::new(),
        };
        let uuid = if full {
            self.uuid.clone()
        } else {
            self.uuid[..8].to_owned()
        };
        let mut facts = vec![self.state.to_string(), show(self.created), show(self.started)].into_iter();
        let mut rows: Vec<Vec<String>> = self.apps.iter().map(|app| app.cells(full)).collect();
        if rows.is_empty() {
            rows.push(vec![String::new(); if full { 3 } else { 2 }]);
        }
        for (index, row) in rows.iter_mut().enumerate() {
            // What is the pod's stands in its first line only.
            row.insert(0, if index == 0 { uuid.clone() } else { String::new() });
            row.extend(facts.by_ref().take(3));
        }
        rows
    }
}

impl AppSummary {
    fn of(app: &PodApp, status: Option<AppStatus>) -> Self {
        let version = app
            .image
            .labels
            .get("version")
            .map_or_else(String::new, |version| format!(":{version}"));
        let name = app
            .image
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!("{name}{version}"));
        Self {
            name: app.name.to_string(),
            image_name: name,
            image_id: app.image.id.to_string(),
            exit_code: status.map(AppStatus::code),
        }
    }

    fn cells(&self, full: bool) -> Vec<String> {
        let mut cells = vec![self.name.clone(), self.image_name.clone()];
        if full {
            cells.push(self.image_id.clone());
        }
        cells
    }
}

fn exact(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_two_apps_takes_two_lines() {
        let app = |name: &str| AppSummary {
            name: name.to_owned(),
            image_name: format!("example.com/{name}:1"),
            image_id: "sha512-00".to_owned(),
            exit_code: Some(0),
        };
        let pod = PodSummary {
            uuid: "5bc080ca-9e03-480d-b705-5928af396cc5".to_owned(),
            state: PodState::Running,
            apps: vec![app("redis"), app("etcd")],
            created: None,
            started: None,
            pid: Some(7),
        };
        let expected = "5bc080ca  redis  example.com/redis:1  running\n          etcd   example.com/etcd:1\n";
        assert_eq!(table(&pod.rows(false)), expected);
        assert_eq!(
            pod.lines(),
            "state=running\npid=7\nexited=false\napp-redis=0\napp-etcd=0\n"
        );
    }
}
