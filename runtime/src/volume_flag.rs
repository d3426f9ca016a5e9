//! `--volume NAME,kind=host,source=PATH,…`, as rkt writes it.

use dhow_image::{AcName, Volume, VolumeKind};

/// Reads a volume: `NAME,kind=host,source=/path[,readOnly=true][,recursive=false]` or
/// `NAME,kind=empty[,mode=0755][,uid=0][,gid=0]`.
pub(crate) fn parse_volume(text: &str) -> Result<Volume, String> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    let name = AcName::new(name).map_err(|error| error.to_string())?;
    let mut fields = Fields::default();
    for part in parts {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is not KEY=VALUE"))?;
        fields.set(key, value)?;
    }
    fields.volume(name)
}

#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    read_only: bool,
    recursive: Option<bool>,
    mode: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Fields {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let boolean = || {
            value
                .parse::<bool>()
                .map_err(|_| format!("`{key}` is `true` or `false`, not `{value}`"))
        };
        let number = || {
            value
                .parse::<u32>()
                .map_err(|_| format!("`{key}` is a number, not `{value}`"))
        };
        match key {
            "kind" => self.kind = Some(value.to_owned()),
            "source" => self.source = Some(value.to_owned()),
            "readOnly" => self.read_only = boolean()?,
            "recursive" => self.recursive = Some(boolean()?),
            "mode" => match u32::from_str_radix(value, 8) {
                Ok(mode) if mode <= 0o7777 => self.mode = Some(value.to_owned()),
                _ => return Err(format!("`mode` is an octal mode such as `0755`, not `{value}`")),
            },
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            _ => {
                return Err(format!(
                    "`{key}` is not known: kind, source, readOnly, recursive, mode, uid, gid are"
                ));
            }
        }
        Ok(())
    }

    fn volume(self, name: AcName) -> Result<Volume, String> {
        let kind = match self.kind.as_deref() {
            Some("host") => {
                if self.mode.is_some() || self.uid.is_some() || self.gid.is_some() {
                    return Err("`mode`, `uid` and `gid` are for volumes with `kind=empty`".to_owned());
                }
                let source = self.source.ok_or("a volume with `kind=host` needs `source=/path`")?;
                if !source.starts_with('/') {
                    return Err(format!("`source` is an absolute path, not `{source}`"));
                }
                VolumeKind::Host {
                    source,
                    recursive: self.recursive,
                }
            }
            Some("empty") => {
                if self.source.is_some() || self.recursive.is_some() {
                    return Err("`source` and `recursive` are for volumes with `kind=host`".to_owned());
                }
                VolumeKind::Empty {
                    mode: self.mode,
                    uid: self.uid,
                    gid: self.gid,
                }
            }
            Some(kind) => return Err(format!("`kind` is `host` or `empty`, not `{kind}`")),
            None => return Err("it needs `kind=host` or `kind=empty`".to_owned()),
        };
        Ok(Volume::new(name, kind, self.read_only))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_kinds_are_read() {
        let host = parse_volume("data,kind=host,source=/srv/data,readOnly=true").unwrap();
        assert!(host.read_only);
        assert!(matches!(host.kind, VolumeKind::Host { source, recursive: None } if source == "/srv/data"));
        let empty = parse_volume("scratch,kind=empty,mode=0700,uid=7").unwrap();
        assert!(
            matches!(empty.kind, VolumeKind::Empty { mode: Some(mode), uid: Some(7), gid: None } if mode == "0700")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("data", "it needs `kind=host`"),
            ("data,kind=host", "needs `source=/path`"),
            ("data,kind=host,source=srv", "absolute path"),
            ("data,kind=nfs", "not `nfs`"),
            ("data,kind=host,source=/a,readonly=true", "`readonly` is not known"),
            ("data,kind=empty,mode=999", "octal"),
            ("data,kind=empty,source=/a", "are for volumes with `kind=host`"),
        ];
        for (text, problem) in cases {
            let error = parse_volume(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
