//! [`Image`]: a builder of small images.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{Outcome, World};

/// An image to be built by `dhow build`, with a static shell in it, so that it runs anywhere.
pub struct Image<'world> {
    world: &'world World,
    rootfs: PathBuf,
    arguments: Vec<String>,
}

impl<'world> Image<'world> {
    pub(crate) fn new(world: &'world World, name: &str) -> Self {
        let rootfs = world.path(&format!("rootfs-{}", name.replace('/', "-")));
        for directory in ["bin", "etc", "tmp"] {
            fs::create_dir_all(rootfs.join(directory)).expect("the world can be written");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let busybox = busybox.expect("busybox is missing: tests/run installs it");
        fs::copy(busybox, rootfs.join("bin/busybox")).expect("the world can be written");
        for tool in ["sh", "cat", "id", "ls", "hostname", "env", "sleep", "true"] {
            let link = rootfs.join("bin").join(tool);
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink("busybox", link).expect("the world can be written");
        }
        let arguments = ["build", "--overwrite", "--owner", "0:0", "--name", name]
            .map(str::to_owned)
            .to_vec();
        Self {
            world,
            rootfs,
            arguments,
        }
    }

    /// Adds a file.
    pub fn file(self, path: &str, content: &[u8]) -> Self {
        let file = self.rootfs.join(path);
        fs::create_dir_all(file.parent().expect("a file is in a directory")).expect("the world can be written");
        fs::write(&file, content).expect("the world can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("the world can be written");
        self
    }

    /// Sets the version.
    pub fn version(self, version: &str) -> Self {
        self.arg("--label").arg(&format!("version={version}"))
    }

    /// Sets what runs, as a command of the shell.
    pub fn shell(self, command: &str) -> Self {
        ["/bin/sh", "-c", command]
            .into_iter()
            .fold(self, |image, word| image.arg("--exec").arg(word))
    }

    /// Adds an argument for `dhow build`.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Builds it as a file of the world, and gives its image ID.
    pub fn build(self, file: &str) -> String {
        let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let (rootfs, output) = (self.rootfs.display().to_string(), self.world.arg(file));
        arguments.extend(["--rootfs", &rootfs, "-o", &output]);
        let outcome: Outcome = self.world.dhow(&arguments);
        outcome.success().trim().to_owned()
    }
}
