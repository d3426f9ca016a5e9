//! [`MetaTag`]: what a page says, read with the tokenizer alone (appc spec, discovery.md, "Discovery URL").
//!
//! A page belongs to whoever can put text on it: comments, scripts, a guest's words in the body. Only a `meta` that
//! a browser too would find in the head is believed, and only if the head has an end, for a page that was cut short
//! may lack the tag that mattered.

use std::cell::{Cell, RefCell};

use dhow_image::Name;
use html5ever::{
    Attribute,
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind as Side, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
    },
};
use serde::Serialize;
use thiserror::Error;

/// The size of the largest page that is believed, in bytes.
pub const MAX_PAGE: usize = 1 << 20;

/// A `<meta>` that concerns discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaTag {
    kind: TagKind,
    content: String,
}

/// Which of the tags it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TagKind {
    /// `ac-discovery`: a prefix and a URL template for archives and signatures.
    Template,
    /// `ac-discovery-pubkeys`: a prefix and the URL of public keys.
    Pubkeys,
    /// `dhow-catalog`: a prefix and the URL of the signed catalog. Dhow's own.
    Catalog,
}

/// Why nothing on a page is believed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PageError {
    /// The page is larger than [`MAX_PAGE`].
    #[error("the page is larger than {} bytes", MAX_PAGE)]
    TooLarge,
    /// The page ends inside its head.
    #[error("the page is cut short: its head has no end")]
    CutShort,
}

/// Why a tag is of no use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TagError {
    /// The content is not two words.
    #[error("its content is not a prefix and a URL with a space between")]
    Content,
    /// The first word is no name.
    #[error("its prefix is not a valid name")]
    Prefix,
}

impl MetaTag {
    /// Which of the tags it is.
    pub fn kind(&self) -> TagKind {
        self.kind
    }

    /// The `content` attribute as it stands on the page.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The prefix of which the tag speaks, and its URL or template.
    pub fn parse(&self) -> Result<(Name, &str), TagError> {
        let mut words = self.content.split_ascii_whitespace();
        let (Some(prefix), Some(value), None) = (words.next(), words.next(), words.next()) else {
            return Err(TagError::Content);
        };
        // Where prefixes match by text, as in rkt, publishers write the slash.
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let prefix = Name::new(prefix).map_err(|_| TagError::Prefix)?;
        Ok((prefix, value))
    }
}

impl TagKind {
    fn of(name: &str) -> Option<Self> {
        [Self::Template, Self::Pubkeys, Self::Catalog]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// The `name` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Template => "ac-discovery",
            Self::Pubkeys => "ac-discovery-pubkeys",
            Self::Catalog => "dhow-catalog",
        }
    }
}

/// The tags in the head of a page, in their order.
pub fn read_tags(page: &[u8]) -> Result<Vec<MetaTag>, PageError> {
    if page.len() > MAX_PAGE {
        return Err(PageError::TooLarge);
    }
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(&String::from_utf8_lossy(page)));
    let tokenizer = Tokenizer::new(Head::default(), TokenizerOpts::default());
    // A script makes the tokenizer pause, if the sink asks for it. This one never does.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let head = tokenizer.sink;
    if head.ended.get() {
        Ok(head.tags.into_inner())
    } else {
        Err(PageError::CutShort)
    }
}

/// Collects tags until the head ends.
#[derive(Default)]
struct Head {
    tags: RefCell<Vec<MetaTag>>,
    ended: Cell<bool>,
    /// How many `<template>`s are open: what is in them is not part of the page.
    templates: Cell<usize>,
    /// The text that follows belongs to an element of the head, such as the title.
    in_raw_text: Cell<bool>,
}

