//! `dhow`: publish, find, verify, fetch and run signed application images.
//!
//! ```text
//!   arguments ──► a file for each command ──► the libraries
//!                      │
//!                   Context: data directory, keyring, network, how results are printed
//! ```
//!
//! Each command parses, calls and prints; what it does is in the libraries. `dhow run` and its kin execute
//! `dhow-pod`, and a command that is not known here executes `dhow-NAME`, as git and cargo do.

#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "the comments of arguments are their help, which a terminal shows as it is"
)]

mod arguments;
mod build;
mod bundle;
mod catalog;
mod config;
mod context;
mod convert;
mod decrypt;
mod discover;
mod encrypt;
mod epoch;
mod external;
mod failure;
mod fetch;
mod image;
mod inspect;
mod key;
mod manifest;
mod output;
mod passphrase;
mod patch;
mod progress;
mod publish;
mod quantity;
mod run;
mod search;
mod seed;
mod sign;
mod site;
mod store;
mod swarm;
mod table;
mod trust;
mod validate;
mod verify;
mod withdraw;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let context = context::Context::new(arguments.global);
    context.start_logging();
    let result = match arguments.command {
        Command::Build(options) => build::build(&context, *options),
        Command::Validate(options) => return failure::exit_code(validate::validate(&context, options)),
        Command::Inspect(options) => inspect::inspect(&context, options),
        Command::Manifest(options) => manifest::manifest(&context, options),
        Command::Patch(options) => patch::patch(&context, *options),
        Command::Convert(options) => convert::convert(&context, options),
        Command::Key(command) => key::key(&context, command),
        Command::Sign(options) => sign::sign(&context, options),
        Command::Verify(options) => verify::verify(&context, options),
        Command::Encrypt(options) => encrypt::encrypt(&context, options),
        Command::Decrypt(options) => decrypt::decrypt(&context, options),
        Command::Publish(options) => publish::publish(&context, *options),
        Command::Yank(options) => withdraw::yank(&context, options),
        Command::Unpublish(options) => withdraw::unpublish(&context, options),
        Command::Search(options) => search::search(&context, options),
        Command::Versions(options) => search::versions(&context, options),
        Command::Bundle(command) => bundle::bundle(&context, command),
        Command::Discover(options) => discover::discover(&context, options),
        Command::Trust(command) => trust::trust(&context, command),
        Command::Fetch(options) => fetch::fetch(&context, *options),
        Command::Seed(options) => seed::seed(&context, options),
        Command::Image(command) => return failure::exit_code(image::image(&context, command)),
        Command::Store(command) => return failure::exit_code(store::store(&context, command)),
        Command::Config(options) => config::config(&context, options),
        Command::Run(options) => return failure::exit_code(run::run(&context, options)),
        Command::Pods(command) => return failure::exit_code(run::pods(&context, command)),
        Command::External(words) => return failure::exit_code(external::external(&words)),
    };
    failure::exit_code(result.map(|()| ExitCode::SUCCESS))
}
