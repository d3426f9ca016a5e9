//! From what a person asks for to a complete pod manifest (appc spec, pods.md: a pod is reified before it is run).

use dhow_image::{
    AcName, App, EnvironmentVariable, ImageIdPrefix, ImageManifest, MountPoint, PodApp, PodManifest, Volume,
    VolumeKind, VolumeMount,
};
use dhow_store::Store;

use crate::{PodError, capabilities, capabilities::Privileges, console::Console, environment, mount_flag::MountFlag};

/// One app of a pod as it is asked for: the image, and what replaces what the image says.
#[derive(Clone, Debug)]
pub(crate) struct AppRequest {
    pub(crate) image: ImageIdPrefix,
    pub(crate) name: Option<AcName>,
    pub(crate) exec: Option<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<EnvironmentVariable>,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) supplementary_gids: Vec<u32>,
    pub(crate) working_directory: Option<String>,
    pub(crate) read_only_root: bool,
    pub(crate) mounts: Vec<MountFlag>,
    pub(crate) caps_retain: Vec<String>,
    pub(crate) caps_remove: Vec<String>,
}

/// A pod as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct PodRequest {
    pub(crate) apps: Vec<AppRequest>,
    pub(crate) volumes: Vec<Volume>,
    /// Below what the images set.
    pub(crate) inherited_environment: Vec<EnvironmentVariable>,
    /// Above what the images set.
    pub(crate) environment: Vec<EnvironmentVariable>,
}

/// Completes a pod: images by their whole IDs, and a volume for every mount point.
pub(crate) fn assemble(store: &Store, request: &PodRequest, console: Console) -> Result<PodManifest, PodError> {
    let mut pod = PodManifest::new(Vec::new());
    pod.volumes.clone_from(&request.volumes);
    for asked in &request.apps {
        let id = store.resolve(&asked.image)?;
        let image = store.manifest(&id)?;
        let name = asked.name.clone().unwrap_or_else(|| image.name.to_app_name());
        if pod.apps.iter().any(|app| app.name == name) {
            return Err(PodError::Request {
                problem: format!("two apps of the pod are called `{name}`"),
                hint: Some("`--name` after an image gives its app another name".to_owned()),
            });
        }
        let mut pod_app = PodApp::new(name, image.name.clone(), image.labels.clone(), id);
        let app = app_section(image, asked, request, &pod_app)?;
        pod_app.mounts = mounts(
            &pod_app.name,
            &app.mount_points,
            &asked.mounts,
            &mut pod.volumes,
            console,
        )?;
        pod_app.read_only_root_fs = asked.read_only_root;
        pod_app.app = Some(app);
        pod.apps.push(pod_app);
    }
    for volume in &request.volumes {
        if !pod
            .apps
            .iter()
            .any(|app| app.mounts.iter().any(|mount| mount.volume == volume.name))
        {
            let name = &volume.name;
            console.warn(&format!(
                "volume `{name}` is not used: no app has a mount point or a `--mount` of that name"
            ));
        }
    }
    report_isolators(&pod, console);
    // Says what is wrong with what was given, before a directory is made for it.
    pod.to_json().map_err(PodError::Manifest)?;
    Ok(pod)
}

/// How the app is run: what the image says, with what was asked for in its place.
fn app_section(
    image: ImageManifest,
    asked: &AppRequest,
    request: &PodRequest,
    pod_app: &PodApp,
) -> Result<App, PodError> {
    let mut app = match (image.app, &asked.exec) {
        (Some(app), _) => app,
        (None, Some(_)) => App::new(Vec::new()),
        (None, None) => {
            return Err(PodError::NothingToRun {
                name: image.name.to_string(),
                id: pod_app.image.id,
            });
        }
    };
    if let Some(exec) = &asked.exec {
        app.exec = vec![exec.clone()];
    }
    app.exec.extend(asked.arguments.iter().cloned());
    if app.exec.is_empty() {
        return Err(PodError::NothingToRun {
            name: image.name.to_string(),
            id: pod_app.image.id,
        });
    }
    let mut variables = request.inherited_environment.clone();
    environment::merge(&mut variables, &app.environment);
    environment::merge(&mut variables, &request.environment);
    environment::merge(&mut variables, &asked.environment);
    app.environment = variables;
    replace(&mut app.user, &asked.user);
    replace(&mut app.group, &asked.group);
    replace(&mut app.working_directory, &asked.working_directory);
    if !asked.supplementary_gids.is_empty() {
        app.supplementary_gids.clone_from(&asked.supplementary_gids);
    }
    capabilities::replace_isolators(&mut app, &asked.caps_retain, &asked.caps_remove)?;
    Privileges::of(&app)?;
    Ok(app)
}

fn replace(field: &mut String, asked: &Option<String>) {
    if let Some(asked) = asked {
        field.clone_from(asked);
    }
}

