//! The walk from a name to its endpoints (appc spec, discovery.md, "Discovery URL").

use std::future::Future;

use dhow_image::Name;
use serde::{Serialize, Serializer};
use url::Url;

use crate::{
    error::Error,
    request::Request,
    scheme::Scheme,
    tags::{MetaTag, TagKind, read_tags},
    template::Template,
    trace::{Answer, Decision, Printable, Step, TagStep, Trace, Use},
};

/// More endpoints, or keys, than any honest page names. Each may cost a connection.
const MAX_URLS: usize = 16;

/// Whoever can ask for a page. It follows redirects, and gives up on a body that is slow or that is longer than
/// [`crate::MAX_PAGE`], of which it may return any longer part.
pub trait PageSource {
    /// Why there was no answer at all.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Asks for a page.
    fn page(&self, url: &Url) -> impl Future<Output = Result<PageAnswer, Self::Error>> + Send;
}

/// A server's answer.
#[derive(Clone, Debug)]
pub struct PageAnswer {
    /// HTTP's status code.
    pub status: u16,
    /// Who answered, after all redirects.
    pub url: Url,
    /// The page, where the status says that there is one.
    pub body: Vec<u8>,
}

/// What the caller can make use of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The schemes that the caller can fetch from, preferred first. With [`Scheme::Http`], pages too are asked for
    /// over plain HTTP where HTTPS gives no page.
    pub transports: Vec<Scheme>,
}

/// Where a name's images lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    /// Where the archive is, to be tried in this order.
    pub endpoints: Vec<Endpoint>,
    /// Where the public keys are, from the pages that were looked at.
    #[serde(serialize_with = "as_texts")]
    pub pubkeys: Vec<Url>,
    /// Where the signed catalogs are, from the pages that were looked at.
    pub catalogs: Vec<CatalogLink>,
    /// What was done, and why.
    pub trace: Trace,
}

/// One place where the signed catalog is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogLink {
    /// The prefix of which it speaks, which is the name that was looked for or a parent path of it.
    pub prefix: Name,
    /// Where it is.
    #[serde(serialize_with = "as_text")]
    pub url: Url,
}

/// One place where the archive and its signature are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// What carries the bytes.
    pub scheme: Scheme,
    /// The archive.
    #[serde(serialize_with = "as_text")]
    pub archive: Url,
    /// Its signature.
    #[serde(serialize_with = "as_text")]
    pub signature: Url,
    /// The prefix of the tag.
    pub prefix: Name,
    /// The template of the tag.
    #[serde(serialize_with = "as_template")]
    pub template: Template,
}

/// Finds where an image lies: asks for the page of the name, then of each parent path, until one has templates for it.
///
/// A page that is there but has no such tag, or a 4xx status, sends it to the parent. Any other failure ends it, for
/// what the page would have said is not known.
pub async fn discover(source: &impl PageSource, request: &Request, options: &Options) -> Result<Discovery, Error> {
    Walk::new(request, options, TagKind::Template).run(source).await
}

/// Finds the signed catalogs that speak of a name: as [`discover`], until a page names one. There may be no endpoints.
pub async fn discover_catalogs(
    source: &impl PageSource,
    request: &Request,
    options: &Options,
) -> Result<Discovery, Error> {
    Walk::new(request, options, TagKind::Catalog).run(source).await
}

/// Finds the public keys of a name: as [`discover`], until a page names keys. There may be no endpoints.
pub async fn discover_pubkeys(
    source: &impl PageSource,
    request: &Request,
    options: &Options,
) -> Result<Discovery, Error> {
    Walk::new(request, options, TagKind::Pubkeys).run(source).await
}

impl Discovery {
    /// The same endpoints for another request for the same name, of which more is known now, such as its exact version.
    /// Those of which it cannot be part of the URL are left out.
    #[must_use]
    pub fn endpoints_for(&self, request: &Request) -> Vec<Endpoint> {
        let filled = |endpoint: &Endpoint| {
            Some(Endpoint {
                archive: endpoint.template.archive(request).ok()?,
                signature: endpoint.template.signature(request).ok()?,
                ..endpoint.clone()
            })
        };
        self.endpoints.iter().filter_map(filled).collect()
    }
}

impl Options {
    /// For a caller that fetches over HTTPS alone.
    pub fn https() -> Self {
        Self {
            transports: vec![Scheme::Https],
        }
    }

    /// For a caller that fetches over HTTPS, and over plain HTTP where there is nothing else.
    pub fn insecure_http() -> Self {
        Self {
            transports: vec![Scheme::Https, Scheme::Http],
        }
    }

