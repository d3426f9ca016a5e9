//! `dhow run` and the other commands for pods, which `dhow-pod` executes.
//!
//! `run` and `prepare` fetch first, as the user who runs them, and hand over image IDs: whoever runs images never
//! fetches. Every other word goes to `dhow-pod` as it stands.

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use dhow_image::Reference;

use crate::{
    arguments::Global,
    context::Context,
    external::execute,
    fetch::{Pull, ensure},
};

/// Fetches images and runs them as the apps of one pod; exits as they do.
///
/// Options after an image are that app's own. `---` separates images; what stands after `--` is passed to the app.
/// `dhow-pod run --help` lists the options of pods and apps: volumes, users, environment, network and more.
#[derive(Args)]
#[command(
    override_usage = "dhow run [--pull new|update|never] [POD OPTIONS] REF [APP OPTIONS] [-- ARGS] [--- REF …]",
    after_help = "\
Examples:
  dhow run example.com/app:1.0.0 -- --verbose
  dhow run --volume data,kind=host,source=/srv/data example.com/app --exec /bin/sh -- -c 'ls /data'"
)]
pub(crate) struct RunArguments {
    /// References, options of pods and apps, and arguments
    #[arg(
        value_name = "REF",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<OsString>,
}

/// Commands that `dhow-pod` executes.
#[derive(Subcommand)]
pub(crate) enum PodCommand {
    /// Fetches images and makes a pod of them, to be run later: takes what `run` takes.
    #[command(after_help = "Example:\n  dhow run-prepared $(dhow prepare example.com/app)")]
    Prepare(RunArguments),
    /// Runs a pod that was prepared.
    #[command(disable_help_flag = true)]
    RunPrepared(Words),
    /// Lists the pods.
    #[command(disable_help_flag = true)]
    List(Words),
    /// Shows how a pod is, and how its apps ended.
    #[command(disable_help_flag = true)]
    Status(Words),
    /// Stops running pods.
    #[command(disable_help_flag = true)]
    Stop(Words),
    /// Removes pods that are not running.
    #[command(disable_help_flag = true)]
    Rm(Words),
    /// Collects pods that have ended.
    #[command(disable_help_flag = true)]
    Gc(Words),
    /// Prints a pod's manifest.
    #[command(disable_help_flag = true)]
    PodManifest(Words),
}

/// What is handed to `dhow-pod` as it stands.
#[derive(Args)]
pub(crate) struct Words {
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub(crate) fn run(context: &Context, options: RunArguments) -> Result<ExitCode> {
    with_images(context, "run", options)
}

pub(crate) fn pods(context: &Context, command: PodCommand) -> Result<ExitCode> {
    let (name, words) = match command {
        PodCommand::Prepare(options) => return with_images(context, "prepare", options),
        PodCommand::RunPrepared(words) => ("run-prepared", words),
        PodCommand::List(words) => ("list", words),
        PodCommand::Status(words) => ("status", words),
        PodCommand::Stop(words) => ("stop", words),
        PodCommand::Rm(words) => ("rm", words),
        PodCommand::Gc(words) => ("gc", words),
        PodCommand::PodManifest(words) => ("pod-manifest", words),
    };
    hand_over(context, name, words.words)
}

/// Replaces this process by `dhow-pod NAME …`.
fn hand_over(context: &Context, name: &str, words: Vec<OsString>) -> Result<ExitCode> {
    let mut arguments = vec![name.into(), "--dir".into(), context.data_dir()?.into_os_string()];
    if context.global.quiet {
        arguments.push("--quiet".into());
    }
    if context.global.verbose > 0 {
        arguments.push("--verbose".into());
    }
    arguments.extend(words);
    execute(OsStr::new("pod"), arguments)
}

/// Fetches what the words name, and hands over their IDs in their places.
fn with_images(context: &Context, name: &str, options: RunArguments) -> Result<ExitCode> {
    let Split { own, pod } = split(options.words);
    let own = Own::try_parse_from(own).unwrap_or_else(|error| error.exit());
    let context = Context::new(context.global.clone().overridden_by(own.global));
    let mut words = Vec::new();
    for word in pod {
        match word {
            Word::Pod(word) => words.push(word),
            Word::Reference(word) => {
                let text = word
                    .to_str()
                    .with_context(|| format!("`{}` is no image reference", word.display()))?;
                let reference: Reference = text.parse()?;
                words.push(ensure(&context, &reference, own.pull)?.to_string().into());
            }
        }
    }
    hand_over(&context, name, words)
}

/// Those options of `dhow run` that may stand among the pod's.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Own {
    #[command(flatten)]
    global: Global,
    /// When to look for a newer image
    #[arg(long, value_enum, default_value_t)]
    pull: Pull,
}

