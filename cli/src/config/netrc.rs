//! `~/.netrc`, as ftp, curl and others read it: logins by machine.
//!
//! An entry `default` is for every machine, and so is not used: a password is for one host.

use std::{path::Path, str::SplitAsciiWhitespace};

use anyhow::Result;
use dhow_fetchers::{Credential, Login, Secret, Sending};

use super::{
    leaf::{HIDDEN, Placed},
    read_if_there,
};

pub(super) fn read(path: &Path) -> Result<Vec<Placed<Credential>>> {
    let credentials = read_if_there(path)?.map(|text| parse(&text)).unwrap_or_default();
    let placed = |credential: Credential| {
        let user = match &credential.login {
            Login::Basic { user, .. } => user.clone(),
            Login::Bearer(_) => String::new(),
        };
        Placed::new(
            credential,
            path,
            &[("credentials.user", &user), ("credentials.password", HIDDEN)],
        )
    };
    Ok(credentials.into_iter().map(placed).collect())
}

fn parse(text: &str) -> Vec<Credential> {
    let without_macros = without_macros(text);
    let mut words = without_macros.split_ascii_whitespace();
    let mut credentials = Vec::new();
    let mut next = words.next();
    while let Some(word) = next {
        next = match word {
            "machine" => {
                let machine = words.next();
                let (login, after) = entry(&mut words);
                if let (Some(machine), Some(login)) = (machine, login) {
                    credentials.push(Credential {
                        host: machine.to_ascii_lowercase(),
                        port: None,
                        login,
                        sending: Sending::WhenAsked,
                    });
                }
                after
            }
            "default" => entry(&mut words).1,
            _ => words.next(),
        };
    }
    credentials
}

/// What stands behind a machine's name, and the word that ends it.
fn entry<'a>(words: &mut SplitAsciiWhitespace<'a>) -> (Option<Login>, Option<&'a str>) {
    let (mut user, mut password) = (None, None);
    let after = loop {
        match words.next() {
            Some("login") => user = words.next(),
            Some("password") => password = words.next(),
            Some("account") => drop(words.next()),
            other => break other,
        }
    };
    let login = user.zip(password).map(|(user, password)| Login::Basic {
        user: user.to_owned(),
        password: Secret::new(password),
    });
    (login, after)
}

/// A macro goes from `macdef` to an empty line; a comment to the end of its line.
fn without_macros(text: &str) -> String {
    let mut is_macro = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim().is_empty() {
            is_macro = false;
        } else if line.trim_start().starts_with("macdef") {
            is_macro = true;
        }
        if !is_macro && !line.trim_start().starts_with('#') {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_logins_and_the_default_is_nobodys() {
        let text = "\
            # machine commented.example login no password no\n\
            machine a.example login alice password secret1\n\
            machine B.example\n  login bob\n  account ignored\n  password machine\n\
            machine nopassword.example login carl\n\
            macdef init\n machine macro.example login x password y\n\n\
            default login anybody password everywhere\n\
            machine last.example login dora password d";
        let found: Vec<_> = parse(text)
            .into_iter()
            .map(|credential| match credential.login {
                Login::Basic { user, password } => (credential.host, user, password),
                Login::Bearer(_) => panic!("netrc has no tokens"),
            })
            .collect();
        let expected = [
            ("a.example", "alice", "secret1"),
            ("b.example", "bob", "machine"),
            ("last.example", "dora", "d"),
        ];
        let expected = expected.map(|(host, user, password)| (host.to_owned(), user.to_owned(), Secret::new(password)));
        assert_eq!(found, expected);
    }
}