impl Head {
    fn start_tag(&self, tag: &Tag) -> TokenSinkResult<()> {
        let raw = match &*tag.name {
            "title" => RawKind::Rcdata,
            "style" | "noscript" | "noframes" => RawKind::Rawtext,
            "script" => RawKind::ScriptData,
            "template" => {
                self.templates.set(self.templates.get() + 1);
                return TokenSinkResult::Continue;
            }
            _ if self.templates.get() > 0 => return TokenSinkResult::Continue,
            "meta" => {
                self.tags.borrow_mut().extend(meta(&tag.attrs));
                return TokenSinkResult::Continue;
            }
            "html" | "head" | "base" | "basefont" | "bgsound" | "link" => return TokenSinkResult::Continue,
            _ => {
                self.ended.set(true);
                // The rest of the page goes through the tokenizer's cheapest state.
                return TokenSinkResult::Plaintext;
            }
        };
        self.in_raw_text.set(true);
        TokenSinkResult::RawData(raw)
    }

    fn end_tag(&self, tag: &Tag) {
        self.in_raw_text.set(false);
        match &*tag.name {
            "template" => self.templates.set(self.templates.get().saturating_sub(1)),
            "head" | "body" | "html" | "br" if self.templates.get() == 0 => self.ended.set(true),
            // HTML ignores any other end tag in a head.
            _ => {}
        }
    }
}

