//! Whether an image in the store is what its ID says.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
};

use dhow_image::ImageId;
use sha2::{Digest, Sha256};

use crate::{error::StoreError, object::ObjectId, store::Store};

/// What was found when an image was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// How many objects it has.
    pub objects: usize,
    /// How many bytes they have.
    pub object_bytes: u64,
    /// The size of its tar.
    pub tar_size: u64,
    /// What is wrong, in words; nothing, if all is well.
    pub problems: Vec<String>,
}

impl Store {
    /// Rebuilds the tar of an image and compares its digest with the ID, reads the manifest, and compares each object
    /// with its name. Damage is no error here: it is what is told.
    pub fn verify(&self, id: &ImageId) -> Result<Verification, StoreError> {
        let mut problems = Vec::new();
        let mut tar_size = 0;
        match self.export(id).map(|mut tar| io::copy(&mut tar, &mut io::sink())) {
            Ok(Ok(size)) => tar_size = size,
            Ok(Err(error)) => problems.push(error.to_string()),
            Err(error @ StoreError::NotFound { .. }) => return Err(error),
            Err(error) => problems.push(with_cause(&error)),
        }
        if let Err(error) = self.manifest(id) {
            problems.push(with_cause(&error));
        }
        let objects = self.objects_of(&self.image_dir(id)?).unwrap_or_else(|error| {
            problems.push(with_cause(&error));
            BTreeMap::new()
        });
        for (object, size) in &objects {
            let path = self.objects_dir().join(object.relative_path());
            if let Err(problem) = check(&path, object, *size) {
                problems.push(format!("`{}` {problem}", path.display()));
            }
        }
        problems.dedup();
        Ok(Verification {
            objects: objects.len(),
            object_bytes: objects.values().sum(),
            tar_size,
            problems,
        })
    }
}

fn check(path: &std::path::Path, id: &ObjectId, size: u64) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "is missing".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|error| format!("cannot be read: {error}"))?;
        if read == 0 {
            break;
        }
        total += read as u64;
        hasher.update(&buffer[..read]);
    }
    if total != size {
        return Err(format!("has {total} bytes in place of {size}"));
    }
    match ObjectId(hasher.finalize().into()) == *id {
        true => Ok(()),
        false => Err("has not the content that its name says".to_owned()),
    }
}

fn with_cause(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
