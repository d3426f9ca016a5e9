//! Images that are mounted: pins that end with their mount, or with the machine's next start at the latest.
//!
//! ```text
//!   pins/mounted-<boot ID>-<hash of the place>     image IDs, one a line
//! ```

use std::{fs, path::Path};

use dhow_image::ImageId;
use sha2::{Digest, Sha256};

use crate::{error::StoreError, store::Store};

const PREFIX: &str = "mounted-";

impl Store {
    /// Holds an image for as long as something of it is mounted at `place`: until [`Self::unpin_mounted`], or until the
    /// machine starts anew, which ends all mounts. What is mounted there already stays held, too.
    ///
    /// A store that can only be read holds nothing: nobody collects in it.
    pub fn pin_mounted(&self, place: &Path, id: &ImageId) -> Result<(), StoreError> {
        if self.is_read_only() {
            return Ok(());
        }
        let name = pin_name(place)?;
        let before = self.pins()?.into_iter().find(|pin| pin.name == name);
        let mut images = before.map_or_else(Vec::new, |pin| pin.images);
        images.retain(|other| other != id);
        images.push(*id);
        self.pin(&name, &images)
    }

    /// Nothing of this store is mounted at `place` any more.
    pub fn unpin_mounted(&self, place: &Path) -> Result<(), StoreError> {
        match self.is_read_only() {
            true => Ok(()),
            false => self.unpin(&pin_name(place)?).map(drop),
        }
    }

    /// Removes the pins of mounts that an earlier run of this machine had.
    pub(crate) fn forget_ended_mounts(&self) -> Result<(), StoreError> {
        let boot = boot_id()?;
        for pin in self.pins()? {
            if has_ended(&pin.name, &boot) {
                self.unpin(&pin.name)?;
            }
        }
        Ok(())
    }
}

/// Whether a pin is that of a mount, and the machine was started since.
fn has_ended(pin: &str, boot: &str) -> bool {
    let made_in = pin.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('-'));
    made_in.is_some_and(|(made_in, _)| made_in.len() == boot.len() && made_in != boot)
}

fn pin_name(place: &Path) -> Result<String, StoreError> {
    let place = hex::encode(&Sha256::digest(place.as_os_str().as_encoded_bytes())[..8]);
    Ok(format!("{PREFIX}{}-{place}", boot_id()?))
}

/// What the kernel calls this run of the machine, a UUID.
fn boot_id() -> Result<String, StoreError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let id = fs::read_to_string(path).map_err(StoreError::io(path))?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_end_with_the_run_of_the_machine_that_made_them() {
        let boot = boot_id().unwrap();
        assert!(!has_ended(&pin_name(Path::new("/mnt")).unwrap(), &boot));
        let earlier = "mounted-0e7a1c5e-5b1f-4a55-8f0d-8f3b8a3b8f10-0123456789abcdef";
        assert!(has_ended(earlier, &boot));
        for name in ["web", "mounted-", "mounted-by-me", "mounted-here"] {
            assert!(!has_ended(name, &boot), "{name} is a person's");
        }
        assert_ne!(
            pin_name(Path::new("/mnt")).unwrap(),
            pin_name(Path::new("/srv")).unwrap()
        );
    }
}
