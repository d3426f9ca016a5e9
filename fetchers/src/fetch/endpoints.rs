//! Endpoints, one after the other, until one gives the image.
//!
//! An endpoint that is dead, slow or busy is left for the next after one attempt, and asked again when all others have
//! failed, in a few rounds with growing waits. One that gave what must not be believed, or has nothing, is not asked
//! again. Whoever shows the progress is told of each, by name.

use std::sync::Arc;

use dhow_discovery::{Endpoint, Request, Scheme};
use dhow_image::Reference;

use super::{
    Fetched, Fetcher,
    ahead::{ArchiveUrls, Asked},
    archive::Wanted,
    delta::Place,
};
use crate::{
    error::{Error, shown},
    gravest::Gravest,
    origin::Origin,
    progress::Note,
    retry::RetryPolicy,
};

impl Fetcher<'_> {
    pub(super) async fn endpoints(
        &self,
        endpoints: &[Endpoint],
        origin: &Arc<Origin>,
        request: &Request,
        reference: &Reference,
    ) -> Result<Fetched, Error> {
        let patience = match endpoints.len() {
            1 => self.context.downloads.retry.clone(),
            _ => RetryPolicy::once(),
        };
        let rounds = match endpoints.len() {
            1 => RetryPolicy::once(),
            _ => self.context.downloads.retry.clone(),
        };
        let mut gravest = Gravest::default();
        let mut hopeful: Vec<&Endpoint> = endpoints.iter().collect();
        for round in 1.. {
            let mut wait = None;
            let mut next = Vec::new();
            for endpoint in hopeful {
                let error = match self
                    .endpoint(endpoint, endpoints, origin, request, reference, &patience)
                    .await
                {
                    Ok(fetched) => return Ok(fetched),
                    Err(error) => error,
                };
                if endpoints.len() > 1 {
                    self.context.progress.note(&Note::Failed {
                        place: &shown(&endpoint.archive),
                        error: &error,
                    });
                }
                if let Some(asked) = rounds.wait(round, &error) {
                    wait = Some(wait.map_or(asked, |wait: std::time::Duration| wait.min(asked)));
                    next.push(endpoint);
                }
                gravest.add(error);
            }
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break,
            }
            hopeful = next;
        }
        Err(gravest.of(request.name(), endpoints.len()))
    }

    async fn endpoint(
        &self,
        endpoint: &Endpoint,
        all: &[Endpoint],
        origin: &Arc<Origin>,
        request: &Request,
        reference: &Reference,
        patience: &RetryPolicy,
    ) -> Result<Fetched, Error> {
        if endpoint.scheme == Scheme::Bittorrent {
            return self.torrent(endpoint, all, origin, request, reference).await;
        }
        let place = Place {
            endpoint,
            origin,
            request,
            reference,
            patience,
        };
        if let Some(fetched) = self.delta(&place).await? {
            return Ok(fetched);
        }
        let urls = ArchiveUrls {
            archive: &endpoint.archive,
            signature: &endpoint.signature,
            origin,
            patience,
        };
        let Asked {
            signature,
            transport,
            claim,
        } = self.ask(Some(request.name()), &urls).await?;
        if let Some(signature) = &signature {
            self.may_verify(request, signature, &endpoint.archive).await?;
        }
        let wanted = Wanted {
            signature,
            request: Some(request.clone()),
            reference: reference.to_string(),
            discovered_by: Some(endpoint.template.to_string()),
            claim,
        };
        self.archive(&*transport, wanted, patience).await
    }
}
