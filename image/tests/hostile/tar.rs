//! A tar that says whatever it is told to: the opposite of a tar writer.

/// Builds a tar block by block.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

/// A header that can lie. Every setter overwrites the bytes of a field; the checksum is taken last.
#[derive(Clone)]
pub(crate) struct Header([u8; 512]);

pub(crate) const MANIFEST: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/hostile"}"#;

impl Header {
    pub(crate) fn new(kind: u8, name: &[u8]) -> Self {
        let mut header = Self([0; 512]);
        header.0[156] = kind;
        header
            .field(0, &name[..name.len().min(100)])
            .field(100, b"0000644\0")
            .field(108, b"0000000\0")
            .field(116, b"0000000\0")
            .field(136, b"00000000001\0")
            .field(257, b"ustar\x0000")
            .field(329, b"0000000\x000000000\0")
            .size(0)
    }

    pub(crate) fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn size(self, size: u64) -> Self {
        self.field(124, format!("{size:011o}\0").as_bytes())
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        self.field(100, format!("{mode:07o}\0").as_bytes())
    }

    pub(crate) fn link(self, target: &[u8]) -> Self {
        self.field(157, target)
    }

    pub(crate) fn device(self, major: u32, minor: u32) -> Self {
        self.field(329, format!("{major:07o}\0{minor:07o}\0").as_bytes())
    }

    fn summed(self) -> [u8; 512] {
        let blank = self.field(148, b"        ");
        let sum: u32 = blank.0.iter().map(|&byte| u32::from(byte)).sum();
        blank.field(148, format!("{sum:06o}\0 ").as_bytes()).0
    }
}

impl Tar {
    /// A manifest and `rootfs`: what an image must have.
    pub(crate) fn image() -> Self {
        Self::default().file("manifest", MANIFEST.as_bytes()).dir("rootfs")
    }

    /// An image with this manifest.
    pub(crate) fn with_manifest(json: &[u8]) -> Self {
        Self::default().file("manifest", json).dir("rootfs")
    }

    pub(crate) fn header(mut self, header: Header) -> Self {
        self.0.extend(header.summed());
        self
    }

    pub(crate) fn content(mut self, content: &[u8]) -> Self {
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.header(Header::new(b'0', name.as_bytes()).size(content.len() as u64))
            .content(content)
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.header(Header::new(b'5', name.as_bytes()).mode(0o755))
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.header(Header::new(b'2', name.as_bytes()).link(target.as_bytes()))
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.header(Header::new(b'1', name.as_bytes()).link(target.as_bytes()))
    }

    /// A PAX header of these records, for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extension(b'x', &pax_records(records))
    }

    /// A PAX or GNU header with this body.
    pub(crate) fn extension(self, kind: u8, body: &[u8]) -> Self {
        self.header(Header::new(kind, b"././@LongLink").size(body.len() as u64))
            .content(body)
    }

    /// The two blocks of zeros at the end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..)
            .find(|length| length.to_string().len() + rest == *length)
            .expect("some length counts itself");
        body.extend(format!("{length} {key}=").bytes());
        body.extend(*value);
        body.push(b'\n');
    }
    body
}
