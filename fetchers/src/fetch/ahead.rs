//! [`Ahead`]: an archive that is asked for together with its signature.
//!
//! A name is three questions away from its archive: the page, the signature, the archive. The last two are asked at
//! once, as they are where a URL names the archive, on a web server or in a bucket. What the second brings is not read
//! before the first is answered and may count: no more of the archive comes than what fits between us and the server,
//! and all of it is dropped if the signature is of no use.

use std::sync::{Arc, Mutex, PoisonError};

use dhow_image::Name;
use futures::{
    FutureExt,
    future::{self, BoxFuture, Either},
};
use url::Url;

use super::{Fetcher, blocking};
use crate::{
    download::Partial,
    error::{Error, shown},
    origin::Origin,
    retry::RetryPolicy,
    transport::{Ask, Early, HttpsTransport, Opened, Transport, Version},
};

/// The answer, which may not have come yet. `None`: nobody was asked.
type Answer = BoxFuture<'static, Option<Result<Opened, Error>>>;

/// A transport that may have asked already.
struct Ahead<T> {
    transport: T,
    answer: Mutex<Option<Answer>>,
}

/// The file of an archive that was asked for before it is known whether it is wanted. It goes with this, unless it is
/// taken.
#[derive(Default)]
pub(super) struct Claim(Option<Partial>);

/// Where an archive and its signature are.
pub(super) struct ArchiveUrls<'a> {
    pub(super) archive: &'a Url,
    pub(super) signature: &'a Url,
    pub(super) origin: &'a Arc<Origin>,
    pub(super) patience: &'a RetryPolicy,
}

/// What was asked for.
pub(super) struct Asked {
    /// `None` where no signature is wanted.
    pub(super) signature: Option<Vec<u8>>,
    /// What brings the archive.
    pub(super) transport: Box<dyn Transport>,
    /// The archive's file, if it is ours already.
    pub(super) claim: Claim,
}

impl Fetcher<'_> {
    /// Asks for a signature, on a web server or in a bucket.
    ///
    /// If the archive is not on its way here already, and somebody is trusted for the name, or for any where it is not
    /// known yet, it is asked for at the same time: at most once on this machine.
    pub(super) async fn ask(&self, name: Option<&Name>, urls: &ArchiveUrls<'_>) -> Result<Asked, Error> {
        let (url, patience) = (urls.signature, urls.patience);
        if let Some(archive) = self.bucket(urls.archive)? {
            let signature = self.signature_in_bucket(url, patience);
            return self.signed(name, url, archive, signature).await;
        }
        let (client, origin) = (self.context.client.clone(), urls.origin);
        let archive = HttpsTransport::new(client, urls.archive.clone(), origin.clone());
        self.signed(name, url, archive, self.signature_at(url, origin, patience))
            .await
    }

    async fn signed<T: Early>(
        &self,
        name: Option<&Name>,
        url: &Url,
        transport: T,
        signature: impl Future<Output = Result<Option<Vec<u8>>, Error>> + Send,
    ) -> Result<Asked, Error> {
        let mut ahead = Ahead {
            transport,
            answer: Mutex::default(),
        };
        let mut claim = Claim::default();
        if self.context.insecure.image {
            return Ok(Asked {
                signature: None,
                transport: Box::new(ahead),
                claim,
            });
        }
        let place = ahead.place();
        let downloads = self.downloads();
        if !downloads.has_some(&place) && self.trusts_somebody(name).await {
            claim = Claim(downloads.claim_now(&place)?);
        }
        let signature = match &claim.0 {
            None => signature.await?,
            Some(_) => {
                let transport = ahead.transport.clone();
                let asking = async move { transport.ahead().await }.boxed();
                let signature = Box::pin(signature);
                match future::select(signature, asking).await {
                    Either::Left((signature, asking)) => {
                        ahead.answer = Mutex::new(Some(asking));
                        signature?
                    }
                    Either::Right((answer, signature)) => {
                        ahead.answer = Mutex::new(Some(future::ready(answer).boxed()));
                        signature.await?
                    }
                }
            }
        };
        if signature.is_none() {
            // An unsigned archive is another matter than none at all.
            ahead.open(&Ask::whole()).await?;
            return Err(Error::NotSigned {
                archive: place,
                signature: shown(url),
            });
        }
        Ok(Asked {
            signature,
            transport: Box::new(ahead),
            claim,
        })
    }

    /// Whether any signature could count for the name, or for some name. What is wrong with the keyring is told when one
    /// is there.
    async fn trusts_somebody(&self, name: Option<&Name>) -> bool {
        let (keyring, name) = (self.context.keyring.clone(), name.cloned());
        let trusted = blocking(move || match name {
            Some(name) => keyring.candidates(&name),
            None => keyring.list(),
        });
        let trusted = trusted.await;
        trusted.is_ok_and(|trusted| !trusted.is_empty())
    }
}

impl Claim {
    pub(super) fn take(&mut self) -> Option<Partial> {
        self.0.take()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(unused) = &self.0
            && unused.received() == 0
        {
            let _ = unused.discard();
        }
    }
}

impl<T: Early> Transport for Ahead<T> {
    fn open<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Opened, Error>> {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            if let Some(answer) = answer.filter(|_| *ask == Ask::whole())
                && let Some(opened) = answer.await
            {
                return opened;
            }
            self.transport.open(ask).await
        })
    }

    fn place(&self) -> String {
        self.transport.place()
    }

    fn is_still<'a>(&'a self, version: &'a Version) -> BoxFuture<'a, Result<bool, Error>> {
        self.transport.is_still(version)
    }

    fn hang_up(&self) {
        self.transport.hang_up();
    }

    fn beside(&self, lane: u8) -> Option<Box<dyn Transport>> {
        self.transport.beside(lane)
    }
}