    fn allows(&self, scheme: Scheme) -> bool {
        self.transports.contains(&scheme)
    }

    fn preference(&self, scheme: Scheme) -> usize {
        self.transports
            .iter()
            .position(|other| *other == scheme)
            .unwrap_or(usize::MAX)
    }
}

/// One walk, from the name up to its host.
struct Walk<'a> {
    request: &'a Request,
    options: &'a Options,
    /// Where it ends.
    goal: TagKind,
    /// Templates for the name that are of no use, and why.
    unusable: Vec<String>,
    found: Discovery,
}

impl<'a> Walk<'a> {
    fn new(request: &'a Request, options: &'a Options, goal: TagKind) -> Self {
        let found = Discovery {
            endpoints: Vec::new(),
            pubkeys: Vec::new(),
            catalogs: Vec::new(),
            trace: Trace::default(),
        };
        Self {
            request,
            options,
            goal,
            unusable: Vec::new(),
            found,
        }
    }

    async fn run(mut self, source: &impl PageSource) -> Result<Discovery, Error> {
        let schemes: &[&str] = if self.options.allows(Scheme::Http) {
            &["https", "http"]
        } else {
            &["https"]
        };
        let name = self.request.name();
        for prefix in name.walk() {
            let up = if prefix.parent().is_none() {
                Decision::GiveUp
            } else {
                Decision::AskParent
            };
            for (index, scheme) in schemes.iter().enumerate() {
                let Ok(url) = Url::parse(&format!("{scheme}://{prefix}?ac-discovery=1")) else {
                    return Err(Error::Host {
                        name: name.clone(),
                        trace: self.found.trace,
                    });
                };
                let is_last = index + 1 == schemes.len();
                match self.ask(source, url.clone(), &up, is_last).await? {
                    Decision::Found => return self.finish(url),
                    Decision::AskHttp => {}
                    _ => break,
                }
            }
        }
        Err(Error::NotFound {
            name: name.clone(),
            tag: self.goal.as_str(),
            trace: self.found.trace,
        })
    }

    /// Asks for one page and decides what is to be done then: `up`, if the page has nothing for the name.
    async fn ask(
        &mut self,
        source: &impl PageSource,
        url: Url,
        up: &Decision,
        is_last_scheme: bool,
    ) -> Result<Decision, Error> {
        let unknown = || Decision::Stop("what the page says is not known".to_owned());
        let answer = match source.page(&url).await {
            Ok(answer) => answer,
            Err(error) => {
                let decision = if is_last_scheme { unknown() } else { Decision::AskHttp };
                self.record(&url, Answer::Failed(with_causes(&error)), Vec::new(), &decision);
                return match decision {
                    Decision::AskHttp => Ok(decision),
                    _ => Err(Error::Page {
                        url: url.into(),
                        source: Box::new(error),
                        trace: self.take_trace(),
                    }),
                };
            }
        };
        let status = answer.status;
        let from = Answer::Status {
            status,
            url: answer.url,
        };
        match status {
            200..300 => {}
            _ if !is_last_scheme => {
                self.record(&url, from, Vec::new(), &Decision::AskHttp);
                return Ok(Decision::AskHttp);
            }
            400..500 => {
                self.record(&url, from, Vec::new(), up);
                return Ok(up.clone());
            }
            _ => {
                self.record(&url, from, Vec::new(), &unknown());
                return Err(Error::Status {
                    url: url.into(),
                    status,
                    trace: self.take_trace(),
                });
            }
        }
        match read_tags(&answer.body) {
            Ok(tags) => {
                let tags = tags.iter().map(|tag| self.judge(tag)).collect();
                let decision = if self.is_at_goal() { Decision::Found } else { up.clone() };
                self.record(&url, from, tags, &decision);
                Ok(decision)
            }
            Err(source) => {
                self.record(&url, from, Vec::new(), &Decision::Stop(source.to_string()));
                Err(Error::Unreadable {
                    url: url.into(),
                    source,
                    trace: self.take_trace(),
                })
            }
        }
    }

    /// Whether a page spoke of what is looked for. Templates that are of no use count: their page has the last word.
    fn is_at_goal(&self) -> bool {
        match self.goal {
            TagKind::Template => !self.found.endpoints.is_empty() || !self.unusable.is_empty(),
            TagKind::Pubkeys => !self.found.pubkeys.is_empty(),
            TagKind::Catalog => !self.found.catalogs.is_empty(),
        }
    }

