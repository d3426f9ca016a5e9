//! A reference that is read can be shown, and what is shown can be read and is shown as the same again.
#![no_main]

use dhow_image::{ImageId, Labels, Name, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let shown = reference.to_string();
        let again = shown.parse::<Reference>().expect("what was shown can be read");
        // Labels may have another order by then, so it is the texts that are compared.
        assert_eq!(again.to_string(), shown);
    }
    if let Ok(name) = Name::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(id) = text.parse::<ImageId>() {
        assert_eq!(id.to_string(), text);
    }
    let _ = Labels::default().get(text);
});
