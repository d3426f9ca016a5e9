//! Every image: its recipe and objects give the tar that its ID names, its manifest is the tar's, and its provenance
//! can be read.

use std::{collections::HashSet, fs, io};

use dhow_image::{EntryKind, ImageId, TarReader};

use super::{Checked, Finding, Remedy, Thoroughness, objects::on_threads};
use crate::{
    error::StoreError,
    image_dir::{ImageDir, MANIFEST, PROVENANCE},
    inventory::entries,
    object::ObjectId,
    recipe::{RecipeReader, Record},
    store::Store,
};

pub(super) fn check(
    store: &Store,
    thoroughness: Thoroughness,
    damaged: &HashSet<ObjectId>,
    checked: &mut Checked,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let mut ids = Vec::new();
    for path in entries(&store.images_dir())? {
        match path.file_name().and_then(|name| name.to_str()?.parse::<ImageId>().ok()) {
            Some(id) => ids.push(id),
            None => findings.push(Finding {
                path,
                problem: "is no image".to_owned(),
                remedy: Remedy::QuarantineFile,
            }),
        }
    }
    checked.images = ids.len() as u64;
    let found = on_threads(ids, |id| {
        let image = store.image_dir(&id).ok()?;
        let found = check_one(store, &image, &id, thoroughness, damaged);
        // What is removed meanwhile was not damaged.
        (found.is_some() && image.path().is_dir()).then_some(found)?
    });
    findings.extend(found.into_iter().flatten());
    Ok(())
}

fn check_one(
    store: &Store,
    image: &ImageDir,
    id: &ImageId,
    thoroughness: Thoroughness,
    damaged: &HashSet<ObjectId>,
) -> Option<Vec<Finding>> {
    let incomplete = |path, problem| Finding {
        path,
        problem,
        remedy: Remedy::QuarantineImage(*id),
    };
    let recipe_path = image.recipe_path();
    let mut found = match objects(store, image, id, damaged) {
        Ok(found) => found,
        Err(error) => vec![incomplete(recipe_path.clone(), format!("cannot be read: {error}"))],
    };
    if found.is_empty() && thoroughness == Thoroughness::Whole {
        let rebuilt = store
            .rebuild(id)
            .map_err(|error| error.to_string())
            .and_then(|mut tar| io::copy(&mut tar, &mut io::sink()).map_err(|error| error.to_string()));
        if let Err(problem) = rebuilt {
            found.push(incomplete(recipe_path, format!("does not give the image: {problem}")));
        }
    }
    if let Err(error) = image.provenance() {
        let path = image.path().join(PROVENANCE);
        found.push(incomplete(path, format!("cannot be read: {}", with_cause(&error))));
    }
    // Only what is whole tells what its manifest must be.
    if found.is_empty() {
        found.extend(check_manifest(store, image, id));
    }
    (!found.is_empty()).then_some(found)
}

/// Reads the recipe to its end. Each object that it names must be there, with the size that it says.
fn objects(store: &Store, image: &ImageDir, id: &ImageId, damaged: &HashSet<ObjectId>) -> io::Result<Vec<Finding>> {
    let mut recipe = RecipeReader::new(fs::File::open(image.recipe_path())?)?;
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    while let Some(record) = recipe.next()? {
        let Record::Object(object, size) = record else { continue };
        if !seen.insert(object) {
            continue;
        }
        let path = store.objects_dir().join(object.relative_path());
        let problem = match fs::symlink_metadata(&path) {
            Ok(_) if damaged.contains(&object) => Some("is damaged".to_owned()),
            Ok(file) if file.len() == size => None,
            Ok(file) => Some(format!("has {} bytes and not {size}", file.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("is missing".to_owned()),
            Err(error) => Some(format!("cannot be read: {error}")),
        };
        if let Some(problem) = problem {
            found.push(Finding {
                path: image.path().to_owned(),
                problem: format!("needs the object `{object}`, which {problem}"),
                remedy: Remedy::QuarantineImage(*id),
            });
            // The object itself is told of where all objects are looked at, unless that was not done.
            if fs::symlink_metadata(&path).is_ok_and(|file| file.len() != size) && !damaged.contains(&object) {
                found.push(Finding {
                    path,
                    problem,
                    remedy: Remedy::QuarantineObject(object),
                });
            }
        }
    }
    match recipe.head().id == *id {
        true => Ok(found),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is that of another image",
        )),
    }
}

/// The manifest beside the recipe is the one in the tar.
fn check_manifest(store: &Store, image: &ImageDir, id: &ImageId) -> Option<Finding> {
    let path = image.path().join(MANIFEST);
    let in_tar = match manifest_in_tar(store, id) {
        Ok(Some(json)) => json,
        Ok(None) => return None,
        Err(error) => {
            return Some(Finding {
                path: image.recipe_path(),
                problem: format!("does not give the manifest: {}", with_cause(&error)),
                remedy: Remedy::QuarantineImage(*id),
            });
        }
    };
    let problem = match fs::read(&path) {
        Ok(json) if json == in_tar => return None,
        Ok(_) => "is not the manifest in the image".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Some(Finding {
        path,
        problem,
        remedy: Remedy::WriteManifest(*id, in_tar),
    })
}

fn manifest_in_tar(store: &Store, id: &ImageId) -> Result<Option<Vec<u8>>, StoreError> {
    let mut tar = TarReader::new(store.rebuild(id)?);
    while let Some(entry) = tar.next_entry()? {
        tar.take_framing();
        if matches!(entry.kind, EntryKind::Manifest { .. }) {
            return Ok(Some(tar.read_manifest()?.1));
        }
    }
    Ok(None)
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
