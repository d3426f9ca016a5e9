//! [`Origin`]: on whose word a request is made.

use std::net::IpAddr;

use dhow_image::Name;
use tokio::{net::lookup_host, sync::OnceCell};
use url::{Host, Url};

use crate::address::AddressClasses;

/// The host that the user named, to which everything goes back: the page, its templates, their redirects.
///
/// It may itself be anywhere. Others, which are strangers' words, may be on the Internet, and inside those kinds of
/// network in which the origin is: so an intranet's pages can point around the intranet, and the Internet's cannot
/// point into it.
#[derive(Debug)]
pub struct Origin {
    host: String,
    /// Found out when another host is asked for first.
    permitted: OnceCell<AddressClasses>,
}

impl Origin {
    /// The host of a name.
    pub fn of_name(name: &Name) -> Self {
        // A URL's host is normalised, as `1.2` is to `1.0.0.2`.
        let url = Url::parse(&format!("https://{}/", name.host()));
        Self::new(url.ok().as_ref().and_then(Url::host_str).unwrap_or(name.host()))
    }

    /// The host of a URL that the user typed.
    pub fn of_url(url: &Url) -> Self {
        Self::new(url.host_str().unwrap_or_default())
    }

    fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            permitted: OnceCell::new(),
        }
    }

    /// Where a request for `url` may end up. `is_sent_elsewhere` tells that the user chose where the origin itself
    /// is connected to, which says nothing about its network.
    pub(crate) async fn permitted(&self, url: &Url, is_sent_elsewhere: impl Fn(&str) -> bool) -> AddressClasses {
        if url.host_str() == Some(self.host.as_str()) {
            return AddressClasses::ALL;
        }
        let find_out = || async {
            if is_sent_elsewhere(&self.host) {
                return AddressClasses::NONE;
            }
            if let Some(address) = self.address() {
                return AddressClasses::of([address]);
            }
            // Who cannot be resolved is no reason to go anywhere.
            match lookup_host((self.host.as_str(), 443)).await {
                Ok(addresses) => AddressClasses::of(addresses.map(|address| address.ip())),
                Err(_) => AddressClasses::NONE,
            }
        };
        *self.permitted.get_or_init(find_out).await
    }

    fn address(&self) -> Option<IpAddr> {
        ip_of_host(Host::parse(&self.host).ok()?)
    }
}

/// The address that a URL names outright.
pub(crate) fn ip_of_host<S>(host: Host<S>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}
