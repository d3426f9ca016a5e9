//! How to run an image, in both tongues: the `app` of an ACI's manifest, and the configuration of OCI and Docker.
//!
//! | OCI, Docker | App Container |
//! |---|---|
//! | Entrypoint, Cmd | `exec`, one after the other; `appc.io/docker/entrypoint` and `…/cmd` tell them apart |
//! | User | `user` and `group`; the group is called as the user where none is given, as docker2aci has it |
//! | Env, WorkingDir, Labels | `environment`, `workingDirectory`, `userLabels` |
//! | ExposedPorts `80/tcp` | a port called `80-tcp` |
//! | Volumes `/var/lib/x` | a mount point called `volume-var-lib-x` |
//! | StopSignal, Healthcheck, OnBuild, Shell, comment | annotations `appc.io/docker/…` |
//! | author, created | annotations `authors`, `created` |
//! | os, architecture, variant | labels `os`, `arch` |

mod from_aci;
mod to_aci;

pub(super) use from_aci::{config_of, labels_of, original_manifest};
pub(super) use to_aci::describe;

const ENTRYPOINT: &str = "appc.io/docker/entrypoint";
const CMD: &str = "appc.io/docker/cmd";
const USER: &str = "appc.io/docker/user";
const STOP_SIGNAL: &str = "appc.io/docker/stopsignal";
const HEALTHCHECK: &str = "appc.io/docker/healthcheck";
const ON_BUILD: &str = "appc.io/docker/onbuild";
const SHELL: &str = "appc.io/docker/shell";
const COMMENT: &str = "docker-comment";
const ORIGINAL_NAME: &str = "appc.io/docker/originalname";
const IMAGE_ID: &str = "appc.io/docker/imageid";
const MANIFEST_HASH: &str = "appc.io/docker/manifesthash";
const TAG: &str = "appc.io/docker/tag";
