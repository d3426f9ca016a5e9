//! What is asked of a manifest's JSON before it is believed to be what the schema says.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::ArchiveError;
use crate::manifest::{ImageManifest, ManifestError};

/// How many values and keys a manifest may have. In memory each takes up to 200 bytes, where it takes two as JSON; the
/// longest honest manifests have whitelists of some ten thousand paths.
const MAX_VALUES: u32 = 200_000;

/// Reads the manifest of an archive, which nobody has checked.
///
/// Beyond the schema, no object in it may have a key twice: some programs take the first of them and some the last,
/// and what one has checked another would not run.
pub(super) fn parse(json: &[u8]) -> Result<ImageManifest, ArchiveError> {
    check(json)?;
    Ok(ImageManifest::from_json(json)?)
}

/// Checks what is asked of the JSON beyond the schema.
pub(crate) fn check(json: &[u8]) -> Result<(), ManifestError> {
    let values_left = Cell::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = Value {
        values_left: &values_left,
    };
    value.deserialize(&mut reader)?;
    Ok(())
}

/// Walks through a value and keeps nothing of it.
#[derive(Clone, Copy)]
struct Value<'a> {
    values_left: &'a Cell<u32>,
}

impl Value<'_> {
    fn count<E: Error>(&self) -> Result<(), E> {
        let left = self.values_left.get().checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format_args!("it has over {MAX_VALUES} values")))?;
        self.values_left.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            self.count()?;
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key `{}` stands twice",
                    key.escape_debug()
                )));
            }
            keys.insert(key);
            map.next_value_seed(self)?;
        }
        Ok(())
    }
}
