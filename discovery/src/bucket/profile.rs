//! [`Profile`]: a section of the files that the AWS command line keeps its settings in.

use std::collections::BTreeMap;

/// The keys of a section and their values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile(BTreeMap<String, String>);

impl Profile {
    /// The section of one of these names, the first that there is.
    ///
    /// Lines are `[name]`, `key = value`, or comments that begin with `#` or `;`. Indented lines belong to the key
    /// above them, whose settings are for single services.
    pub(super) fn find(text: &str, names: &[&str]) -> Option<Self> {
        let mut found: Option<Self> = None;
        let mut is_within = false;
        for line in text.lines() {
            if line.starts_with(['#', ';', ' ', '\t']) {
                continue;
            }
            if let Some(section) = line.strip_prefix('[') {
                let name = section.split(']').next().unwrap_or_default();
                let name: Vec<&str> = name.split_whitespace().collect();
                is_within = names.contains(&name.join(" ").as_str());
                if is_within {
                    found.get_or_insert_default();
                }
            } else if let (true, Some(profile), Some((key, value))) = (is_within, &mut found, line.split_once('=')) {
                profile
                    .0
                    .insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        found
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.0.get(key).filter(|value| !value.is_empty()).cloned()
    }
}
