//! `dhow build`.

mod assemble;
mod build_file;
mod in_root;
mod manifest;
mod run_step;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_image::{BuildOptions, Compression, MountPoint, Name, OwnerMap, Port, Selection};
use dhow_store::Store;
use tempfile::TempDir;

use self::{assemble::assemble, build_file::BuildFile, manifest::manifest};
use crate::{
    context::{Context, print},
    epoch::source_date_epoch,
    output::{Readers, check_free, write_whole},
    table::size,
};

/// Builds an image from a directory, or by the steps of a build file.
///
/// The same directory and flags give the same image ID, on any machine. The manifest is made from the flags, or taken
/// from a file and completed by them. Times later than SOURCE_DATE_EPOCH, if that is set, become it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow build --rootfs ./root --name example.com/app --label version=1.0.0 --exec /bin/app --exec --serve -o app.aci
  dhow build --file BUILD.toml -o app.aci")]
pub(crate) struct BuildArguments {
    /// The directory that becomes the image's root file system
    #[arg(long, value_name = "DIR", required_unless_present = "file")]
    rootfs: Option<PathBuf>,
    /// A build file: base image, steps, and what the manifest says
    #[arg(long, short, value_name = "BUILD.toml", conflicts_with_all = ["rootfs", "manifest"])]
    file: Option<PathBuf>,
    /// The image's name, as in example.com/app
    #[arg(long, required_unless_present_any = ["manifest", "file"])]
    name: Option<Name>,
    /// A label, as in version=1.0.0; os and arch are this machine's unless given or --no-arch is
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// The image runs on any system: no os and arch labels are added
    #[arg(long)]
    no_arch: bool,
    /// The program to run, then each of its arguments, or all after `--`
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    exec: Vec<String>,
    /// The user that it runs as: a name, a number, or a path whose owner is meant
    #[arg(long)]
    user: Option<String>,
    /// The group that it runs as
    #[arg(long)]
    group: Option<String>,
    /// Where it starts
    #[arg(long, value_name = "DIR")]
    working_directory: Option<String>,
    /// A variable of its environment
    #[arg(long = "environment", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// A place for a volume: NAME,path=/PATH[,readOnly=true]
    #[arg(long = "mount-point", value_name = "SPEC")]
    mount_points: Vec<MountPoint>,
    /// A port that it listens on: NAME,port=80[,protocol=tcp][,count=1][,socketActivated=true]
    #[arg(long = "port", value_name = "SPEC")]
    ports: Vec<Port>,
    /// The only capabilities that it keeps, a list, as in CAP_NET_BIND_SERVICE
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    capabilities: Vec<String>,
    /// An annotation, as in homepage=https://example.com
    #[arg(long = "annotation", value_name = "NAME=VALUE")]
    annotations: Vec<String>,
    /// A manifest to begin with
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Makes all files belong to this user and group, as in 0:0; numbers
    #[arg(long, value_name = "UID:GID", conflicts_with_all = ["map_users", "map_groups"])]
    owner: Option<OwnerMap>,
    /// Makes the files of one user belong to another, as in 1000=0
    #[arg(long = "map-user", value_name = "FROM=TO")]
    map_users: Vec<String>,
    /// Makes the files of one group belong to another, as in 1000=0
    #[arg(long = "map-group", value_name = "FROM=TO")]
    map_groups: Vec<String>,
    /// Leaves out what this pattern matches, as in a .gitignore: '*.pyc', '/tmp/*', '!/tmp/keep'
    #[arg(long = "exclude", value_name = "PATTERN", allow_hyphen_values = true)]
    excludes: Vec<String>,
    /// Leaves out what the patterns in this file match
    #[arg(long = "exclude-from", value_name = "FILE")]
    exclude_files: Vec<PathBuf>,
    /// Packs only the files that are listed in this file, a path a line, and the directories that lead to them
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// How the archive is compressed: none, gzip, bzip2, xz or zstd
    #[arg(long, default_value_t = Compression::Gzip)]
    compression: Compression,
    /// Overwrites the output file if it is there
    #[arg(long)]
    overwrite: bool,
    /// The archive to write
    #[arg(long, short, value_name = "FILE.aci")]
    output: PathBuf,
    /// The program and its arguments
    #[arg(last = true, value_name = "EXEC")]
    words: Vec<String>,
}

pub(crate) fn build(context: &Context, options: BuildArguments) -> Result<()> {
    let file = options.file.as_deref().map(BuildFile::read).transpose()?;
    let manifest = manifest(&options, file.as_ref())?;
    check_free(&options.output, options.overwrite)?;
    let build_options = BuildOptions {
        compression: options.compression,
        source_date_epoch: source_date_epoch()?,
        owners: owners(&options)?,
        selection: selection(&options, file.as_ref())?,
    };
    let failed = || format!("Could not build `{}`", options.output.display());
    let rootfs = Rootfs::of(context, &options, file.as_ref()).with_context(failed)?;
    let built = write_whole(&options.output, Readers::Everyone, |file| {
        Ok(dhow_image::build(&manifest, &rootfs.path(), &build_options, file)?)
    })
    .with_context(failed)?;
    for socket in &built.sockets {
        context.say(format_args!(
            "warning: left out the socket `{}`: no archive can hold one",
            socket.display()
        ));
    }
    context.say(format_args!(
        "Built `{}`: {} entries, {} as a tar",
        options.output.display(),
        built.entries,
        size(built.tar_size)
    ));
    print(built.id);
    Ok(())
}

/// Where the files of the image are.
enum Rootfs {
    /// Where the user says.
    There(PathBuf),
    /// In `rootfs` of a directory that goes when the build is over, before the store is let go of.
    Made { directory: TempDir, _store: Box<Store> },
}

impl Rootfs {
    fn of(context: &Context, options: &BuildArguments, file: Option<&BuildFile>) -> Result<Self> {
        match (&options.rootfs, file) {
            (Some(rootfs), _) => Ok(Self::There(rootfs.clone())),
            (None, Some(file)) => {
                // The store's own directory for what is being made is emptied if this process is killed.
                let store = context.store()?;
                let tmp = store.tmp_dir();
                let directory = tempfile::Builder::new().prefix("build-").tempdir_in(tmp)?;
                let rootfs = directory.path().join("rootfs");
                fs::create_dir(&rootfs)?;
                assemble(context, file, &rootfs, directory.path())?;
                Ok(Self::Made {
                    directory,
                    _store: Box::new(store),
                })
            }
            (None, None) => bail!("The image needs files: give --rootfs or --file"),
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::There(path) => path.clone(),
            Self::Made { directory, .. } => directory.path().join("rootfs"),
        }
    }
}

fn owners(options: &BuildArguments) -> Result<OwnerMap> {
    let mut owners = options.owner.clone().unwrap_or_default();
    for text in &options.map_users {
        owners.add_user(text)?;
    }
    for text in &options.map_groups {
        owners.add_group(text)?;
    }
    Ok(owners)
}

fn selection(options: &BuildArguments, file: Option<&BuildFile>) -> Result<Selection> {
    let mut patterns = file.map(|file| file.exclude.clone()).unwrap_or_default();
    for path in &options.exclude_files {
        let text = fs::read_to_string(path).with_context(|| format!("Could not read `{}`", path.display()))?;
        patterns.extend(text.lines().map(str::to_owned));
    }
    patterns.extend(options.excludes.iter().cloned());
    let mut selection = Selection::default();
    selection.exclude(patterns)?;
    if let Some(list) = &options.files_from {
        selection.read_list(list)?;
    }
    Ok(selection)
}
