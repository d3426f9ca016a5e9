//! [`PullPolicy`]: whether what the store holds will do.

use std::collections::HashSet;

use dhow_discovery::Request;
use dhow_image::ImageId;
use dhow_store::{Standing, Store, StoreError};

use crate::insecure::Insecure;

/// When the network is asked for an image that is given by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// If the store does not have it.
    #[default]
    New,
    /// Always.
    Update,
    /// Never.
    Never,
}

/// Whether the store holds what is asked for.
pub(crate) enum Held {
    Usable(ImageId),
    /// Only such as came in with `--insecure-options=image`.
    Unverified,
    No,
}

/// The image in the store that would do: of several versions the highest, of one version the newest. Its dependencies
/// are there as well: it was fetched so. One that nobody vouches for counts only where the user asks for no more.
pub(crate) fn held(
    store: &Store,
    request: &Request,
    insecure: Insecure,
    passed_over: &HashSet<ImageId>,
) -> Result<Held, StoreError> {
    let needed = if insecure.image {
        Standing::Unverified
    } else {
        Standing::Verified
    };
    let mut held = Held::No;
    // What is no range and looks like one is found out before.
    let range = request.range().ok().flatten();
    let latest = request.asked().get("version") == Some("latest");
    let request = match range.is_some() || latest {
        true => &request.any_version(),
        false => request,
    };
    for image in store.images()? {
        let version = image.labels.get("version").unwrap_or_default();
        if request.check(&image.name, &image.labels).is_err()
            || range.as_ref().is_some_and(|range| !range.contains(version))
            || passed_over.contains(&image.id)
        {
            continue;
        }
        if image.standing >= needed {
            return Ok(Held::Usable(image.id));
        }
        held = Held::Unverified;
    }
    Ok(held)
}
