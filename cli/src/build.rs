//! `dhow build`.

mod assemble;
mod build_file;
mod in_root;
mod run_step;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use dhow_image::{
    App, BuildOptions, Compression, EnvironmentVariable, ImageManifest, Isolator, MountPoint, Name, OwnerMap, Port,
    Selection,
};

use self::{assemble::assemble, build_file::BuildFile};
use crate::{
    context::{Context, print},
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
    mount_points: Vec<String>,
    /// A port that it listens on: NAME,protocol=tcp,port=80
    #[arg(long = "port", value_name = "SPEC")]
    ports: Vec<String>,
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
    /// How the archive is compressed
    #[arg(long, value_enum, default_value_t = CompressionName::Gzip)]
    compression: CompressionName,
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

#[derive(Clone, Copy, ValueEnum)]
enum CompressionName {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

pub(crate) fn build(context: &Context, options: BuildArguments) -> Result<()> {
    let file = options.file.as_deref().map(BuildFile::read).transpose()?;
    let manifest = manifest(&options, file.as_ref())?;
    let source_date_epoch = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => Some(
            text.parse()
                .with_context(|| format!("SOURCE_DATE_EPOCH is `{text}`, which is no number"))?,
        ),
        Err(_) => None,
    };
    if options.output.exists() && !options.overwrite {
        bail!("`{}` exists: --overwrite replaces it", options.output.display());
    }
    let build_options = BuildOptions {
        compression: match options.compression {
            CompressionName::None => Compression::None,
            CompressionName::Gzip => Compression::Gzip,
            CompressionName::Bzip2 => Compression::Bzip2,
            CompressionName::Xz => Compression::Xz,
            CompressionName::Zstd => Compression::Zstd,
        },
        source_date_epoch,
        owners: owners(&options)?,
        selection: selection(&options, file.as_ref())?,
    };
    let failed = || format!("Could not build `{}`", options.output.display());
    let mut workshop = None;
    let rootfs = match (&options.rootfs, &file) {
        (Some(rootfs), _) => rootfs.clone(),
        (None, Some(file)) => {
            // Where the store is there is room for images, on a disk.
            let data = context.data_dir()?;
            fs::create_dir_all(&data).with_context(|| format!("Could not make `{}`", data.display()))?;
            let directory = workshop.insert(tempfile::Builder::new().prefix(".build-").tempdir_in(data)?);
            let rootfs = directory.path().join("rootfs");
            fs::create_dir(&rootfs)?;
            assemble(context, file, &rootfs, directory.path()).with_context(failed)?;
            rootfs
        }
        (None, None) => bail!("The image needs files: give --rootfs or --file"),
    };
    let built = write_whole(&options.output, |file| {
        Ok(dhow_image::build(&manifest, &rootfs, &build_options, file)?)
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

/// Writes a file whole or not at all: under another name beside its place, renamed at the end.
fn write_whole<T>(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<T>) -> Result<T> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".dhow-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .with_context(|| format!("Could not write in `{}`", directory.display()))?;
    let mut file = BufWriter::with_capacity(128 << 10, temporary.as_file().try_clone()?);
    let value = write(&mut file)?;
    file.flush()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(value)
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

/// The manifest that the flags describe.
fn manifest(options: &BuildArguments, file: Option<&BuildFile>) -> Result<ImageManifest> {
    let mut manifest = match (&options.manifest, &options.name) {
        _ if file.is_some() => file
            .map(BuildFile::manifest)
            .transpose()?
            .expect("there is a build file"),
        (Some(path), _) => {
            let json = fs::read(path).with_context(|| format!("Could not read `{}`", path.display()))?;
            ImageManifest::from_json(&json).with_context(|| format!("`{}` is no valid manifest", path.display()))?
        }
        (None, Some(name)) => ImageManifest::new(name.clone()),
        (None, None) => bail!("The image needs a name: give --name or --manifest"),
    };
    if let Some(name) = &options.name {
        manifest.name = name.clone();
    }
    for (name, value) in options
        .labels
        .iter()
        .map(|text| pair(text))
        .collect::<Result<Vec<_>>>()?
    {
        manifest.labels.insert(Name::new(name)?, value)?;
    }
    if !options.no_arch && options.manifest.is_none() && manifest.labels.get("os").is_none() {
        for label in dhow_discovery::host_labels().iter() {
            if manifest.labels.get(label.name.as_str()).is_none() {
                manifest.labels.insert(label.name.clone(), label.value.clone())?;
            }
        }
    }
    for text in &options.annotations {
        let (name, value) = pair(text)?;
        manifest.annotations.push(dhow_image::Annotation {
            name: Name::new(name)?,
            value: value.to_owned(),
        });
    }
    complete_app(&mut manifest, options)?;
    Ok(manifest)
}

/// Fills in how the image is run; without any flag for it, it stays an image that is not run by itself.
fn complete_app(manifest: &mut ImageManifest, options: &BuildArguments) -> Result<()> {
    let exec: Vec<_> = options.exec.iter().chain(&options.words).cloned().collect();
    if !exec.is_empty() {
        match &mut manifest.app {
            Some(app) => app.exec = exec,
            none => *none = Some(App::new(exec)),
        }
    }
    let Some(app) = &mut manifest.app else {
        let about_app = options.user.is_some()
            || options.group.is_some()
            || options.working_directory.is_some()
            || !options.environment.is_empty()
            || !options.mount_points.is_empty()
            || !options.ports.is_empty()
            || !options.capabilities.is_empty();
        return if about_app {
            bail!("The image has nothing to run: give --exec")
        } else {
            Ok(())
        };
    };
    if let Some(user) = &options.user {
        app.user.clone_from(user);
    }
    if let Some(group) = &options.group {
        app.group.clone_from(group);
    }
    if let Some(directory) = &options.working_directory {
        app.working_directory.clone_from(directory);
    }
    for text in &options.environment {
        let (name, value) = pair(text)?;
        app.environment.retain(|variable| variable.name != name);
        app.environment.push(EnvironmentVariable::new(name, value)?);
    }
    for text in &options.mount_points {
        let (name, fields) = spec(text)?;
        let path = fields.get("path").with_context(|| format!("`{text}` has no path="))?;
        let read_only = fields.get("readOnly").is_some_and(|value| *value == "true");
        app.mount_points.push(MountPoint::new(name.parse()?, *path, read_only));
    }
    for text in &options.ports {
        let (name, fields) = spec(text)?;
        let port = fields.get("port").with_context(|| format!("`{text}` has no port="))?;
        let port = port.parse().with_context(|| format!("`{port}` is no port"))?;
        app.ports.push(Port::new(
            name.parse()?,
            *fields.get("protocol").unwrap_or(&"tcp"),
            port,
        ));
    }
    if !options.capabilities.is_empty() {
        let name = Name::new("os/linux/capabilities-retain-set")?;
        app.isolators
            .push(Isolator::new(name, serde_json::json!({ "set": options.capabilities })));
    }
    Ok(())
}

fn pair(text: &str) -> Result<(&str, &str)> {
    text.split_once('=')
        .with_context(|| format!("`{text}` is not of the form NAME=VALUE"))
}

/// `NAME,KEY=VALUE,…`
fn spec(text: &str) -> Result<(&str, BTreeMap<&str, &str>)> {
    let (name, rest) = text
        .split_once(',')
        .with_context(|| format!("`{text}` is not of the form NAME,KEY=VALUE"))?;
    Ok((name, rest.split(',').map(pair).collect::<Result<_>>()?))
}
