//! Public keys, as a publisher offers them. Whether they are trusted is for the user to say.

use std::path::PathBuf;

use dhow_discovery::{Options, Request, Trace, discover_pubkeys};
use dhow_image::{Labels, Name};
use tokio::io::AsyncReadExt;
use url::Url;

use crate::{
    client::HttpClient,
    error::{Error, shown},
    insecure::Insecure,
    origin::Origin,
    pages::Pages,
};

/// No honest file of keys is larger, in bytes.
const MAX_KEYS: usize = 4 << 20;

/// Where to ask for keys.
#[derive(Clone, Debug)]
pub enum PubkeySource {
    /// The `ac-discovery-pubkeys` tags of a name or its parent paths.
    Discovered(Name),
    /// A URL.
    Url(Url),
    /// A file.
    File(PathBuf),
}

/// One file of keys, unread.
#[derive(Clone, Debug)]
pub struct Pubkeys {
    /// The URL or path that it came from.
    pub place: String,
    /// What is in it: OpenPGP certificates, armored or not, or so it should be.
    pub bytes: Vec<u8>,
}

/// Fetches files of public keys, and tells how they were discovered. There is at least one.
pub async fn fetch_pubkeys(
    source: &PubkeySource,
    client: &HttpClient,
    insecure: Insecure,
) -> Result<(Vec<Pubkeys>, Trace), Error> {
    let client = match insecure.pubkey {
        true => &client.with_insecure_http()?,
        false => client,
    };
    match source {
        PubkeySource::File(path) => {
            let unreadable = |source| Error::Read {
                path: path.clone(),
                source,
            };
            let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
            let mut bytes = Vec::new();
            file.take(MAX_KEYS as u64 + 1)
                .read_to_end(&mut bytes)
                .await
                .map_err(unreadable)?;
            Ok((vec![checked(path.display().to_string(), bytes)?], Trace::default()))
        }
        PubkeySource::Url(url) => Ok((vec![one(client, url, &Origin::of_url(url)).await?], Trace::default())),
        PubkeySource::Discovered(name) => {
            let origin = Origin::of_name(name);
            let request = Request::new(name.clone(), Labels::default());
            let options = if client.options().insecure_http {
                Options::insecure_http()
            } else {
                Options::https()
            };
            let discovery = discover_pubkeys(&Pages::new(client, &origin), &request, &options).await?;
            let mut files = Vec::new();
            for url in &discovery.pubkeys {
                files.push(one(client, url, &origin).await?);
            }
            Ok((files, discovery.trace))
        }
    }
}

async fn one(client: &HttpClient, url: &Url, origin: &Origin) -> Result<Pubkeys, Error> {
    let answer = client.get_small(url, origin, MAX_KEYS).await?;
    answer.check(url)?;
    checked(shown(&answer.url), answer.body)
}

fn checked(place: String, bytes: Vec<u8>) -> Result<Pubkeys, Error> {
    if bytes.len() > MAX_KEYS {
        return Err(Error::TooLarge {
            url: place,
            most: MAX_KEYS,
            what: "file of public keys",
        });
    }
    Ok(Pubkeys { place, bytes })
}
