//! The hook through which every host name becomes addresses.

use std::{
    error::Error as StdError,
    net::{IpAddr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use tokio::net::lookup_host;

use crate::{
    address::{AddressClass, AddressClasses},
    connect_to::ConnectTo,
};

/// The system's resolver, which lets only permitted addresses through.
pub(crate) struct PermittedAddresses {
    pub(crate) permitted: AddressClasses,
    /// Hosts that the user named as proxies. They may be anywhere.
    pub(crate) proxies: Vec<String>,
}

/// The system's resolver, asked for the host that the user named in its place.
pub(crate) struct Elsewhere(pub(crate) ConnectTo);

/// A name led only to addresses to which nobody but the user may send us.
#[derive(Debug, Error)]
#[error("`{host}` is at {address}, a {class} address")]
pub(crate) struct ForbiddenAddress {
    pub(crate) host: String,
    pub(crate) address: IpAddr,
    pub(crate) class: AddressClass,
}

impl ForbiddenAddress {
    /// Finds it among the causes of an error of the HTTP library.
    pub(crate) fn among_causes<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| (**error).source()).find_map(|error| error.downcast_ref())
    }
}

impl Resolve for PermittedAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.iter().any(|proxy| proxy == name.as_str());
        let permitted = if is_proxy { AddressClasses::ALL } else { self.permitted };
        Box::pin(async move {
            // Port 0 stands for the URL's.
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            let forbidden = found
                .iter()
                .map(SocketAddr::ip)
                .find(|address| !permitted.permit(*address));
            let usable: Vec<_> = found
                .into_iter()
                .filter(|address| permitted.permit(address.ip()))
                .collect();
            match (
                usable.is_empty(),
                forbidden.and_then(|address| Some((address, AddressClass::of(address)?))),
            ) {
                (true, Some((address, class))) => Err(ForbiddenAddress {
                    host: name.as_str().to_owned(),
                    address,
                    class,
                }
                .into()),
                _ => Ok(Box::new(usable.into_iter()) as Addrs),
            }
        })
    }
}

impl Resolve for Elsewhere {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0.clone();
        Box::pin(async move {
            let target = (rule.target_host(name.as_str()), rule.target_port().unwrap_or(0));
            let found: Vec<SocketAddr> = lookup_host(target).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The hosts that the environment names as proxies, as the HTTP library reads it.
pub(crate) fn proxy_hosts() -> Vec<String> {
    let variables = [
        "https_proxy",
        "HTTPS_PROXY",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ];
    let values = variables.iter().filter_map(|variable| std::env::var(variable).ok());
    let hosts = values.filter_map(|value| {
        let value = if value.contains("://") {
            value
        } else {
            format!("http://{value}")
        };
        Some(url::Url::parse(&value).ok()?.host_str()?.to_owned())
    });
    hosts.collect()
}
