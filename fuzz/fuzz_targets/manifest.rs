//! A manifest that is read is valid, and says the same after it was written and read again.
#![no_main]

use dhow_image::{ImageManifest, PodManifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    if let Ok(manifest) = ImageManifest::from_json(json) {
        let written = manifest.to_json().expect("what was read can be written");
        let again = ImageManifest::from_json(&written).expect("what was written can be read");
        assert_eq!(again, manifest);
    }
    if let Ok(manifest) = PodManifest::from_json(json) {
        let written = manifest.to_json().expect("what was read can be written");
        let again = PodManifest::from_json(&written).expect("what was written can be read");
        assert_eq!(again, manifest);
    }
});
