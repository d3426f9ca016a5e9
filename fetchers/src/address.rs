//! [`AddressClass`]: what kind of network an address belongs to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A kind of network to which a stranger's URL must not send us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// This machine.
    Loopback,
    /// The wire that this machine is on: among them clouds' metadata services.
    LinkLocal,
    /// Networks that are not the Internet: private, shared, reserved, multicast.
    Private,
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressClasses(u8);

impl AddressClass {
    /// The class of an address, or `None` if it is on the Internet. An IPv6 address that stands for an IPv4 one has
    /// the class of that.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(embedded) => Self::of_v4(embedded),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        let [a, b, c, _] = address.octets();
        match (a, b, c) {
            // Linux takes 0.0.0.0 for itself.
            (127 | 0, ..) => Some(Self::Loopback),
            (169, 254, _) => Some(Self::LinkLocal),
            (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some(Self::Private),
            // Shared by carriers, assigned by protocols, for benchmarks, for documentation.
            (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) => Some(Self::Private),
            (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Some(Self::Private),
            // Multicast, reserved, broadcast.
            (224.., ..) => Some(Self::Private),
            _ => None,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        let [first, second, ..] = address.segments();
        match first {
            _ if address.is_loopback() || address.is_unspecified() => Some(Self::Loopback),
            0xfe80..=0xfebf => Some(Self::LinkLocal),
            // Unique local, site-local, multicast, for documentation.
            0xfc00..=0xfdff | 0xfec0..=0xfeff | 0xff00..=0xffff => Some(Self::Private),
            0x2001 if second == 0xdb8 => Some(Self::Private),
            _ => None,
        }
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(from(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

impl AddressClasses {
    /// None of them: the Internet alone.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(0b111);

    /// The classes of these addresses.
    pub fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let classes = addresses.into_iter().filter_map(AddressClass::of);
        Self(classes.fold(0, |set, class| set | 1 << class as u8))
    }

    /// Whether a connection to the address is fine: it is on the Internet, or of a class in the set.
    pub fn permit(self, address: IpAddr) -> bool {
        AddressClass::of(address).is_none_or(|class| self.0 & (1 << class as u8) != 0)
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Private => "private",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_classed() {
        use AddressClass::{LinkLocal, Loopback, Private};
        let cases = [
            ("127.0.0.1", Some(Loopback)),
            ("127.255.0.1", Some(Loopback)),
            ("0.0.0.0", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("::", Some(Loopback)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("::127.0.0.1", Some(Loopback)),
            ("64:ff9b::127.0.0.1", Some(Loopback)),
            ("2002:7f00:1::", Some(Loopback)),
            ("169.254.169.254", Some(LinkLocal)),
            ("::ffff:169.254.169.254", Some(LinkLocal)),
            ("fe80::1", Some(LinkLocal)),
            ("febf::1", Some(LinkLocal)),
            ("10.1.2.3", Some(Private)),
            ("172.16.0.1", Some(Private)),
            ("172.31.255.255", Some(Private)),
            ("192.168.1.1", Some(Private)),
            ("100.64.0.1", Some(Private)),
            ("198.18.0.1", Some(Private)),
            ("224.0.0.1", Some(Private)),
            ("255.255.255.255", Some(Private)),
            ("fd00::1", Some(Private)),
            ("ff02::1", Some(Private)),
            ("172.15.0.1", None),
            ("172.32.0.1", None),
            ("100.128.0.1", None),
            ("93.184.216.34", None),
            ("2606:2800:220:1::1", None),
            ("64:ff9b::93.184.216.34", None),
        ];
        for (address, class) in cases {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn a_set_permits_the_internet_and_its_own_classes() {
        let private: AddressClasses = AddressClasses::of(["10.0.0.1".parse().unwrap(), "1.1.1.1".parse().unwrap()]);
        for (address, permitted) in [
            ("192.168.0.1", true),
            ("8.8.8.8", true),
            ("127.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(private.permit(address.parse().unwrap()), permitted, "{address}");
        }
        assert!(AddressClasses::ALL.permit("127.0.0.1".parse().unwrap()));
        assert!(!AddressClasses::NONE.permit("10.0.0.1".parse().unwrap()));
    }
}
