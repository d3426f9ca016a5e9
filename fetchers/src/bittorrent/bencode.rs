//! A reader of bencoding (BEP 3) that keeps nothing, for bytes of strangers.
//!
//! It walks over what it does not look for without building it, so that memory does not grow with what is nested or
//! repeated in the input.

/// More levels than any honest metainfo has.
const DEEPEST: usize = 32;

/// Why it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// A place in the input.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.input.len()
    }

    pub(super) fn is_at(&self, first: u8) -> bool {
        self.input.get(self.at) == Some(&first)
    }

    /// A dictionary: calls `entry` with each key, at its value, which it reads or leaves.
    pub(super) fn dictionary<E: From<Malformed>>(
        &mut self,
        mut entry: impl FnMut(&'a [u8], &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'd', "a dictionary was expected")?;
        while !self.take(b'e') {
            let key = self.bytes()?;
            let value = self.clone();
            self.skip()?;
            let mut within = Self {
                input: &self.input[..self.at],
                at: value.at,
            };
            entry(key, &mut within)?;
        }
        Ok(())
    }

    /// A list: calls `item` at each of its values.
    pub(super) fn list<E: From<Malformed>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'l', "a list was expected")?;
        while !self.take(b'e') {
            item(self)?;
        }
        Ok(())
    }

    /// A byte string.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.digits(b':')?;
        let length = usize::try_from(length).map_err(|_| Malformed("a string is too long"))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.input.len());
        let end = end.ok_or(Malformed("a string is longer than the file"))?;
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// A number that is not negative.
    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        self.expect(b'i', "a number was expected")?;
        self.digits(b'e')
    }

    /// The bytes of a whole value.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        self.skip()?;
        Ok(&self.input[start..self.at])
    }

    /// Walks over a value.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        let mut depth = 0;
        loop {
            match self.input.get(self.at) {
                Some(b'd' | b'l') if depth == DEEPEST => return Err(Malformed("it is nested too deeply")),
                Some(b'd' | b'l') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'e') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b'i') => {
                    self.at += 1;
                    self.take(b'-');
                    self.digits(b'e')?;
                }
                Some(b'0'..=b'9') => {
                    self.bytes()?;
                }
                Some(_) => return Err(Malformed("a value begins with none of `d`, `l`, `i` and a digit")),
                None => return Err(Malformed("it ends too early")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn digits(&mut self, end: u8) -> Result<u64, Malformed> {
        let rest = &self.input[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&rest[..count]).expect("digits are ASCII");
        let number = text.parse().map_err(|_| Malformed("a number is none, or too large"))?;
        self.at += count;
        self.expect(end, "a number does not end as it should")?;
        Ok(number)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.is_at(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), Malformed> {
        self.take(byte).then_some(()).ok_or(Malformed(problem))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_walked_over() {
        let mut cursor = Cursor::new(b"d1:ai-3e1:bld1:ci0eee4:infod1:x3:abcee");
        let mut keys = Vec::new();
        let read = cursor.dictionary(|key, value| {
            keys.push((key.to_vec(), value.raw()?.to_vec()));
            Ok::<_, Malformed>(())
        });
        read.unwrap();
        assert!(cursor.is_at_end());
        assert_eq!(keys[0], (b"a".to_vec(), b"i-3e".to_vec()));
        assert_eq!(keys[1], (b"b".to_vec(), b"ld1:ci0eee".to_vec()));
        assert_eq!(keys[2], (b"info".to_vec(), b"d1:x3:abce".to_vec()));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let deep = ["l".repeat(DEEPEST + 1), "e".repeat(DEEPEST + 1)].concat();
        let long = "l".repeat(10_000_000);
        for input in [
            "",
            "d",
            "l",
            "i",
            "i-e",
            "ie",
            "i1",
            "3:ab",
            "99999999999999999999:",
            "x",
            "e",
            &deep,
            &long,
        ] {
            assert!(Cursor::new(input.as_bytes()).skip().is_err(), "{:.20}", input);
        }
        Cursor::new(["l".repeat(DEEPEST), "e".repeat(DEEPEST)].concat().as_bytes())
            .skip()
            .unwrap();
    }
}
