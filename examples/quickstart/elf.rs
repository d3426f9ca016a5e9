//! Copies programs of this machine, with the shared libraries that their ELF headers name.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use goblin::elf::Elf;

/// Where loaders look beside what `/etc/ld.so.conf` says.
const LIBRARY_DIRS: [&str; 8] = [
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// Copies each program that this machine has, and all that it is linked with, to the same paths beneath `rootfs`.
/// Gives the paths of the programs.
pub(crate) fn copy_programs(names: &[&str], rootfs: &Path) -> Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    let mut copied = BTreeSet::new();
    for name in names {
        let found = ["/bin", "/usr/bin"]
            .iter()
            .map(|dir| Path::new(dir).join(name))
            .find(|path| path.is_file());
        if let Some(program) = found {
            copy_linked(&program, rootfs, &mut copied)?;
            programs.push(program);
        }
    }
    Ok(programs)
}

/// Copies a file to its own path beneath `rootfs`, following links, and then whatever its ELF headers name.
fn copy_linked(file: &Path, rootfs: &Path, copied: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !copied.insert(file.to_owned()) {
        return Ok(());
    }
    let in_file = || format!("Could not copy `{}`", file.display());
    let bytes = fs::read(file).with_context(in_file)?;
    let relative = file
        .strip_prefix("/")
        .context("programs and libraries have absolute paths")?;
    let target = rootfs.join(relative);
    fs::create_dir_all(target.parent().context("a file is in a directory")?)?;
    fs::write(&target, &bytes).with_context(in_file)?;
    fs::set_permissions(&target, fs::metadata(file)?.permissions())?;

    let Ok(elf) = Elf::parse(&bytes) else { return Ok(()) };
    if let Some(interpreter) = elf.interpreter {
        copy_linked(Path::new(interpreter), rootfs, copied)?;
    }
    let origin = file
        .canonicalize()?
        .parent()
        .context("a file is in a directory")?
        .display()
        .to_string();
    let own = elf.runpaths.iter().chain(&elf.rpaths).flat_map(|path| path.split(':'));
    let own: Vec<_> = own
        .map(|dir| PathBuf::from(dir.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin)))
        .collect();
    for library in &elf.libraries {
        let dirs = own
            .iter()
            .cloned()
            .chain(LIBRARY_DIRS.iter().map(PathBuf::from))
            .chain(configured_dirs());
        let found = dirs.map(|dir| dir.join(library)).find(|path| path.is_file());
        let found = found.with_context(|| format!("`{}` needs `{library}`, which is nowhere", file.display()))?;
        copy_linked(&found, rootfs, copied)?;
    }
    Ok(())
}

/// The directories of `/etc/ld.so.conf` and the files that it includes, as Debian and Fedora have them.
fn configured_dirs() -> Vec<PathBuf> {
    let included = fs::read_dir("/etc/ld.so.conf.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let texts = included
        .chain(["/etc/ld.so.conf".into()])
        .filter_map(|path| fs::read_to_string(path).ok());
    let lines = texts.flat_map(|text| text.lines().map(str::trim).map(PathBuf::from).collect::<Vec<_>>());
    lines.filter(|dir| dir.is_absolute()).collect()
}
