//! Redirects: which are followed.

use reqwest::header::LOCATION;
use url::Url;

use crate::error::{Error, RedirectProblem, shown};

/// What a redirect leads to, if it is one and may be followed.
pub(crate) fn redirect(from: &Url, response: &reqwest::Response) -> Result<Option<Url>, Error> {
    let location = match response.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => response.headers().get(LOCATION),
        _ => None,
    };
    let Some(location) = location else {
        return Ok(None);
    };
    let refused = |to: String, problem| {
        Err(Error::Redirect {
            from: shown(from),
            to,
            problem,
        })
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    let Ok(to) = from.join(&location) else {
        return refused(location.into_owned(), RedirectProblem::NoUrl);
    };
    let names_user = |url: &Url| !url.username().is_empty() || url.password().is_some();
    match to.scheme() {
        "https" => {}
        "http" if from.scheme() == "http" => {}
        "http" => return refused(shown(&to), RedirectProblem::Downgrade),
        _ => return refused(shown(&to), RedirectProblem::Scheme),
    }
    // A relative location keeps the user's own credentials, and stays where they belong.
    if names_user(&to) && (to.origin() != from.origin() || !names_user(from)) {
        return refused(shown(&to), RedirectProblem::Credentials);
    }
    Ok(Some(to))
}
