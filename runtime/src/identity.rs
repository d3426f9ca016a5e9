//! Who an app runs as (appc spec, aci.md, "user", "group").

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use dhow_image::App;

use crate::PodError;

/// No sane `/etc/passwd` is larger; an image could have an endless one.
const FILE_LIMIT: u64 = 8 << 20;

/// The IDs of an app's processes, and what the image tells of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) supplementary: Vec<u32>,
    pub(crate) user_name: Option<String>,
    pub(crate) home: Option<String>,
    pub(crate) shell: Option<String>,
}

impl Identity {
    /// The user and group that `app` names, looked up in the image whose root is this process's root.
    pub(crate) fn resolve(name: &str, app: &App) -> Result<Self, PodError> {
        let passwd = read_database("/etc/passwd")?;
        let group = read_database("/etc/group")?;
        let error = |kind: &str, database: &str, wanted: &str| PodError::Start {
            app: name.to_owned(),
            problem: format!("the image has no {kind} `{wanted}` in its `{database}`"),
            hint: Some(format!("`--{kind}` takes a number as well")),
        };
        let uid = match id_of(&passwd, &app.user) {
            Some(uid) => uid,
            None if app.user.starts_with('/') => owner_of(&app.user)?.0,
            None => return Err(error("user", "/etc/passwd", &app.user)),
        };
        let gid = match id_of(&group, &app.group) {
            Some(gid) => gid,
            None if app.group.starts_with('/') => owner_of(&app.group)?.1,
            None => return Err(error("group", "/etc/group", &app.group)),
        };
        let account = account_of(&passwd, uid, &app.user);
        let field = |index: usize| {
            account
                .as_ref()
                .and_then(|fields| fields.get(index))
                .filter(|text| !text.is_empty())
        };
        Ok(Self {
            uid,
            gid,
            supplementary: app.supplementary_gids.clone(),
            user_name: field(0).cloned(),
            home: field(5).cloned(),
            shell: field(6).cloned(),
        })
    }

    /// Root, of whom nothing more is known.
    #[cfg(test)]
    pub(crate) fn root() -> Self {
        Self {
            uid: 0,
            gid: 0,
            supplementary: Vec::new(),
            user_name: None,
            home: None,
            shell: None,
        }
    }
}

/// The ID that a line of a database gives `wanted`, or `wanted` itself where it is a number and no name.
fn id_of(database: &str, wanted: &str) -> Option<u32> {
    let by_name = lines(database)
        .find(|fields| fields[0] == wanted)
        .and_then(|fields| fields.get(2)?.parse().ok());
    by_name.or_else(|| {
        wanted
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| wanted.parse().ok())
            .flatten()
    })
}

/// The line of `uid`: that of the name by which it was asked for, else the first.
fn account_of(passwd: &str, uid: u32, wanted: &str) -> Option<Vec<String>> {
    let is_uid = |fields: &Vec<&str>| fields.get(2).and_then(|id| id.parse().ok()) == Some(uid);
    let mut accounts: Vec<_> = lines(passwd).filter(is_uid).collect();
    let chosen = accounts.iter().position(|fields| fields[0] == wanted).unwrap_or(0);
    (chosen < accounts.len()).then(|| accounts.swap_remove(chosen).into_iter().map(str::to_owned).collect())
}

fn lines(database: &str) -> impl Iterator<Item = Vec<&str>> {
    database
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(':').collect())
}

/// A database of the image, empty where it has none. Neither a FIFO nor an endless file holds up the pod.
fn read_database(path: &str) -> Result<String, PodError> {
    let mut bytes = Vec::new();
    let mut read = || -> io::Result<()> {
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if file.metadata()?.is_file() {
            file.take(FILE_LIMIT).read_to_end(&mut bytes)?;
        }
        Ok(())
    };
    match read() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PodError::file("read", path)(error)),
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn owner_of(path: &str) -> Result<(u32, u32), PodError> {
    let metadata = fs::metadata(Path::new(path)).map_err(PodError::file("find the owner of", path))?;
    Ok((metadata.uid(), metadata.gid()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# web:x:9:9::/:\nweb:x:33:33::/var/www:/usr/sbin/nologin\n\
                          1000:x:7:7::/odd:\nbroken\ntoor:x:0:0::/toor:/bin/csh\n";

    #[test]
    fn names_come_before_numbers() {
        assert_eq!(id_of(PASSWD, "web"), Some(33));
        assert_eq!(id_of(PASSWD, "1000"), Some(7), "a name that is all digits");
        assert_eq!(id_of(PASSWD, "1001"), Some(1001));
        for wanted in ["nobody", "broken", "-1", "+5", "", "4294967296", "/bin/ping"] {
            assert_eq!(id_of(PASSWD, wanted), None, "{wanted}");
        }
    }

    #[test]
    fn the_account_is_that_of_the_name_or_the_first() {
        assert_eq!(account_of(PASSWD, 0, "toor").unwrap()[5], "/toor");
        assert_eq!(account_of(PASSWD, 0, "0").unwrap()[5], "/root");
        assert_eq!(account_of(PASSWD, 5, "5"), None);
    }
}
