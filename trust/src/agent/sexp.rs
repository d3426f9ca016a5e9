//! The canonical S-expressions in which libgcrypt writes numbers: `(7:sig-val(3:rsa(1:s4:…)))`.

/// The value of the list `(name value)`, at any depth.
pub(super) fn value(expression: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut atoms: Vec<&[u8]> = Vec::new();
    let mut rest = expression;
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'(' => {
                atoms.clear();
                rest = after;
            }
            b')' => {
                if let [found, value] = atoms[..]
                    && found == name.as_bytes()
                {
                    return Some(value.to_owned());
                }
                atoms.clear();
                rest = after;
            }
            b'0'..=b'9' => {
                let colon = rest.iter().position(|byte| *byte == b':')?;
                let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
                let end = (colon + 1).checked_add(length)?;
                atoms.push(rest.get(colon + 1..end)?);
                rest = &rest[end..];
            }
            // The end: what the agent pads with.
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_nonsense_is_none() {
        let eddsa = b"(7:sig-val(5:eddsa(1:r3:a)c)(1:s2:()))\0";
        assert_eq!(value(eddsa, "r").as_deref(), Some(&b"a)c"[..]));
        assert_eq!(value(eddsa, "s").as_deref(), Some(&b"()"[..]));
        for nonsense in [
            &b""[..],
            b"(1:s",
            b"(1:s9:abc)",
            b"(99999999999999999999:s)",
            b"(1:t1:a)",
            b"junk",
        ] {
            assert_eq!(value(nonsense, "s"), None);
        }
    }
}
