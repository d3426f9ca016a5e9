//! Putting right what was found, or out of the way.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Finding, Outcome, Remedy};
use crate::{discard::discard, error::StoreError, image_dir::MANIFEST, locks, roots::Roots, store::Store};

/// Gives what was done about each.
pub(super) fn repair(store: &Store, findings: &[Finding], patience: Duration) -> Result<Vec<Outcome>, StoreError> {
    if findings.is_empty() {
        return Ok(Vec::new());
    }
    let _quiet = locks::quiet(store.root(), patience)?;
    let mut done = HashSet::new();
    let mut index_is_new = false;
    let mut outcomes = Vec::new();
    // The index comes last, for images go before.
    for finding in findings {
        outcomes.push(match &finding.remedy {
            Remedy::QuarantineObject(id) => {
                let object = store.objects_dir().join(id.relative_path());
                quarantine(store, &object, &format!("objects/{id}"))?
            }
            Remedy::QuarantineImage(id) => {
                if done.insert(*id) {
                    let image = store.images_dir().join(id.to_string());
                    quarantine(store, &image, &id.to_string())?;
                    store.index()?.remove(id)?;
                }
                Outcome::Quarantined
            }
            Remedy::QuarantineFile => {
                let name = finding.path.strip_prefix(store.root()).unwrap_or(&finding.path);
                let name = name.to_string_lossy().replace('/', "-");
                quarantine(store, &finding.path, &format!("files/{name}"))?
            }
            Remedy::WriteManifest(id, json) => {
                let directory = store.images_dir().join(id.to_string());
                write_manifest(store, &directory, json).map_err(StoreError::io(&finding.path))?;
                Outcome::Repaired
            }
            Remedy::RemoveTree => remove_tree(store, &finding.path)?,
            Remedy::RebuildIndex => {
                if !index_is_new {
                    store.index()?.rebuild(store.root())?;
                    index_is_new = true;
                }
                Outcome::Repaired
            }
        });
    }
    Ok(outcomes)
}

/// Moves a thing into `quarantine/`, under this name or, if that is taken, one with a number after it.
fn quarantine(store: &Store, path: &Path, name: &str) -> Result<Outcome, StoreError> {
    let place = store.quarantine_dir().join(name);
    let parent = place.parent().expect("a name in quarantine lies beneath it");
    fs::DirBuilder::new()
        .recursive(true)
        .create(parent)
        .and_then(|()| {
            use std::os::unix::fs::PermissionsExt;
            // What an image held may be secret, or a set-user-ID program.
            fs::set_permissions(store.quarantine_dir(), fs::Permissions::from_mode(0o700))
        })
        .map_err(StoreError::io(parent))?;
    let free = (0..)
        .map(|number| match number {
            0 => place.clone(),
            _ => PathBuf::from(format!("{}.{number}", place.display())),
        })
        .find(|place| fs::symlink_metadata(place).is_err())
        .expect("there are more numbers than files");
    match fs::rename(path, &free) {
        Ok(()) => Ok(Outcome::Quarantined),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::Quarantined),
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

fn write_manifest(store: &Store, image: &Path, json: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(store.tmp_dir())?;
    file.write_all(json)?;
    file.as_file().sync_all()?;
    file.persist(image.join(MANIFEST)).map_err(|error| error.error)?;
    File::open(image)?.sync_all()
}

/// A tree is made again when it is needed; one that a pod may have mounted must not lose its files under it.
fn remove_tree(store: &Store, path: &Path) -> Result<Outcome, StoreError> {
    if Roots::of(store)?.have_pods() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return quarantine(store, path, &format!("trees/{name}"));
    }
    if let Some(aside) = store.set_aside(path)? {
        discard(&aside)?;
    }
    Ok(Outcome::Repaired)
}
