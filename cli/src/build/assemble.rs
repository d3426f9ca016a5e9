//! Making a root file system by the steps of a build file.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown, lchown, symlink},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use dhow_image::{OwnerMap, Reference};

use super::{
    build_file::{BuildFile, Copy, Step},
    in_root::{Directory, beneath},
    run_step,
};
use crate::{
    context::{Context, is_root},
    fetch::{Pull, ensure},
};

/// Makes the root file system that `file` describes in `rootfs`, which is new and empty. `scratch` is for what the
/// steps need meanwhile, on the same file system.
pub(crate) fn assemble(context: &Context, file: &BuildFile, rootfs: &Path, scratch: &Path) -> Result<()> {
    if let Some(base) = &file.base {
        let reference: Reference = base.parse()?;
        let id = ensure(context, &reference, Pull::New)?;
        context.say(format_args!("Copying in `{base}`"));
        context.store()?.extract(&id, rootfs)?;
    }
    for (number, step) in file.steps.iter().enumerate() {
        let number = number + 1;
        match step {
            Step::Copy(step) => {
                context.say(format_args!("Step {number}: copying `{}`", step.copy.display()));
                copy(&file.directory, step, rootfs)
                    .with_context(|| format!("Step {number} could not copy `{}`", step.copy.display()))?;
            }
            Step::Run(step) => {
                context.say(format_args!("Step {number}: running {}", step.run));
                run_step::run(step, rootfs, &scratch.join(format!("step-{number}")))
                    .with_context(|| format!("Step {number} failed: {}", step.run))?;
            }
        }
    }
    Ok(())
}

fn copy(directory: &Path, step: &Copy, rootfs: &Path) -> Result<()> {
    // Held open, so that nothing else takes its place meanwhile.
    let (_held, source) = beneath(directory, &step.copy)?;
    let owner: OwnerMap = step.owner.as_deref().unwrap_or("0:0").parse()?;
    let mode = step
        .mode
        .as_deref()
        .map(|text| u32::from_str_radix(text, 8))
        .transpose();
    let mode = mode.with_context(|| format!("`{}` is no octal mode", step.mode.as_deref().unwrap_or_default()))?;
    let copier = Copier { owner, mode };
    let metadata = fs::symlink_metadata(&source).with_context(|| format!("Could not read `{}`", source.display()))?;
    if metadata.is_dir() {
        return copier.content(&source, rootfs, &step.to);
    }
    let (Some(parent), Some(name)) = (step.to.parent(), step.to.file_name()) else {
        bail!("`{}` is no place for a file", step.to.display());
    };
    copier.file(&source, &metadata, &Directory::in_root(rootfs, parent)?.join(name))
}

struct Copier {
    owner: OwnerMap,
    mode: Option<u32>,
}

impl Copier {
    /// Copies what is in a directory into another, which may be there already.
    fn content(&self, source: &Path, rootfs: &Path, target: &Path) -> Result<()> {
        let into = Directory::in_root(rootfs, target)?;
        let in_source = || format!("Could not read `{}`", source.display());
        for entry in fs::read_dir(source).with_context(in_source)? {
            let entry = entry.with_context(in_source)?;
            let (path, name) = (entry.path(), entry.file_name());
            let metadata = fs::symlink_metadata(&path).with_context(in_source)?;
            if metadata.is_dir() {
                let target = target.join(&name);
                let was_there = fs::symlink_metadata(into.join(&name)).is_ok();
                self.content(&path, rootfs, &target)?;
                // A directory of the image keeps what it has: it may be reached through a link, and be used by others.
                if !was_there {
                    self.finish(&metadata, &Directory::in_root(rootfs, &target)?.path(), metadata.mode())?;
                }
            } else {
                self.file(&path, &metadata, &into.join(&name))?;
            }
        }
        Ok(())
    }

    fn file(&self, source: &Path, metadata: &Metadata, target: &Path) -> Result<()> {
        let copied = || -> io::Result<()> {
            match fs::remove_file(target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if metadata.is_symlink() {
                symlink(fs::read_link(source)?, target)?;
                let (user, group) = self.owner.map(0, 0);
                return if is_root() {
                    lchown(target, Some(user), Some(group))
                } else {
                    Ok(())
                };
            }
            if !metadata.is_file() {
                return Err(io::Error::other(
                    "only files, directories and symbolic links are copied",
                ));
            }
            let mut file = fs::File::create_new(target)?;
            io::copy(&mut fs::File::open(source)?, &mut file)?;
            self.finish(metadata, target, self.mode.unwrap_or(metadata.mode()))
        };
        copied().with_context(|| format!("Could not copy `{}`", source.display()))
    }

    /// Gives a file that was just made its owner, time and mode.
    fn finish(&self, metadata: &Metadata, target: &Path, mode: u32) -> io::Result<()> {
        let file = fs::File::open(target)?;
        if is_root() {
            let (user, group) = self.owner.map(0, 0);
            fchown(&file, Some(user), Some(group))?;
        }
        file.set_modified(metadata.modified()?)?;
        file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))
    }
}

/// Moves `source` to the place of `target`, whatever is there.
pub(super) fn replace(source: &Path, target: &Path) -> io::Result<()> {
    remove(target)?;
    fs::rename(source, target)
}

/// Removes what is at `path`, if anything is.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
