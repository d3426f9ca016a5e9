//! One pod's directory, and the directory of all of them.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};
use dhow_image::{AcName, PodManifest};
use nix::unistd::Pid;

use super::{PodId, PodLock, PodState, state::Facts};
use crate::{PodError, app_status::AppStatus};

/// A directory without a lock may be one whose maker takes it next.
const LEAST_AGE_OF_EMBRYOS: Duration = Duration::from_secs(60);

/// All pods of a data directory.
pub(crate) struct Pods {
    path: PathBuf,
}

/// One pod's directory.
pub(crate) struct PodDirectory {
    id: PodId,
    path: PathBuf,
}

/// What one app has in its pod's directory.
pub(crate) struct AppDirectory {
    path: PathBuf,
}

impl Pods {
    /// The pods of the data directory `data`; nothing is made.
    pub(crate) fn of(data: &Path) -> Self {
        Self {
            path: data.join("pods"),
        }
    }

    /// Makes a pod's directory. It is locked before it has its name, so that nobody finds it without an owner.
    pub(crate) fn create(&self) -> Result<(PodDirectory, PodLock), PodError> {
        // Files of an app are beneath: set-user-ID programs of an image must not be in reach of the host's users.
        let mut private = DirBuilder::new();
        private.mode(0o700);
        fs::create_dir_all(&self.path).map_err(PodError::file("create", &self.path))?;
        let id = PodId::random();
        let embryo = self.path.join(format!(".new-{id}"));
        private.create(&embryo).map_err(PodError::file("create", &embryo))?;
        let lock = PodLock::try_take(&embryo.join("lock")).map_err(PodError::file("lock", &embryo))?;
        let lock = lock.expect("nobody else knows the new directory");
        let pod = PodDirectory {
            id,
            path: self.path.join(id.to_string()),
        };
        fs::rename(&embryo, &pod.path).map_err(PodError::file("create", &pod.path))?;
        pod.write("created", &now())?;
        Ok((pod, lock))
    }

    /// Every pod, oldest first.
    pub(crate) fn all(&self) -> Result<Vec<PodDirectory>, PodError> {
        let mut pods: Vec<_> = self
            .names()?
            .iter()
            .filter_map(|name| {
                Some(PodDirectory {
                    id: name.parse().ok()?,
                    path: self.path.join(name),
                })
            })
            .map(|pod| (pod.created().ok(), pod))
            .collect();
        pods.sort_by_key(|(created, pod)| (*created, pod.id));
        Ok(pods.into_iter().map(|(_, pod)| pod).collect())
    }

    /// The pod whose UUID begins with `prefix`.
    pub(crate) fn find(&self, prefix: &str) -> Result<PodDirectory, PodError> {
        let not_found = || PodError::PodNotFound {
            uuid: prefix.to_owned(),
            pods: self.path.clone(),
        };
        let wanted = prefix.to_ascii_lowercase();
        let mut found: Vec<_> = self
            .all()?
            .into_iter()
            .filter(|pod| pod.id.to_string().starts_with(&wanted))
            .collect();
        if wanted.is_empty() || found.is_empty() {
            return Err(not_found());
        }
        if found.len() > 1 {
            let candidates = found.iter().map(|pod| pod.id.to_string()).collect();
            return Err(PodError::AmbiguousPod {
                uuid: prefix.to_owned(),
                candidates,
            });
        }
        found.pop().ok_or_else(not_found)
    }

    /// Directories that never became pods, since whoever made them was killed, and that are older than `age`, or than
    /// what it takes to make one of them a pod: its maker holds its lock from the second moment of its life.
    pub(crate) fn stale_embryos(&self, age: Duration) -> Result<Vec<PathBuf>, PodError> {
        let age = age.max(LEAST_AGE_OF_EMBRYOS);
        let is_old = |path: &PathBuf| {
            let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
            let is_old =
                modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|passed| passed >= age));
            is_old && PodLock::is_held(&path.join("lock")).is_ok_and(|held| !held)
        };
        let embryos = self.names()?.into_iter().filter(|name| name.starts_with(".new-"));
        Ok(embryos.map(|name| self.path.join(name)).filter(is_old).collect())
    }

    fn names(&self) -> Result<Vec<String>, PodError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PodError::file("read", &self.path)(error)),
        };
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect())
    }
}

