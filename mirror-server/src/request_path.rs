//! [`RequestPath`]: which file of the site a URL means.

use object_store::path::Path;
use percent_encoding::percent_decode_str;

const PAGE: &str = "index.html";

/// The files that a URL's path can mean, the first that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestPath(Vec<Path>);

impl RequestPath {
    /// Reads the path of a request, as it came. `None` if it can mean no file.
    ///
    /// Each segment is decoded once and by itself, and must then be a name in a directory: neither empty nor `.` nor
    /// `..`, with no slash and no control character. So no path leads out of the site, however it is spelled.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        let rest = raw.strip_prefix('/')?;
        let (segments, is_folder) = match rest.strip_suffix('/') {
            Some(folder) => (folder, true),
            None => (rest, rest.is_empty()),
        };
        let mut path = String::new();
        for raw in segments.split('/').filter(|_| !rest.is_empty()) {
            let segment = percent_decode_str(raw).decode_utf8().ok()?;
            if segment.is_empty() || segment.contains(['/', '\\']) {
                return None;
            }
            path.push_str(&segment);
            path.push('/');
        }
        let page = Path::parse(format!("{path}{PAGE}")).ok()?;
        let file = Path::parse(&path).ok().filter(|_| !is_folder);
        Some(Self(file.into_iter().chain([page]).collect()))
    }

    /// The files, in the order to try.
    pub(crate) fn candidates(&self) -> &[Path] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(raw: &str) -> Option<Vec<String>> {
        let path = RequestPath::parse(raw)?;
        Some(path.candidates().iter().map(Path::to_string).collect())
    }

    #[test]
    fn a_folder_means_its_page() {
        let some = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
        assert_eq!(paths("/"), some(&["index.html"]));
        assert_eq!(paths("/app/"), some(&["app/index.html"]));
        assert_eq!(paths("/app"), some(&["app", "app/index.html"]));
        assert_eq!(paths("/%7Ebob/1.0%2Bx"), some(&["~bob/1.0+x", "~bob/1.0+x/index.html"]));
    }

    #[test]
    fn no_spelling_leads_out() {
        for raw in [
            "",
            "app",
            "*",
            "//",
            "//etc/passwd",
            "/a//b",
            "/..",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/.%2E/x",
            "/%2e",
            "/a/.",
            "/..%2fx",
            "/a%2fb",
            "/%5c..%5cx",
            "/a%00",
            "/%00",
            "/a%0a",
            "/%ff",
            "/%c0%ae%c0%ae/x",
            "/a//",
        ] {
            assert_eq!(paths(raw), None, "{raw}");
        }
        // Decoded once: what is left is a strange name, and no way out.
        assert_eq!(
            paths("/%252e%252e/x").map(|paths| paths[0].clone()).as_deref(),
            Some("%2e%2e/x")
        );
    }
}
