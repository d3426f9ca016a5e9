//! [`Mirrors`]: who else is asked for a name, and in what order.

use dhow_image::Name;
use url::Url;

/// The mirrors that the operator has named. Of those for the name that is looked for, the ones with the longest prefix
/// count, in their order.
#[derive(Clone, Debug, Default)]
pub struct Mirrors(Vec<Mirror>);

/// A place that answers for names that are not its own: by the same protocol, at its base URL + name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// For the names beneath this one, or for all.
    pub prefix: Option<Name>,
    /// Its base URL.
    pub url: Url,
    /// When it is asked.
    pub mode: MirrorMode,
}

/// When a mirror is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorMode {
    /// In place of the name itself, which is not asked at all.
    Only,
    /// Before the name itself.
    #[default]
    Prefer,
    /// After the name itself.
    Fallback,
}

impl Mirrors {
    /// Adds one after the others.
    pub fn add(&mut self, mirror: Mirror) {
        self.0.push(mirror);
    }

    /// The same for an image of a registry: its mirrors speak a registry's protocol, so only those that were named for
    /// it count.
    pub(crate) fn of_registry(&self, name: &Name) -> Vec<Option<Url>> {
        let named = Self(
            self.0
                .iter()
                .filter(|mirror| mirror.prefix.is_some())
                .cloned()
                .collect(),
        );
        named.sources(name).into_iter().map(Option::<&Url>::cloned).collect()
    }

    /// Who is asked for a name, one after the other: a mirror's base URL, or `None` for the name itself.
    pub fn sources(&self, name: &Name) -> Vec<Option<&Url>> {
        let length = |mirror: &Mirror| mirror.prefix.as_ref().map_or(0, |prefix| prefix.as_str().len());
        let fitting = || {
            let fits = |mirror: &&Mirror| mirror.prefix.as_ref().is_none_or(|prefix| name.is_within(prefix));
            self.0.iter().filter(fits)
        };
        let longest = fitting().map(length).max();
        let of = |mode: MirrorMode| {
            let these = fitting().filter(move |mirror| mirror.mode == mode && Some(length(mirror)) == longest);
            these.map(|mirror| Some(&mirror.url))
        };
        let mut sources: Vec<_> = of(MirrorMode::Only).chain(of(MirrorMode::Prefer)).collect();
        if of(MirrorMode::Only).next().is_none() {
            sources.push(None);
        }
        sources.extend(of(MirrorMode::Fallback));
        sources
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        use MirrorMode::{Fallback, Only, Prefer};
        let mut mirrors = Mirrors::default();
        for (prefix, host, mode) in [
            ("", "all", Fallback),
            ("example.com", "first", Prefer),
            ("example.com", "second", Prefer),
            ("example.com", "last", Fallback),
            ("example.com/secret", "inside", Only),
        ] {
            mirrors.add(Mirror {
                prefix: (!prefix.is_empty()).then(|| Name::new(prefix).unwrap()),
                url: Url::parse(&format!("https://{host}.example/")).unwrap(),
                mode,
            });
        }
        for (name, expected) in [
            ("other.example/app", "itself all"),
            ("example.com/app", "first second itself last"),
            ("example.com/secret/app", "inside"),
            ("example.com/secrets", "first second itself last"),
        ] {
            let name = Name::new(name).unwrap();
            let told: Vec<_> = mirrors
                .sources(&name)
                .into_iter()
                .map(|url| url.map_or("itself", |url| url.host_str().unwrap().split('.').next().unwrap()))
                .collect();
            assert_eq!(told.join(" "), expected, "{name}");
        }
        assert_eq!(Mirrors::default().sources(&Name::new("a.b").unwrap()), [None]);
    }
}
