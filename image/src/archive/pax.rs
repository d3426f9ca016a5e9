//! PAX records: `LENGTH KEY=VALUE\n`, the length counting itself (POSIX.1-2017, pax, "Extended Header").

/// Takes the records of an extended header apart; `None` where one is malformed.
pub(super) fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
        let length = usize::try_from(digits(&bytes[..space])?).ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    // Some writers fill up with NULs; records behind them would be read by some programs and not by others.
    bytes.iter().all(|&byte| byte == 0).then_some(records)
}

/// A number of digits alone: `parse` would take a sign too.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// The name of an extended attribute as a part of a key, in which `=` would end it: GNU tar's encoding.
pub(crate) fn encode_xattr_name(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b'=' => out.extend_from_slice(b"%3D"),
            _ => out.push(byte),
        }
    }
    out
}

/// Undoes [`encode_xattr_name`], and leaves alone every other `%`, which star and libarchive write as it is.
pub(crate) fn decode_xattr_name(mut name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    while let Some((&byte, rest)) = name.split_first() {
        (name, _) = match (byte, rest) {
            (b'%', [b'2', b'5', rest @ ..]) => (rest, out.push(b'%')),
            (b'%', [b'3', b'D', rest @ ..]) => (rest, out.push(b'=')),
            _ => (rest, out.push(byte)),
        };
    }
    out
}

/// Appends one record.
pub(crate) fn push_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3; // a space, an equals sign, a newline
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Seconds and a fraction, which counts up from the seconds, as PAX writes it: a sign and a magnitude.
pub(crate) fn time_text(seconds: i64, nanoseconds: u32) -> String {
    let text = match (seconds, nanoseconds) {
        (_, 0) => return seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanoseconds:09}"),
        _ => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    };
    text.trim_end_matches('0').to_owned()
}

/// A PAX time, `SECONDS[.FRACTION]`, as seconds and the nanoseconds to add.
pub(super) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let magnitude = whole.strip_prefix('-').unwrap_or(whole);
    if magnitude.is_empty()
        || !magnitude
            .bytes()
            .chain(fraction.bytes())
            .all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn records_round_trip_where_the_length_grows_a_digit() {
        for size in [0, 1, 88, 89, 90, 91, 92, 985, 986, 987, 5000] {
            let mut bytes = Vec::new();
            push_record(&mut bytes, b"path", &vec![b'x'; size]);
            push_record(&mut bytes, b"b", b"1\n2=3");
            let back = records(&bytes).unwrap();
            assert_eq!(back[0], (&b"path"[..], &vec![b'x'; size][..]));
            assert_eq!(back[1], (&b"b"[..], &b"1\n2=3"[..]));
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            "5 a=",
            "99 a=b\n",
            "x a=b\n",
            "7 a=b\n",
            "6 a-b\n",
            "0 a=b\n",
            "+6 a=b\n",
            "6 a=b\n\x006 a=c\n",
        ] {
            assert!(records(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn times_keep_their_fraction() {
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"7"), Some((7, 0)));
        assert_eq!(time(b"1.0000000019"), Some((1, 1)));
        assert_eq!(time(b"-0.25"), Some((-1, 750_000_000)));
        assert_eq!(time(b"-9223372036854775808"), Some((i64::MIN, 0)));
        for bad in [
            "1.x",
            "",
            "-",
            ".5",
            "+1",
            "1.-5",
            "--1",
            "-9223372036854775808.5",
            "9223372036854775808",
        ] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn attribute_names_may_have_an_equals_sign() {
        let name = b"user.a=b%c%3D";
        assert_eq!(encode_xattr_name(name), b"user.a%3Db%25c%253D");
        assert_eq!(decode_xattr_name(&encode_xattr_name(name)), name);
        assert_eq!(decode_xattr_name(b"user.100%"), b"user.100%");
    }
}
