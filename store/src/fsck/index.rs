//! The index against the files.

use std::{collections::HashSet, thread::sleep, time::Duration};

use dhow_image::ImageId;

use super::{Finding, Remedy};
use crate::{error::StoreError, index::read_record, store::Store};

/// Somebody who is about to add a row has done it by then.
const MOMENT: Duration = Duration::from_millis(200);

pub(super) fn check(
    store: &Store,
    incomplete: &HashSet<ImageId>,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let mut problems = store.index()?.problems()?;
    if problems.is_empty() {
        problems = differences(store, incomplete)?;
    }
    if !problems.is_empty() {
        sleep(MOMENT);
        let lasting = differences(store, incomplete)?;
        problems.retain(|problem| !problem.starts_with('`') || lasting.contains(problem));
    }
    findings.extend(problems.into_iter().map(|problem| Finding {
        path: store.root().join("index.db"),
        problem: format!("is wrong: {problem}"),
        remedy: Remedy::RebuildIndex,
    }));
    Ok(())
}

/// What the rows say otherwise than the files. Which images there are is compared whenever the store is opened.
fn differences(store: &Store, incomplete: &HashSet<ImageId>) -> Result<Vec<String>, StoreError> {
    let mut problems = Vec::new();
    for row in store.images()? {
        if incomplete.contains(&row.id) {
            continue;
        }
        let Ok(file) = read_record(&store.images_dir(), &row.id) else {
            continue;
        };
        let of = |what| format!("`{}` has another {what} in its files", row.id.short());
        if row.name != file.name {
            problems.push(of("name"));
        }
        if row.labels != file.labels {
            problems.push(of("list of labels"));
        }
        if row.tar_size != file.tar_size {
            problems.push(of("size"));
        }
        if row.standing != file.standing {
            problems.push(of("standing"));
        }
    }
    Ok(problems)
}
