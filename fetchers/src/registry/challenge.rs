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
        ChallengeParser::new(header)
            .map_while(Result::ok)
            .find_map(|challenge| one(&challenge))
    }
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
