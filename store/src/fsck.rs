//! Looking at all of a store, and putting right what can be.
//!
//! | what | is looked at | is put right by |
//! |---|---|---|
//! | objects | their SHA-256 | quarantine; the images that need it must be fetched again |
//! | images | recipe, objects, SHA-512 of the tar, manifest, provenance | writing the manifest again, or quarantine |
//! | trees | what the image is rendered to | removal: they are made again when they are needed |
//! | index | SQLite's own check, and each row against its image | making it anew |
//! | other files in `objects/`, `images/`, `trees/` | | quarantine |
//!
//! Nothing is deleted that cannot be made again: `quarantine/` keeps it, and what it holds of an image's objects makes
//! fetching that image again cheap. Other programs may use the store meanwhile, but collect nothing.

mod images;
mod index;
mod objects;
mod repair;
mod trees;

use std::{collections::HashSet, path::PathBuf, time::Duration};

use dhow_image::{ImageId, Labels, Name};
use serde::Serialize;

use crate::{error::StoreError, index::ImageRecord, locks, object::ObjectId, store::Store};

/// How a store is looked at.
#[derive(Clone, Copy, Debug)]
pub struct FsckOptions {
    /// How closely.
    pub thoroughness: Thoroughness,
    /// What is done about what is found.
    pub repair: Repair,
    /// For how long to wait for a collection that is under way.
    pub patience: Duration,
}

impl Default for FsckOptions {
    fn default() -> Self {
        Self {
            thoroughness: Thoroughness::Whole,
            repair: Repair::No,
            patience: Duration::from_secs(60),
        }
    }
}

/// How closely a store is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// That all files are there, with the sizes that they must have, and can be read as what they are.
    Quick,
    /// Every byte.
    Whole,
}

/// What is done about what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It is told.
    No,
    /// It is put right or out of the way.
    Yes,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FsckReport {
    /// What was looked at.
    pub checked: Checked,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The images that must be fetched again.
    pub lost: Vec<Lost>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Images.
    pub images: u64,
    /// Objects.
    pub objects: u64,
    /// What the objects hold, if it was read, in bytes.
    pub bytes: u64,
    /// Trees.
    pub trees: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file or directory, beneath the store's.
    pub path: PathBuf,
    /// What is wrong with it, to be read after its name.
    pub problem: String,
    /// What was done about it.
    pub outcome: Outcome,
}

/// What was done about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Nothing.
    Found,
    /// It was put right, or is made again when it is needed.
    Repaired,
    /// It was moved into `quarantine/`.
    Quarantined,
}

/// An image that must be fetched again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// Its ID.
    pub id: ImageId,
    /// Its name, if anything tells it still.
    pub name: Option<Name>,
    /// Its labels, if anything tells them still.
    pub labels: Option<Labels>,
    /// What was asked for when it was fetched.
    pub reference: Option<String>,
}

/// What is wrong, and what can be done about it.
struct Finding {
    path: PathBuf,
    problem: String,
    remedy: Remedy,
}

enum Remedy {
    /// The object goes into quarantine, and the images that need it are told of beside.
    QuarantineObject(ObjectId),
    /// The image cannot be given back.
    QuarantineImage(ImageId),
    /// A file that belongs to nothing.
    QuarantineFile,
    /// The manifest as the archive has it.
    WriteManifest(ImageId, Vec<u8>),
    /// A tree, which is made again.
    RemoveTree,
    RebuildIndex,
}

impl Store {
    /// Looks at all of the store.
    ///
    /// An error means that the store could not be looked at; what is wrong with it is in the report.
    pub fn fsck(&self, options: &FsckOptions) -> Result<FsckReport, StoreError> {
        let _lock = match (options.repair, self.is_read_only()) {
            (Repair::Yes, _) => {
                self.check_writable()?;
                Some(locks::collector(self.root(), options.patience)?)
            }
            (Repair::No, false) => Some(locks::inspector(self.root(), options.patience)?),
            (Repair::No, true) => None,
        };
        let records = self.images()?;
        let mut checked = Checked::default();
        let mut findings = Vec::new();
        let damaged = objects::check(self, options.thoroughness, &mut checked, &mut findings)?;
        images::check(self, options.thoroughness, &damaged, &mut checked, &mut findings)?;
        trees::check(self, &incomplete(&findings), &mut checked, &mut findings)?;
        index::check(self, &incomplete(&findings), &mut findings)?;

        let lost = self.lost(&incomplete(&findings), &records);
        let outcomes = match options.repair {
            Repair::Yes => repair::repair(self, &findings, options.patience)?,
            Repair::No => vec![Outcome::Found; findings.len()],
        };
        let problem = |(finding, outcome): (Finding, Outcome)| Problem {
            path: match finding.path.strip_prefix(self.root()) {
                Ok(beneath) => beneath.to_owned(),
                Err(_) => finding.path,
            },
            problem: finding.problem,
            outcome,
        };
        Ok(FsckReport {
            checked,
            problems: findings.into_iter().zip(outcomes).map(problem).collect(),
            lost,
        })
    }

    /// Makes the index anew from the files of the images.
    pub fn rebuild_index(&self) -> Result<(), StoreError> {
        self.check_writable()?;
        self.index()?.rebuild(self.root())
    }

    /// All that is known of images that are incomplete.
    fn lost(&self, incomplete: &HashSet<ImageId>, records: &[ImageRecord]) -> Vec<Lost> {
        let lost = |id: &ImageId| {
            let record = records.iter().find(|record| record.id == *id);
            let manifest = self.manifest(id).ok();
            let provenance = self.provenance(id).ok();
            Lost {
                id: *id,
                name: record
                    .map(|record| record.name.clone())
                    .or_else(|| Some(manifest.as_ref()?.name.clone())),
                labels: record
                    .map(|record| record.labels.clone())
                    .or_else(|| Some(manifest.as_ref()?.labels.clone())),
                reference: provenance.and_then(|provenance| Some(provenance.get("reference")?.as_str()?.to_owned())),
            }
        };
        let mut lost: Vec<_> = incomplete.iter().map(lost).collect();
        lost.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        lost
    }
}

/// The images that cannot be given back as things are.
fn incomplete(findings: &[Finding]) -> HashSet<ImageId> {
    let ids = findings.iter().filter_map(|finding| match finding.remedy {
        Remedy::QuarantineImage(id) => Some(id),
        _ => None,
    });
    ids.collect()
}
