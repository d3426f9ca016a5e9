//! `dhow-mirror`, which users also call `dhow mirror`.

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

mod serve;

/// Serves App Container images inside your own network
///
/// Clients keep the names and the signatures that they use elsewhere. A mirror needs no keys.
#[derive(Debug, Parser)]
#[command(
    name = "dhow-mirror",
    version,
    arg_required_else_help = true,
    after_help = "Example:\n  \
    dhow mirror serve --site /srv/site --tls-cert cert.pem --tls-key key.pem"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Logs each request on stderr; twice, also what happens inside
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = match arguments.verbose {
        0 => "warn",
        1 => "warn,dhow_mirror=info",
        _ => "info,dhow_mirror=debug,dhow_site=debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let result = match arguments.command {
        Command::Serve(serve) => serve.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program's errors belong there")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  cause: {cause}");
    }
}

/// 3 if a file that was named does not exist, else 1. Wrong usage, 2, is clap's.
fn exit_code(error: &anyhow::Error) -> u8 {
    let is_missing = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    });
    if is_missing { 3 } else { 1 }
}
