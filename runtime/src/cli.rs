//! The commands of `dhow-pod`: each file is one of them.

mod app_args;
mod gc;
mod list;
mod pod_manifest;
mod prepare;
mod rm;
mod run;
mod run_prepared;
mod status;
mod stop;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use nix::unistd::geteuid;

use self::app_args::AppArgs;
use crate::{PodError, console::Console, pod::Pods};

/// Between the apps of one pod, as in rkt.
const SEPARATOR: &str = "---";

/// Runs images of the store as pods
///
/// Images are named by the IDs that `dhow fetch` and `dhow image list` print, or by the beginning of one: this
/// program fetches nothing. `dhow run` takes names and hands over IDs.
#[derive(Debug, Parser)]
#[command(
    name = "dhow-pod",
    version,
    after_help = "Example:\n  dhow-pod run sha512-0123456789ab -- --verbose"
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
struct GlobalArgs {
    /// The data directory [default: /var/lib/dhow for root, $XDG_DATA_HOME/dhow else]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave out warnings
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say how things are done
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Prepare(prepare::PrepareArgs),
    RunPrepared(run_prepared::RunPreparedArgs),
    List(list::ListArgs),
    Status(status::StatusArgs),
    Stop(stop::StopArgs),
    Rm(rm::RmArgs),
    Gc(gc::GcArgs),
    PodManifest(pod_manifest::PodManifestArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What commands work with.
struct Context {
    data: PathBuf,
    console: Console,
}

impl Context {
    fn pods(&self) -> Pods {
        Pods::of(&self.data)
    }
}

/// Does what the command line `args` says, program name first, and gives the process's exit code.
///
/// The process must have one thread. A pod's parent executes itself again with its own arguments and environment, so a
/// program that calls this must come here again when it is started in the same way.
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    close_inherited();
    let args: Vec<OsString> = args.into_iter().collect();
    let mut segments = args.split(|arg| arg == OsStr::new(SEPARATOR));
    let cli = match parse(segments.next().unwrap_or_default(), &segments.collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let console = Console {
        quiet: cli.global.quiet,
        verbose: cli.global.verbose,
    };
    let context = cli
        .global
        .dir
        .or_else(default_data_directory)
        // The parts of a pod change their directories and roots.
        .map(|data| std::path::absolute(&data).unwrap_or(data))
        .map(|data| Context { data, console });
    let result = context
        .ok_or_else(|| PodError::Request {
            problem: "neither `XDG_DATA_HOME` nor `HOME` says where your data are".to_owned(),
            hint: Some("`--dir DIR` names the data directory".to_owned()),
        })
        .and_then(|context| execute(cli.command, &context));
    result.unwrap_or_else(|error| {
        console.error(&error);
        error.exit_code()
    })
}

/// Closes what the caller left open beside the standard streams: through a directory of the host's that an app could
/// name as `/proc/self/fd/N`, it would reach the host (CVE-2024-21626).
fn close_inherited() {
    // SAFETY: nothing has been opened yet in this process, so nobody owns these descriptors.
    unsafe { libc::close_range(3, u32::MAX, 0) };
}

/// Reads the command line: the first segment, and for commands that take several images one more segment for each.
fn parse(first: &[OsString], others: &[&[OsString]]) -> Result<Cli, clap::Error> {
    let mut cli = Cli::try_parse_from(first)?;
    let apps = match &mut cli.command {
        Command::Run(args) => Some(&mut args.apps),
        Command::Prepare(args) => Some(&mut args.apps),
        _ => None,
    };
    match apps {
        Some(apps) => {
            for segment in others {
                apps.others.push(AppArgs::try_parse_segment(segment)?);
            }
        }
        None if others.is_empty() => {}
        None => {
            let text = format!("`{SEPARATOR}` separates the images of `run` and `prepare`, and of no other command");
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
        }
    }
    Ok(cli)
}

fn execute(command: Command, context: &Context) -> Result<ExitCode, PodError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Run(args) => run::run(args, context),
        Command::Prepare(args) => prepare::prepare(args, context).map(done),
        Command::RunPrepared(args) => run_prepared::run_prepared(args, context),
        Command::List(args) => list::list(&args, context).map(done),
        Command::Status(args) => status::status(&args, context).map(done),
        Command::Stop(args) => stop::stop(&args, context).map(done),
        Command::Rm(args) => rm::rm(&args, context).map(done),
        Command::Gc(args) => gc::gc(&args, context).map(done),
        Command::PodManifest(args) => pod_manifest::pod_manifest(&args, context).map(done),
    }
}

fn default_data_directory() -> Option<PathBuf> {
    if geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/dhow"));
    }
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = variable("XDG_DATA_HOME").filter(|path| path.is_absolute());
    Some(
        data.or_else(|| Some(variable("HOME")?.join(".local/share")))?
            .join("dhow"),
    )
}

/// Writes a result to stdout. Whoever stopped reading wants no more.
fn print(text: &str) -> Result<(), PodError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(PodError::Output(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let mut segments = args.split(|arg| arg == OsStr::new(SEPARATOR));
        parse(segments.next().unwrap(), &segments.collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_image_has_its_own_options_and_arguments() {
        let line = "dhow-pod run --set-env A=1 sha512-0123456789ab --exec /bin/a -- -x --- sha512-ba9876543210 --user web -- -y z";
        let Command::Run(args) = parsed(line).unwrap().command else {
            panic!("another command")
        };
        let apps: Vec<_> = args.apps.into_requests();
        assert_eq!(apps.len(), 2);
        assert_eq!(apps[0].exec.as_deref(), Some("/bin/a"));
        assert_eq!(apps[0].arguments, ["-x"]);
        assert_eq!(apps[1].user.as_deref(), Some("web"));
        assert_eq!(apps[1].arguments, ["-y", "z"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "dhow-pod run",
            "dhow-pod run not-an-id",
            "dhow-pod list --- sha512-0123456789ab",
            "dhow-pod run sha512-0123456789ab --- --net host",
            "dhow-pod run sha512-0123456789ab --environment A",
            "dhow-pod run sha512-0123456789ab --caps-retain CAP_KILL --caps-remove CAP_KILL",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