/// Which volume goes where. A mount point that no volume satisfies gets an empty one of its own, as in rkt.
fn mounts(
    app: &AcName,
    points: &[MountPoint],
    flags: &[MountFlag],
    volumes: &mut Vec<Volume>,
    console: Console,
) -> Result<Vec<VolumeMount>, PodError> {
    let mut mounts = Vec::new();
    for point in points
        .iter()
        .filter(|point| !flags.iter().any(|flag| flag.target == point.path))
    {
        if volumes.iter().any(|volume| volume.name == point.name) {
            mounts.push(VolumeMount::new(point.name.clone(), &point.path));
            continue;
        }
        let name = AcName::new(format!("{app}-{}", point.name)).expect("two names and a hyphen are a name");
        console.note(&format!(
            "mount point `{}` of `{app}` gets an empty volume: no `--volume {},…`",
            point.name, point.name
        ));
        let kind = VolumeKind::Empty {
            mode: None,
            uid: None,
            gid: None,
        };
        volumes.push(Volume::new(name.clone(), kind, point.read_only));
        mounts.push(VolumeMount::new(name, &point.path));
    }
    for flag in flags {
        if !volumes.iter().any(|volume| volume.name == flag.volume) {
            return Err(PodError::Request {
                problem: format!(
                    "`--mount` names the volume `{}`, which the pod does not have",
                    flag.volume
                ),
                hint: Some(format!(
                    "`--volume {},kind=host,source=/path` makes it one",
                    flag.volume
                )),
            });
        }
        mounts.push(VolumeMount::new(flag.volume.clone(), &flag.target));
    }
    for (index, outer) in mounts.iter().enumerate() {
        let overlapping = |(other, inner): &(usize, &VolumeMount)| {
            *other != index && std::path::Path::new(&inner.path).starts_with(&outer.path)
        };
        if let Some((_, inner)) = mounts.iter().enumerate().find(overlapping) {
            let problem = format!(
                "the mounts `{}` and `{}` of app `{app}` overlap",
                outer.path, inner.path
            );
            return Err(PodError::request(problem));
        }
    }
    Ok(mounts)
}

/// Whoever runs a pod is told what is not enforced (ace.md, "Isolators").
fn report_isolators(pod: &PodManifest, console: Console) {
    for isolator in &pod.isolators {
        console.warn(&format!("isolator `{}` of the pod is ignored", isolator.name()));
    }
    for pod_app in &pod.apps {
        let Some(app) = &pod_app.app else { continue };
        for isolator in app
            .isolators
            .iter()
            .filter(|isolator| !capabilities::is_enforced(isolator.setting()))
        {
            console.warn(&format!(
                "isolator `{}` of app `{}` is ignored",
                isolator.name(),
                pod_app.name
            ));
        }
        for capability in Privileges::unavailable(app) {
            console.warn(&format!(
                "app `{}` does not get `{capability}`, which dhow-pod does not have itself",
                pod_app.name
            ));
        }
        for capability in Privileges::extraordinary(app) {
            console.warn(&format!(
                "app `{}` gets `{capability}`, which it asks for beyond the default: --caps-retain and --caps-remove choose",
                pod_app.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(name: &str, path: &str) -> MountPoint {
        MountPoint::new(AcName::new(name).unwrap(), path, false)
    }

    fn host(name: &str) -> Volume {
        let kind = VolumeKind::Host {
            source: "/srv".to_owned(),
            recursive: None,
        };
        Volume::new(AcName::new(name).unwrap(), kind, false)
    }

    fn plan(
        points: &[MountPoint],
        flags: &[&str],
        volumes: &mut Vec<Volume>,
    ) -> Result<Vec<(String, String)>, PodError> {
        let flags: Vec<MountFlag> = flags.iter().map(|flag| flag.parse().unwrap()).collect();
        let quiet = Console {
            quiet: true,
            verbose: false,
        };
        let mounts = mounts(&AcName::new("app").unwrap(), points, &flags, volumes, quiet)?;
        Ok(mounts
            .into_iter()
            .map(|mount| (mount.volume.to_string(), mount.path))
            .collect())
    }

    #[test]
    fn volumes_are_matched_by_name_and_made_where_missing() {
        let mut volumes = vec![host("data")];
        let mounts = plan(
            &[point("data", "/var/data"), point("cache", "/cache")],
            &[],
            &mut volumes,
        )
        .unwrap();
        assert_eq!(
            mounts,
            [("data", "/var/data"), ("app-cache", "/cache")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        assert!(matches!(volumes[1].kind, VolumeKind::Empty { .. }));
    }

    #[test]
    fn a_mount_flag_takes_the_place_of_the_image_s_mount_point() {
        let mut volumes = vec![host("mine")];
        let mounts = plan(
            &[point("data", "/var/data")],
            &["volume=mine,target=/var/data"],
            &mut volumes,
        )
        .unwrap();
        assert_eq!(mounts, [("mine".to_owned(), "/var/data".to_owned())]);
        assert_eq!(volumes.len(), 1);
    }

    #[test]
    fn overlaps_and_unknown_volumes_are_refused() {
        let mut volumes = vec![host("a"), host("b")];
        let error = plan(&[point("a", "/x"), point("b", "/x/y")], &[], &mut volumes).unwrap_err();
        assert_eq!(error.to_string(), "the mounts `/x` and `/x/y` of app `app` overlap");
        assert!(plan(&[point("a", "/x"), point("b", "/xy")], &[], &mut volumes).is_ok());
        let error = plan(&[], &["volume=c,target=/c"], &mut volumes).unwrap_err();
        assert!(error.hint().unwrap().contains("--volume c,"));
    }
}
