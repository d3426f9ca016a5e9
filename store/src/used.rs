//! When images were last used: the time of an empty file in each image's directory, so that it survives the index.

use std::{
    fs::{self, File, FileTimes},
    time::{Duration, SystemTime},
};

use dhow_image::ImageId;

use crate::{image_dir::USED, store::Store};

/// Times are no finer than this, so that an image that is run a thousand times is not written to as often.
const FINENESS: Duration = Duration::from_secs(60);

impl Store {
    /// Remembers that images are used now: rendering, extracting, exporting and fetching them do. A store that cannot
    /// be written remembers nothing.
    pub fn mark_used(&self, ids: impl IntoIterator<Item = ImageId>) {
        let now = SystemTime::now();
        for id in ids {
            let path = self.images_dir().join(id.to_string()).join(USED);
            let before = fs::metadata(&path).and_then(|metadata| metadata.modified());
            if before.is_ok_and(|before| now.duration_since(before).is_ok_and(|passed| passed < FINENESS)) {
                continue;
            }
            let file = File::options().create(true).truncate(false).write(true).open(&path);
            let marked = file.and_then(|file| file.set_times(FileTimes::new().set_modified(now)));
            if let Err(error) = marked {
                tracing::debug!("the use of `{}` is not remembered: {error}", id.short());
            }
        }
    }

    /// When an image was last used; when it was taken in, if it was not used since.
    pub fn last_used(&self, id: &ImageId) -> SystemTime {
        let directory = self.images_dir().join(id.to_string());
        let time = |name: &str| {
            fs::metadata(directory.join(name))
                .and_then(|metadata| metadata.modified())
                .ok()
        };
        time(USED)
            .max(time(crate::image_dir::RECIPE))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
