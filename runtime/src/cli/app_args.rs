//! What `run` and `prepare` take for a pod and for each of its apps.

use std::ffi::OsString;

use clap::{Args, Parser};
use dhow_image::{AcName, EnvironmentVariable, ImageIdPrefix, Volume};

use crate::{
    assemble::{AppRequest, PodRequest},
    mount_flag::MountFlag,
    volume_flag::parse_volume,
};

/// The apps of a pod and what they share.
#[derive(Debug, Args)]
pub(super) struct PodArgs {
    /// Set an environment variable for every app
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    set_env: Vec<EnvironmentVariable>,
    /// Give the apps this process's environment, below what the images set
    #[arg(long)]
    inherit_env: bool,
    /// A volume: NAME,kind=host,source=/path[,readOnly=true][,recursive=false] or NAME,kind=empty[,mode=0755][,uid=0][,gid=0]
    ///
    /// It goes to the mount points of its name. A mount point without a volume gets an empty one.
    #[arg(long, value_name = "VOLUME", value_parser = parse_volume)]
    volume: Vec<Volume>,
    #[command(flatten)]
    first: AppArgs,
    /// The apps after the first, which stand after `---`.
    #[arg(skip)]
    pub(super) others: Vec<AppArgs>,
}

/// One app: an image, and what replaces what the image says.
#[derive(Clone, Debug, Args)]
pub(super) struct AppArgs {
    /// The image's ID or its beginning
    #[arg(value_name = "IMAGE-ID")]
    image: ImageIdPrefix,
    /// Arguments after those of the image
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
    /// Name the app, in place of the last part of the image's name
    #[arg(long, value_name = "NAME")]
    name: Option<AcName>,
    /// Execute this program of the image in place of the image's own, without the image's arguments
    #[arg(long, value_name = "PROGRAM")]
    exec: Option<String>,
    /// Set an environment variable for this app
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    environment: Vec<EnvironmentVariable>,
    /// Run as this user: a name of the image's, a number, or a path whose owner is meant
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Run as this group: a name of the image's, a number, or a path whose group is meant
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Further groups, by number
    #[arg(long, value_name = "GID", value_delimiter = ',')]
    supplementary_gids: Vec<u32>,
    /// Start in this directory of the image
    #[arg(long, value_name = "PATH", value_parser = parse_absolute)]
    working_dir: Option<String>,
    /// Make the root file system read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    readonly_rootfs: bool,
    /// Put a volume at a path of this app: volume=NAME,target=PATH
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<MountFlag>,
    /// Keep these capabilities and no others
    #[arg(long, value_name = "CAP", value_delimiter = ',', conflicts_with = "caps_remove")]
    caps_retain: Vec<String>,
    /// Keep the default capabilities without these
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    caps_remove: Vec<String>,
}

impl PodArgs {
    /// The pod that is asked for.
    pub(super) fn into_request(self) -> PodRequest {
        let inherited = || {
            let text = std::env::vars_os().filter_map(|(name, value)| {
                EnvironmentVariable::new(name.into_string().ok()?, value.into_string().ok()?).ok()
            });
            text.collect()
        };
        PodRequest {
            inherited_environment: if self.inherit_env { inherited() } else { Vec::new() },
            environment: self.set_env.clone(),
            volumes: self.volume.clone(),
            apps: self.into_requests(),
        }
    }

    /// The apps that are asked for.
    pub(super) fn into_requests(self) -> Vec<AppRequest> {
        std::iter::once(self.first)
            .chain(self.others)
            .map(AppArgs::into_request)
            .collect()
    }
}

impl AppArgs {
    /// Reads what stands between two `---`.
    pub(super) fn try_parse_segment(segment: &[OsString]) -> Result<Self, clap::Error> {
        #[derive(Parser)]
        #[command(name = "---", no_binary_name = true, disable_help_flag = true)]
        struct Segment {
            #[command(flatten)]
            app: AppArgs,
        }
        Segment::try_parse_from(segment).map(|segment| segment.app)
    }

    fn into_request(self) -> AppRequest {
        AppRequest {
            image: self.image,
            name: self.name,
            exec: self.exec,
            arguments: self.arguments,
            environment: self.environment,
            user: self.user,
            group: self.group,
            supplementary_gids: self.supplementary_gids,
            working_directory: self.working_dir,
            read_only_root: self.readonly_rootfs,
            mounts: self.mount,
            caps_retain: self.caps_retain,
            caps_remove: self.caps_remove,
        }
    }
}

fn parse_variable(text: &str) -> Result<EnvironmentVariable, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    EnvironmentVariable::new(name, value)
        .map_err(|_| format!("`{name}` is not the name of a variable: letters, digits, `_`, `.` and `-` are"))
}

fn parse_absolute(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not an absolute path"))
    }
}