const OWN_WITH_VALUE: [&str; 6] = [
    "--dir",
    "--config-dir",
    "--insecure-options",
    "--ca",
    "--connect-to",
    "--pull",
];
const OWN_WITHOUT_VALUE: [&str; 5] = ["--offline", "--quiet", "-q", "--verbose", "-v"];
/// The pod's options without a value; after any other, the next word is its value and no reference.
const POD_WITHOUT_VALUE: [&str; 6] = [
    "--inherit-env",
    "--readonly-rootfs",
    "--rm",
    "--interactive",
    "-t",
    "--help",
];

struct Split {
    own: Vec<OsString>,
    pod: Vec<Word>,
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// The first word of each segment that is neither an option nor the value of one.
    Reference(OsString),
    Pod(OsString),
}

fn split(words: Vec<OsString>) -> Split {
    let mut split = Split {
        own: Vec::new(),
        pod: Vec::new(),
    };
    let mut has_reference = false;
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--" {
            // Arguments of the app, up to the next image.
            split.pod.push(Word::Pod(word));
            for word in words.by_ref() {
                let ends = word == "---";
                split.pod.push(Word::Pod(word));
                if ends {
                    has_reference = false;
                    break;
                }
            }
        } else if text == "---" {
            has_reference = false;
            split.pod.push(Word::Pod(word));
        } else if OWN_WITHOUT_VALUE.contains(&text.as_str()) {
            split.own.push(word);
        } else if OWN_WITH_VALUE.contains(&text.split('=').next().unwrap_or_default()) {
            split.own.push(word);
            if !text.contains('=') {
                split.own.extend(words.next());
            }
        } else if text.starts_with('-') {
            split.pod.push(Word::Pod(word));
            if !text.contains('=') && !POD_WITHOUT_VALUE.contains(&text.as_str()) {
                split.pod.extend(words.next().map(Word::Pod));
            }
        } else if has_reference {
            split.pod.push(Word::Pod(word));
        } else {
            has_reference = true;
            split.pod.push(Word::Reference(word));
        }
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_options_and_their_values() {
        let line = "--volume data,kind=empty --rm example.com/a --pull never --name x --dir=/d -- --dir y --- -t example.com/b -- z";
        let Split { own, pod } = split(line.split(' ').map(OsString::from).collect());
        assert_eq!(own, ["--pull", "never", "--dir=/d"]);
        let references: Vec<_> = pod.iter().filter(|word| matches!(word, Word::Reference(_))).collect();
        let expected = ["example.com/a", "example.com/b"].map(|text| Word::Reference(text.into()));
        assert_eq!(references, expected.iter().collect::<Vec<_>>());
        let rest = pod.into_iter().map(|word| match word {
            Word::Reference(word) | Word::Pod(word) => word.into_string().unwrap(),
        });
        let expected = "--volume data,kind=empty --rm example.com/a --name x -- --dir y --- -t example.com/b -- z";
        assert_eq!(rest.collect::<Vec<_>>().join(" "), expected);
    }
}
