//! [`OwnerMap`]: whose the files of an image are.

use std::{collections::BTreeMap, str::FromStr};

use thiserror::Error;

/// Maps the owners that files have here to those that they have in the image. Whoever is not mapped stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerMap {
    all: Option<(u32, u32)>,
    users: BTreeMap<u32, u32>,
    groups: BTreeMap<u32, u32>,
}

/// Why a text is no map of owners.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not of the form {form}, with numbers")]
pub struct OwnerMapError {
    text: String,
    form: &'static str,
}

impl OwnerMap {
    /// Every file belongs to this user and group.
    pub fn all(user: u32, group: u32) -> Self {
        Self {
            all: Some((user, group)),
            ..Self::default()
        }
    }

    /// Files of one user belong to another: `FROM=TO`.
    pub fn add_user(&mut self, text: &str) -> Result<(), OwnerMapError> {
        let (from, to) = numbers(text, '=', "FROM=TO")?;
        self.users.insert(from, to);
        Ok(())
    }

    /// Files of one group belong to another: `FROM=TO`.
    pub fn add_group(&mut self, text: &str) -> Result<(), OwnerMapError> {
        let (from, to) = numbers(text, '=', "FROM=TO")?;
        self.groups.insert(from, to);
        Ok(())
    }

    /// The user and group in the image.
    pub fn map(&self, user: u32, group: u32) -> (u32, u32) {
        self.all.unwrap_or((
            self.users.get(&user).copied().unwrap_or(user),
            self.groups.get(&group).copied().unwrap_or(group),
        ))
    }
}

impl FromStr for OwnerMap {
    type Err = OwnerMapError;

    /// `UID:GID`, for every file.
    fn from_str(text: &str) -> Result<Self, OwnerMapError> {
        numbers(text, ':', "UID:GID").map(|(user, group)| Self::all(user, group))
    }
}

fn numbers(text: &str, separator: char, form: &'static str) -> Result<(u32, u32), OwnerMapError> {
    let parse = || {
        let (first, second) = text.split_once(separator)?;
        Some((first.parse().ok()?, second.parse().ok()?))
    };
    parse().ok_or_else(|| OwnerMapError {
        text: text.to_owned(),
        form,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_is_not_mapped_stays() {
        let mut map = OwnerMap::default();
        map.add_user("1000=0").unwrap();
        map.add_group("100=5").unwrap();
        assert_eq!(map.map(1000, 100), (0, 5));
        assert_eq!(map.map(7, 1000), (7, 1000));
        assert_eq!("3:4".parse::<OwnerMap>().unwrap().map(1000, 100), (3, 4));
    }

    #[test]
    fn what_is_no_map_is_named() {
        assert_eq!(
            "root:root".parse::<OwnerMap>().unwrap_err().to_string(),
            "`root:root` is not of the form UID:GID, with numbers"
        );
        assert!(OwnerMap::default().add_user("1000").is_err());
    }
}
