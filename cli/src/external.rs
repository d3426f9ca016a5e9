//! Programs beside this one: `dhow NAME …` runs `dhow-NAME …`.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::failure::Usage;

/// Replaces this process by `dhow-NAME` with the rest of the words.
pub(crate) fn external(words: &[OsString]) -> Result<ExitCode> {
    let [name, arguments @ ..] = words else {
        bail!("No command was given")
    };
    execute(name, arguments)
}

/// Replaces this process by the program `dhow-NAME`.
pub(crate) fn execute(name: &OsStr, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<ExitCode> {
    let mut program = OsString::from("dhow-");
    program.push(name);
    let Some(path) = find(&program) else {
        return Err(Usage(format!(
            "`{}` is no command of dhow, and there is no program `{}` beside it or on PATH (see `dhow --help`)",
            name.display(),
            program.display()
        ))
        .into());
    };
    let error = Command::new(&path).args(arguments).exec();
    Err(error).with_context(|| format!("Could not execute `{}`", path.display()))
}

/// Looks beside this program first, so that what was installed together runs together.
pub(crate) fn find(program: &OsStr) -> Option<PathBuf> {
    let beside = env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(program)));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program));
    beside.into_iter().chain(on_path).find(|candidate| candidate.is_file())
}