impl PodDirectory {
    /// The pod's UUID.
    pub(crate) fn id(&self) -> PodId {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the pod is doing now.
    pub(crate) fn state(&self) -> Result<PodState, PodError> {
        // The lock is asked before the files: a pod that ends in between is then `running` and not `aborted`.
        let lock = self.path.join("lock");
        let locked = PodLock::is_held(&lock).map_err(PodError::file("read", &lock))?;
        let has = |name: &str| self.path.join(name).exists();
        Ok(PodState::from_facts(&Facts {
            locked,
            prepared: has("prepared"),
            started: has("started"),
            garbage: has("garbage"),
        }))
    }

    /// Takes the pod for what only one process may do with it.
    pub(crate) fn lock(&self, needed: &'static str, action: &'static str) -> Result<PodLock, PodError> {
        match PodLock::try_take(&self.path.join("lock")).map_err(PodError::file("lock", &self.path))? {
            Some(lock) => Ok(lock),
            None => Err(self.wrong_state(self.state()?, needed, action)),
        }
    }

    /// The error of a command that this pod's state does not allow.
    pub(crate) fn wrong_state(&self, state: PodState, needed: &'static str, action: &'static str) -> PodError {
        PodError::State {
            uuid: self.id.to_string(),
            state: state.as_str(),
            needed,
            action,
        }
    }

    /// The pod's manifest.
    pub(crate) fn manifest(&self) -> Result<PodManifest, PodError> {
        PodManifest::from_json(self.read("pod")?.as_bytes()).map_err(PodError::Manifest)
    }

    /// Writes the manifest and makes what the apps need on disk.
    pub(crate) fn lay_out(&self, manifest: &PodManifest) -> Result<(), PodError> {
        let json = manifest.to_json().map_err(PodError::Manifest)?;
        let mut directories = vec![self.path.join("shared"), self.path.join("volumes")];
        for app in &manifest.apps {
            let app = self.app(&app.name);
            directories.extend([app.mount_target(), app.upper(), app.work()]);
        }
        for directory in directories {
            fs::create_dir_all(&directory).map_err(PodError::file("create", &directory))?;
            // The umask must not decide who can enter an app's root directory.
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&directory, mode).map_err(PodError::file("create", &directory))?;
        }
        self.write("pod", &String::from_utf8_lossy(&json))
    }

    /// What the app `name` has here.
    pub(crate) fn app(&self, name: &AcName) -> AppDirectory {
        AppDirectory {
            path: self.path.join("apps").join(name.as_str()),
        }
    }

    /// When the pod was made.
    pub(crate) fn created(&self) -> Result<DateTime<Utc>, PodError> {
        self.read_time("created")
    }

    /// When its apps were started, if they were.
    pub(crate) fn started(&self) -> Option<DateTime<Utc>> {
        self.read_time("started").ok()
    }

    /// When `gc` marked it, if it did.
    pub(crate) fn marked(&self) -> Option<SystemTime> {
        fs::metadata(self.path.join("garbage"))
            .and_then(|metadata| metadata.modified())
            .ok()
    }

