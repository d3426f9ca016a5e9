//! [`Magnet`]: a link that names a torrent by its digest alone (BEP 9).

use std::{fmt, net::SocketAddr, str::FromStr};

use url::Url;

use crate::error::Error;

/// A magnet link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    info_hash: [u8; 20],
    trackers: Vec<Url>,
    web_seeds: Vec<Url>,
    peers: Vec<SocketAddr>,
    text: String,
}

impl Magnet {
    /// The torrent's name among peers.
    pub fn info_hash(&self) -> [u8; 20] {
        self.info_hash
    }

    /// Where peers find each other (`tr`).
    pub fn trackers(&self) -> &[Url] {
        &self.trackers
    }

    /// Where on the web the file is (`ws`).
    pub fn web_seeds(&self) -> &[Url] {
        &self.web_seeds
    }

    /// Peers to begin with (`x.pe`), where they are given by address.
    pub fn peers(&self) -> &[SocketAddr] {
        &self.peers
    }
}

impl FromStr for Magnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |problem| Error::Magnet {
            text: text.to_owned(),
            problem,
        };
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "magnet");
        let url = url.ok_or_else(|| invalid("it does not begin with `magnet:?`"))?;
        let mut info_hash = None;
        let (mut trackers, mut web_seeds, mut peers) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in url.query_pairs() {
            match &*key {
                "xt" => {
                    if let Some(hash) = value.strip_prefix("urn:btih:") {
                        info_hash = Some(hash_of(hash).ok_or_else(|| invalid("its `btih` is no SHA-1"))?);
                    }
                }
                "tr" => trackers.extend(Url::parse(&value)),
                "ws" => web_seeds.extend(Url::parse(&value)),
                "x.pe" => peers.extend(value.parse::<SocketAddr>()),
                _ => {}
            }
        }
        Ok(Self {
            info_hash: info_hash.ok_or_else(|| invalid("it has no `xt=urn:btih:…`"))?,
            trackers,
            web_seeds,
            peers,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A SHA-1 in 40 hex digits, or in the 32 characters of base32 that old links have.
fn hash_of(text: &str) -> Option<[u8; 20]> {
    if text.len() == 40 {
        return hex::decode(text).ok()?.try_into().ok();
    }
    let mut bits = 0_u64;
    let mut count = 0;
    let mut bytes = Vec::with_capacity(20);
    for byte in text.bytes() {
        let value = match byte {
            b'a'..=b'z' => byte - b'a',
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u64::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    (text.len() == 32).then_some(bytes)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn links_are_read() {
        let hex = "cab507494d02ebb1178b38f2e9d7be299c86b862";
        let text = format!(
            "magnet:?xt=urn:btih:{hex}&dn=a.aci&tr=udp%3A%2F%2Ft.example%3A1&tr=%%%&ws=https://a.example/a&x.pe=10.0.0.1:6881"
        );
        let magnet: Magnet = text.parse().unwrap();
        assert_eq!(hex::encode(magnet.info_hash()), hex);
        assert_eq!(magnet.trackers()[0].as_str(), "udp://t.example:1");
        assert_eq!(magnet.trackers().len(), 1);
        assert_eq!(magnet.web_seeds()[0].as_str(), "https://a.example/a");
        assert_eq!(magnet.peers(), ["10.0.0.1:6881".parse().unwrap()]);
        assert_eq!(magnet.to_string(), text);
        let base32: Magnet = "magnet:?xt=urn:btih:ZK2QOSKNALV3CF4LHDZOTV56FGOINODC".parse().unwrap();
        assert_eq!(base32.info_hash(), magnet.info_hash());
    }

    #[test]
    fn what_names_no_torrent_is_refused() {
        for text in [
            "magnet:",
            "magnet:?dn=a",
            "magnet:?xt=urn:btih:123",
            "magnet:?xt=urn:btih:zzb507494d02ebb1178b38f2e9d7be299c86b862",
            "magnet:?xt=urn:btmh:1220caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e",
            "https://example.com/?xt=urn:btih:cab507494d02ebb1178b38f2e9d7be299c86b862",
        ] {
            assert!(matches!(text.parse::<Magnet>(), Err(Error::Magnet { .. })), "{text}");
        }
    }
}
