//! The images that an image depends on (appc spec, aci.md, "Dependency Matching").

use dhow_discovery::Request;
use dhow_image::{Dependency, ImageManifest, Reference};

use crate::{error::Error, fetch::Fetcher, pull::PullPolicy};

/// No honest image depends on others more deeply.
const MAX_DEPTH: usize = 32;

impl Fetcher<'_> {
    /// Brings all that `image` depends on into the store.
    pub(crate) async fn dependencies(&self, image: &ImageManifest) -> Result<(), Error> {
        for dependency in &image.dependencies {
            let fetched = Box::pin(self.dependency(image, dependency)).await;
            fetched.map_err(|source| Error::Dependency {
                image: image.name.clone(),
                dependency: reference_to(dependency).to_string(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    async fn dependency(&self, image: &ImageManifest, dependency: &Dependency) -> Result<(), Error> {
        let wanted = Request::new(dependency.image_name.clone(), dependency.labels.clone());
        let is_here = match (self.carried, &dependency.image_id) {
            (Some(carried), id) => carried.has(&wanted, id.as_ref()),
            (None, Some(id)) => self.context.store.contains(id),
            (None, None) => false,
        };
        if is_here {
            return Ok(());
        }
        let mut chain = self.chain.clone();
        chain.push((image.name.clone(), image.labels.clone()));
        let reference = reference_to(dependency);
        if chain.iter().any(|(name, labels)| wanted.check(name, labels).is_ok()) {
            let names = chain.iter().map(|(name, _)| name.to_string());
            return Err(Error::DependencyCycle {
                chain: names.chain([reference.to_string()]).collect(),
            });
        }
        if chain.len() > MAX_DEPTH {
            return Err(Error::DependencyDepth {
                image: reference.to_string(),
                most: MAX_DEPTH,
            });
        }
        let pull = match (self.pull, &dependency.image_id) {
            // The store does not have this one: another of the same name will not do.
            (PullPolicy::New, Some(_)) => PullPolicy::Update,
            (pull, _) => pull,
        };
        let fetcher = Fetcher {
            pull,
            chain,
            listed: None,
            may_be_expired: false,
            ..*self
        };
        let fetched = fetcher.fetch(&reference).await?;
        match &dependency.image_id {
            Some(wanted) if *wanted != fetched.id => Err(Error::DependencyId {
                wanted: wanted.short(),
                found: fetched.id.short(),
            }),
            _ => Ok(()),
        }
    }
}

fn reference_to(dependency: &Dependency) -> Reference {
    Reference::Named {
        name: dependency.image_name.clone(),
        labels: dependency.labels.clone(),
    }
}
