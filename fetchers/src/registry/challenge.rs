//! [`Challenge`]: what a registry wants to see before it answers.

use http_auth::{ChallengeRef, parser::ChallengeParser};

/// One of the two that registries know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// The login itself.
    Basic,
    /// A token.
    Bearer {
        /// The URL of the service that gives it out.
        realm: String,
        /// What that service calls the registry.
        service: Option<String>,
    },
}

impl Challenge {
    /// The first that can be met, of a `WWW-Authenticate` header.
    pub(super) fn read(header: &str) -> Option<Self> {
        // Each is read by itself, for the parser gives up at a login of another form (`Negotiate abc=`).
        starts(header).find_map(|start| {
            let challenge = ChallengeParser::new(header[start..].trim_start()).next()?.ok()?;
            one(&challenge)
        })
    }
}

/// Where a challenge could begin: at the beginning, and behind each comma that is not in quotes.
fn starts(header: &str) -> impl Iterator<Item = usize> {
    let mut quoted = false;
    let mut escaped = false;
    let behind_commas = header.bytes().enumerate().filter_map(move |(at, byte)| {
        let is_escaped = std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && !is_escaped => escaped = true,
            b'"' if !is_escaped => quoted = !quoted,
            b',' if !quoted => return Some(at + 1),
            _ => {}
        }
        None
    });
    std::iter::once(0).chain(behind_commas)
}

fn one(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !challenge.scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |wanted: &str| {
        let found = challenge
            .params
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_unescaped())
    };
    Some(Challenge::Bearer {
        realm: value("realm")?,
        service: value("service"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_met_is_found() {
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry, of example".to_owned()),
        };
        let header = r#"Bearer realm="https://auth.example/token",service="registry, of example",scope="x""#;
        assert_eq!(Challenge::read(header), Some(bearer.clone()));
        assert_eq!(Challenge::read(&format!("Negotiate abc=, {header}")), Some(bearer));
        assert_eq!(Challenge::read(r#"basic realm="x""#), Some(Challenge::Basic));
        for other in ["", "Bearer", "Bearer service=\"x\"", "Digest realm=\"x\"", "\"\\"] {
            assert_eq!(Challenge::read(other), None, "{other}");
        }
    }
}