    /// Reads one tag into what was found.
    fn judge(&mut self, tag: &MetaTag) -> TagStep {
        let step = |used| TagStep {
            kind: tag.kind(),
            content: tag.content().to_owned(),
            used,
        };
        let ignored = |reason: String| step(Use::Ignored(reason));
        let name = self.request.name();
        let (prefix, value) = match tag.parse() {
            Ok(parsed) => parsed,
            Err(error) => return ignored(error.to_string()),
        };
        if !name.is_within(&prefix) {
            return ignored(format!("`{prefix}` is neither `{name}` nor a parent path of it"));
        }
        let used = match tag.kind() {
            TagKind::Template => self.endpoint(prefix, value),
            TagKind::Pubkeys => add_url(&mut self.found.pubkeys, self.options, value),
            TagKind::Catalog => self.catalog(prefix, value),
        };
        match used {
            Ok(url) => step(Use::As(url)),
            Err(reason) => {
                if tag.kind() == TagKind::Template {
                    self.unusable.push(format!("`{}`: {reason}", Printable(value)));
                }
                ignored(reason)
            }
        }
    }

    fn endpoint(&mut self, prefix: Name, template: &str) -> Result<Url, String> {
        if self.found.endpoints.len() == MAX_URLS {
            return Err(format!("there are {MAX_URLS} before it"));
        }
        let template: Template = template.parse().map_err(|error| format!("{error}"))?;
        let scheme = template.scheme();
        match scheme {
            _ if self.options.allows(scheme) => {}
            Scheme::Http => return Err("plain HTTP is used only with `--insecure-options=http`".to_owned()),
            _ => return Err(format!("`{scheme}` is not supported yet")),
        }
        let archive = template.archive(self.request).map_err(|error| error.to_string())?;
        let signature = template.signature(self.request).map_err(|error| error.to_string())?;
        self.found.endpoints.push(Endpoint {
            scheme,
            archive: archive.clone(),
            signature,
            prefix,
            template,
        });
        Ok(archive)
    }

    fn catalog(&mut self, prefix: Name, text: &str) -> Result<Url, String> {
        let url = checked_url(self.options, text)?;
        if self.found.catalogs.len() == MAX_URLS {
            return Err(format!("there are {MAX_URLS} before it"));
        }
        let link = CatalogLink {
            prefix,
            url: url.clone(),
        };
        if !self.found.catalogs.contains(&link) {
            self.found.catalogs.push(link);
        }
        Ok(url)
    }

    fn finish(mut self, url: Url) -> Result<Discovery, Error> {
        if self.goal == TagKind::Template && self.found.endpoints.is_empty() {
            let name = self.request.name().clone();
            return Err(Error::NoUsableTemplate {
                name,
                url: url.into(),
                reasons: self.unusable,
                trace: self.found.trace,
            });
        }
        // The sort is stable: within a scheme, the order of the page stays.
        self.found
            .endpoints
            .sort_by_key(|endpoint| self.options.preference(endpoint.scheme));
        Ok(self.found)
    }

    fn record(&mut self, url: &Url, answer: Answer, tags: Vec<TagStep>, decision: &Decision) {
        self.found.trace.0.push(Step {
            url: url.clone(),
            answer,
            tags,
            decision: decision.clone(),
        });
    }

    fn take_trace(&mut self) -> Trace {
        std::mem::take(&mut self.found.trace)
    }
}

fn add_url(urls: &mut Vec<Url>, options: &Options, text: &str) -> Result<Url, String> {
    let url = checked_url(options, text)?;
    if urls.len() == MAX_URLS {
        return Err(format!("there are {MAX_URLS} before it"));
    }
    if !urls.contains(&url) {
        urls.push(url.clone());
    }
    Ok(url)
}

/// A URL that is fetched from over HTTPS, or over plain HTTP where that is allowed.
fn checked_url(options: &Options, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    match Scheme::from_name(url.scheme()) {
        Some(Scheme::Https) => {}
        Some(Scheme::Http) if options.allows(Scheme::Http) => {}
        Some(Scheme::Http) => return Err("plain HTTP is used only with `--insecure-options=http`".to_owned()),
        _ => return Err("its scheme is not `https`".to_owned()),
    }
    if url.username() != "" || url.password().is_some() {
        return Err("it holds credentials".to_owned());
    }
    Ok(url)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn as_text<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str())
}

fn as_texts<S: Serializer>(urls: &[Url], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(urls.iter().map(Url::as_str))
}

fn as_template<S: Serializer>(template: &Template, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(template)
}

#[cfg(test)]
mod tests;