    /// The pod's PID 1 as the host numbers it; meaningful only while the pod runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.read("pid").ok()?.trim().parse().ok().map(Pid::from_raw)
    }

    /// How the app `name` ended, if it did.
    pub(crate) fn app_status(&self, name: &AcName) -> Option<AppStatus> {
        serde_json::from_slice(&fs::read(self.app(name).path.join("exit.json")).ok()?).ok()
    }

    pub(crate) fn mark_prepared(&self) -> Result<(), PodError> {
        self.write("prepared", &now())
    }

    pub(crate) fn mark_pid(&self, pid: Pid) -> Result<(), PodError> {
        self.write("pid", &pid.to_string())
    }

    pub(crate) fn mark_started(&self) -> Result<(), PodError> {
        self.write("started", &now())
    }

    pub(crate) fn mark_garbage(&self) -> Result<(), PodError> {
        self.write("garbage", &now())
    }

    /// From here on the pod is run, and is never `prepared` again. Whether it was until now.
    pub(crate) fn unmark_prepared(&self) -> Result<bool, PodError> {
        let path = self.path.join("prepared");
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(PodError::file("remove", path)(error)),
        }
    }

    pub(crate) fn record_exit(&self, app: &AcName, status: AppStatus) -> Result<(), PodError> {
        let json = serde_json::to_string(&status).expect("a status is a word and a number");
        self.write(&format!("apps/{app}/exit.json"), &json)
    }

    fn read(&self, name: &str) -> Result<String, PodError> {
        let path = self.path.join(name);
        fs::read_to_string(&path).map_err(PodError::file("read", path))
    }

    fn read_time(&self, name: &str) -> Result<DateTime<Utc>, PodError> {
        let problem = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let time = self.read(name)?.trim().parse().map_err(problem);
        time.map_err(PodError::file("read", self.path.join(name)))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), PodError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.tmp"));
        let write = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
        write.map_err(PodError::file("write", path))
    }
}

impl AppDirectory {
    /// Where the root file system is mounted, inside of the pod only.
    pub(crate) fn mount_target(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Where what the app writes goes.
    pub(crate) fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// A directory of overlayfs's own.
    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }
}

/// Now, as the files of a pod record it.
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use dhow_image::{AcName, PodManifest};

    use super::*;

    #[test]
    fn the_state_follows_the_lock_and_the_files() {
        let data = tempfile::tempdir().unwrap();
        let pods = Pods::of(data.path());
        assert!(pods.all().unwrap().is_empty());

        let (pod, lock) = pods.create().unwrap();
        assert_eq!(pod.state().unwrap(), PodState::Preparing);
        pod.lay_out(&PodManifest::new(Vec::new())).unwrap();
        pod.mark_prepared().unwrap();
        drop(lock);
        assert_eq!(pod.state().unwrap(), PodState::Prepared);

        let lock = pod.lock("prepared", "run").unwrap();
        assert!(pod.unmark_prepared().unwrap());
        assert!(!pod.unmark_prepared().unwrap());
        assert_eq!(pod.state().unwrap(), PodState::Preparing);
        pod.mark_started().unwrap();
        assert_eq!(pod.state().unwrap(), PodState::Running);
        let error = pod.lock("prepared", "run").unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "pod `{}` is running, and only a pod that is prepared can be run",
                pod.id()
            )
        );
        drop(lock);
        assert_eq!(pod.state().unwrap(), PodState::Exited);
        pod.mark_garbage().unwrap();
        assert_eq!(pod.state().unwrap(), PodState::Garbage);

        let (killed, lock) = pods.create().unwrap();
        drop(lock);
        assert_eq!(killed.state().unwrap(), PodState::Aborted);
        assert_eq!(pods.all().unwrap().len(), 2);
    }

    #[test]
    fn a_pod_is_found_by_the_beginning_of_its_uuid() {
        let data = tempfile::tempdir().unwrap();
        let pods = Pods::of(data.path());
        let (pod, _lock) = pods.create().unwrap();
        let text = pod.id().to_string();
        assert_eq!(pods.find(&text[..8]).unwrap().id(), pod.id());
        assert_eq!(pods.find(&text.to_uppercase()).unwrap().id(), pod.id());
        assert!(matches!(pods.find(""), Err(PodError::PodNotFound { .. })));
        assert!(matches!(pods.find("zzz"), Err(PodError::PodNotFound { .. })));
    }

    #[test]
    fn an_end_is_recorded() {
        let data = tempfile::tempdir().unwrap();
        let (pod, _lock) = Pods::of(data.path()).create().unwrap();
        let name = AcName::new("app").unwrap();
        fs::create_dir_all(pod.app(&name).upper()).unwrap();
        assert_eq!(pod.app_status(&name), None);
        pod.record_exit(&name, AppStatus::Signal(9)).unwrap();
        assert_eq!(pod.app_status(&name).unwrap().code(), 137);
    }
}