impl TokenSink for Head {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        if self.ended.get() {
            return TokenSinkResult::Continue;
        }
        match token {
            Token::TagToken(tag) if tag.kind == Side::StartTag => return self.start_tag(&tag),
            Token::TagToken(tag) => self.end_tag(&tag),
            // Text that belongs to no element of the head begins the body, `<body>` or not.
            Token::CharacterTokens(text) if !self.in_raw_text.get() && self.templates.get() == 0 => {
                let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\x0c' | b'\r');
                self.ended.set(!text.bytes().all(is_space));
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn meta(attributes: &[Attribute]) -> Option<MetaTag> {
    let value = |name: &str| {
        attributes
            .iter()
            .find(|attribute| &*attribute.name.local == name)
            .map(|a| &*a.value)
    };
    let kind = TagKind::of(value("name")?)?;
    let content = value("content")?.to_owned();
    Some(MetaTag { kind, content })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TAG: &str = r#"<meta name="ac-discovery" content="example.com https://example.com/{name}.{ext}">"#;

    fn count(page: &str) -> Result<usize, PageError> {
        read_tags(page.as_bytes()).map(|tags| tags.len())
    }

    #[test]
    fn a_tag_of_the_head_is_read() {
        let pages = [
            format!("<!DOCTYPE html>\n<html>\n<head>\n\t<title>x</title>\n\t{TAG}\n</head><body></body></html>"),
            format!("<html><head>{TAG}<body>"),
            format!(
                "<HTML><HEAD>{}</HEAD>",
                TAG.replace("meta", "META").replace("content", "CONTENT")
            ),
            format!("{TAG}</head>"),
            format!("{TAG}<p>no head was opened"),
            format!("{TAG}text begins the body"),
            format!("\u{feff}<link rel=x><base href=/>{}</head>", TAG.replace('>', "/>")),
            r#"<meta content=' example.com	
                https://example.com/{name}.{ext} ' name=ac-discovery></head>"#
                .to_owned(),
            format!("<title>not <head>'s end: </head> {TAG}</title>{TAG}</head>"),
            format!("<script>'<!--</script>{TAG}</head>"),
        ];
        for page in pages {
            let tags = read_tags(page.as_bytes()).unwrap();
            assert_eq!(tags.len(), 1, "{page}");
            let (prefix, template) = tags[0].parse().unwrap();
            assert_eq!(
                (prefix.as_str(), template),
                ("example.com", "https://example.com/{name}.{ext}"),
                "{page}"
            );
        }
    }

    #[test]
    fn a_tag_that_a_browser_would_not_find_in_the_head_is_not_believed() {
        let pages = [
            format!("<head><!-- {TAG} --></head>"),
            format!("<head><!-- > {TAG} --!></head>"),
            format!("<head><script>document.write('{TAG}')</script></head>"),
            format!("<head><script><!-- <script> </script> {TAG} --></script></head>"),
            format!("<head><style>{TAG}</style></head>"),
            format!("<head><title>{TAG}</title></head>"),
            format!("<head><noscript>{TAG}</noscript></head>"),
            format!("<head><noframes>{TAG}</noframes></head>"),
            format!("<head><template><p>{TAG}</p></head></template></head>"),
            format!("<head></head><body>{TAG}</body>"),
            format!("<head></head>{TAG}"),
            format!("<body>{TAG}"),
            format!("<p>{TAG}"),
            format!("<svg>{TAG}"),
            format!("</br>{TAG}"),
            format!("text{TAG}</head>"),
            format!("&nbsp;{TAG}</head>"),
            format!("<head><xmp>{TAG}</xmp></head>"),
            format!("<head><textarea>{TAG}</textarea></head>"),
            format!("<head><link title=\"{}\"></head>", TAG.replace('"', "'")),
            format!("<head>{}</head>", TAG.replace("ac-discovery", "AC-Discovery")),
            format!("<head>{}</head>", TAG.replace("name=", "property=")),
            r#"<head><meta name="ac-discovery"></head>"#.to_owned(),
            r#"<head><meta name="description" name="ac-discovery" content="example.com https://e"></head>"#.to_owned(),
        ];
        for page in pages {
            assert_eq!(count(&page), Ok(0), "{page}");
        }
    }

    #[test]
    fn a_page_without_an_end_of_its_head_is_refused() {
        for page in [
            String::new(),
            TAG.to_owned(),
            format!("<html><head>{TAG}"),
            format!("<head>{TAG}<script></head>"),
            format!("<head>{TAG}<!-- </head>"),
            format!("<head>{TAG}<title></head>"),
            format!("<head>{TAG}<template></head>"),
            format!("<head>{TAG}<meta name='</head>"),
            format!("<head>{TAG}</hea"),
        ] {
            assert_eq!(count(&page), Err(PageError::CutShort), "{page}");
        }
    }

    #[test]
    fn a_huge_page_is_refused_and_a_large_one_read() {
        let page = |size: usize| format!("<head>{TAG}</head>{}", "x".repeat(size - TAG.len() - 13));
        assert_eq!(count(&page(MAX_PAGE)), Ok(1));
        assert_eq!(count(&page(MAX_PAGE + 1)), Err(PageError::TooLarge));
        assert_eq!(
            count(&format!(
                "<head>{}</head>",
                "<meta name=ac-discovery content=x>".repeat(30_000)
            )),
            Ok(30_000)
        );
    }

    #[test]
    fn bytes_that_are_no_text_harm_nothing() {
        let page = [b"<head>\xff\xfe\0".as_slice(), TAG.as_bytes(), b"</head>"].concat();
        assert_eq!(read_tags(&page).map(|tags| tags.len()), Ok(0), "text begins the body");
        let page = [b"<title>\xff\0</title>".as_slice(), TAG.as_bytes(), b"</head>"].concat();
        assert_eq!(read_tags(&page).map(|tags| tags.len()), Ok(1));
    }

    #[test]
    fn malformed_contents_are_told_apart() {
        let parse = |content: &str| {
            MetaTag {
                kind: TagKind::Template,
                content: content.to_owned(),
            }
            .parse()
            .map(|(prefix, _)| prefix)
        };
        for content in [
            "",
            " ",
            "example.com",
            "https://example.com",
            "example.com https://a b",
            "a b c",
        ] {
            assert_eq!(parse(content), Err(TagError::Content), "{content}");
        }
        for content in [
            "Example.com https://a",
            "/ https://a",
            "example.com/../a https://a",
            "https://a https://a",
        ] {
            assert_eq!(parse(content), Err(TagError::Prefix), "{content}");
        }
        assert_eq!(
            parse("example.com/team/ https://a").unwrap().as_str(),
            "example.com/team"
        );
    }
}
