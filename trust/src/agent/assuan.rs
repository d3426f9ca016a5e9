//! A connection to gpg-agent (GnuPG manual, "Agent's Assuan Protocol"; Assuan manual, "Client/Server protocol").

use std::{
    env,
    io::{BufRead, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

/// No honest answer is longer, in bytes.
const MAX_ANSWER: usize = 64 << 10;
/// An Assuan line has at most this many bytes.
const MAX_LINE: u64 = 1002;

pub(super) struct Connection {
    stream: BufReader<UnixStream>,
}

/// Where the user's agent listens: what `gpgconf` says, or in GNUPGHOME where there is no gpgconf.
pub(super) fn default_socket() -> Result<PathBuf, Error> {
    let asked = Command::new("gpgconf").args(["--list-dirs", "agent-socket"]).output();
    if let Ok(output) = asked
        && output.status.success()
    {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::ffi::OsStr::from_bytes(output.stdout.trim_ascii());
        if !path.is_empty() {
            return Ok(path.into());
        }
    }
    let home = match env::var_os("GNUPGHOME") {
        Some(home) => Some(PathBuf::from(home)),
        None => env::home_dir().map(|home| home.join(".gnupg")),
    };
    home.map(|home| home.join("S.gpg-agent")).ok_or_else(|| Error::Agent {
        problem: "there is no gpgconf that says where it listens, and no home directory".to_owned(),
        source: None,
    })
}

impl Connection {
    pub(super) fn open(socket: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(socket).map_err(|source| Error::Agent {
            problem: format!("nothing listens on `{}`", socket.display()),
            source: Some(source),
        })?;
        let mut connection = Self {
            stream: BufReader::new(stream),
        };
        connection.answer("connect")?;
        // Where the pinentry may ask. A forwarded agent forbids these, and asks where it is.
        for (option, variable) in [("ttytype", "TERM"), ("display", "DISPLAY"), ("lc-ctype", "LC_CTYPE")] {
            if let Ok(value) = env::var(variable) {
                connection.option(option, &value)?;
            }
        }
        if let Some(terminal) = env::var("GPG_TTY").ok().or_else(terminal) {
            connection.option("ttyname", &terminal)?;
        }
        Ok(connection)
    }

    fn option(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match self.command(&format!("OPTION {name}={value}")) {
            Err(Error::AgentRefused { .. }) => Ok(()),
            result => result.map(drop),
        }
    }

    pub(super) fn has_key(&mut self, grip: &str) -> Result<bool, Error> {
        match self.command(&format!("HAVEKEY {grip}")) {
            Ok(_) => Ok(true),
            Err(Error::AgentRefused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A signature of a digest, as a canonical S-expression.
    pub(super) fn sign(&mut self, grip: &str, description: &str, hash: u8, digest: &[u8]) -> Result<Vec<u8>, Error> {
        self.command(&format!("SIGKEY {grip}"))?;
        self.command(&format!("SETKEYDESC {}", escape(description)))?;
        let digits = sequoia_openpgp::fmt::hex::encode(digest);
        self.command(&format!("SETHASH {hash} {digits}"))?;
        self.command("PKSIGN")
    }

    fn command(&mut self, line: &str) -> Result<Vec<u8>, Error> {
        let name = line.split(' ').next().unwrap_or(line);
        // A line's end in it would be another command.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let sent = self.stream.get_mut().write_all(format!("{line}\n").as_bytes());
        sent.map_err(|source| broken(name, Some(source)))?;
        self.answer(name)
    }

    /// The data of an answer, up to its `OK`.
    fn answer(&mut self, command: &str) -> Result<Vec<u8>, Error> {
        let mut data = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line);
            read.map_err(|source| broken(command, Some(source)))?;
            let Some(line) = line.strip_suffix(b"\n") else {
                return Err(broken(command, None));
            };
            if line == b"OK" || line.starts_with(b"OK ") {
                return Ok(data);
            } else if let Some(part) = line.strip_prefix(b"D ") {
                data.extend(unescape(part));
                if data.len() > MAX_ANSWER {
                    return Err(broken(command, None));
                }
            } else if let Some(error) = line.strip_prefix(b"ERR ") {
                let text = String::from_utf8_lossy(error);
                let text = text.split_once(' ').map_or(&*text, |(_, text)| text);
                return Err(Error::AgentRefused {
                    command: command.to_owned(),
                    answer: text.replace(char::is_control, "\u{fffd}"),
                });
            } else if line.starts_with(b"INQUIRE ") {
                // It asks for what we do not have, or tells that its pinentry starts: we have nothing to add.
                let sent = self.stream.get_mut().write_all(b"END\n");
                sent.map_err(|source| broken(command, Some(source)))?;
            }
            // `S …` tells how it goes, `# …` is a comment.
        }
    }
}

fn broken(command: &str, source: Option<std::io::Error>) -> Error {
    Error::Agent {
        problem: format!("it gave no answer to {command}"),
        source,
    }
}

/// The terminal of this process, for a pinentry that asks there.
fn terminal() -> Option<String> {
    let path = std::fs::read_link("/proc/self/fd/0").ok()?;
    let path = path.to_str()?;
    (path.starts_with("/dev/pts/") || path.starts_with("/dev/tty")).then(|| path.to_owned())
}

/// As SETKEYDESC has it: spaces are `+`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'@' | b'.' | b'-' | b'<' | b'>' | b'(' | b')' | b'`' => {
                escaped.push(byte.into());
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_escaped_and_read_back() {
        assert_eq!(escape("Carly <c@x> 100%\n"), "Carly+<c@x>+100%25%0A");
        assert_eq!(unescape(b"a%0Ab%25%zz%"), b"a\nb%%zz%");
    }
}
