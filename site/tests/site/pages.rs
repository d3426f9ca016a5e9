//! Pages: valid whatever an image says, and short enough to be believed.

use std::{cell::RefCell, fs, sync::Arc};

use dhow_image::Name;
use dhow_site::Site;
use html5ever::tokenizer::{BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use object_store::memory::InMemory;

use crate::common::{Builder, CARLY, base, publish, text};

#[tokio::test]
async fn pages_are_valid_html_whatever_an_image_says_of_itself() {
    let site = Site::open(Arc::new(InMemory::new()), base("https://example.com"));
    let builder = Builder::new();
    let hostile = "</dd><script>alert(1)</script>\"'&amp;\u{0}\u{7f}\u{202e}\u{ffff} & <!-- \r\n";
    let annotations = [("authors", hostile), ("homepage", "https://example.com/?a=1&b=\"><i>")];
    let reference = "example.com/app:1.0.0+b,os=linux,arch=amd64";
    publish(&site, &builder.image_with(reference, "x", &annotations, &CARLY))
        .await
        .unwrap();
    publish(&site, &builder.image("example.com/app/sub/deep:1", "x"))
        .await
        .unwrap();
    publish(&site, &builder.image("other.org/a:1", "x")).await.unwrap();
    for page in [
        "index.html",
        "app/index.html",
        "app/sub/index.html",
        "app/sub/deep/index.html",
        "other.org/index.html",
        "ACI/index.html",
    ] {
        let html = text(&site, page).await;
        check_html(&html);
        assert!(!html.contains("<script") && !html.contains("<i>"), "{html}");
    }
    assert!(
        text(&site, "app/index.html")
            .await
            .contains("/ACI/example.com/app/1.0.0%2Bb-linux-amd64.aci\"")
    );
}

/// Fails on any parse error, on a tag that is not closed, and on an attribute that stands twice.
fn check_html(html: &str) {
    #[derive(Default)]
    struct Checker {
        open: RefCell<Vec<String>>,
        errors: RefCell<Vec<String>>,
    }
    impl TokenSink for Checker {
        type Handle = ();
        fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
            let mut open = self.open.borrow_mut();
            match token {
                Token::ParseError(error) => self.errors.borrow_mut().push(format!("line {line}: {error}")),
                Token::TagToken(tag) => match tag.kind {
                    TagKind::StartTag if matches!(&*tag.name, "meta" | "br") => {}
                    TagKind::StartTag => open.push(tag.name.to_string()),
                    TagKind::EndTag => {
                        let last = open.pop();
                        if last.as_deref() != Some(&*tag.name) {
                            self.errors
                                .borrow_mut()
                                .push(format!("line {line}: </{}> closes {last:?}", tag.name));
                        }
                    }
                },
                _ => {}
            }
            TokenSinkResult::Continue
        }
    }
    let input = BufferQueue::default();
    input.push_back(html.into());
    let tokenizer = Tokenizer::new(
        Checker::default(),
        TokenizerOpts {
            exact_errors: true,
            ..Default::default()
        },
    );
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    assert_eq!(tokenizer.sink.errors.borrow().as_slice(), [] as [String; 0], "{html}");
    assert_eq!(tokenizer.sink.open.borrow().as_slice(), [] as [String; 0], "{html}");
}

/// A host of twenty thousand names: those that are not published here are there as folders with a record, as a site has
/// them.
#[tokio::test]
async fn the_pages_above_twenty_thousand_names_are_believed() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = |file: &str| directory.path().join(file);
    let builder = Builder::new();
    let open = || Site::open_directory(directory.path(), base("https://example.com")).unwrap();
    publish(&open(), &builder.image("example.com/app00000:1.0.0", "one"))
        .await
        .unwrap();
    let record = fs::read_to_string(path("ACI/example.com/app00000/1.0.0.aci.json")).unwrap();
    let fill = |prefix: &str, count: usize| {
        for number in 0..count {
            let name = format!("{prefix}{number:05}");
            fs::create_dir_all(path(&format!("ACI/{name}"))).unwrap();
            let record = record.replace("example.com/app00000", &name);
            fs::write(path(&format!("ACI/{name}/1.0.0.aci.json")), record).unwrap();
        }
    };
    fill("example.com/app", 20_000);
    fill("host", 10_000);
    fs::remove_file(path("ACI/index.html")).unwrap();

    let image = builder.image("example.com/app20000:1.0.0", "two");
    let added = publish(&open(), &image).await.unwrap();
    assert!(added.written.contains(&"index.html".to_owned()));
    publish(&open(), &builder.image("other.org/tool:1.0.0", "three"))
        .await
        .unwrap();
    let page = fs::read(path("index.html")).unwrap();
    let tags = dhow_discovery::read_tags(&page).unwrap();
    assert!(tags.len() >= 3 && page.len() < 100_000, "{} bytes", page.len());
    // Every name has its link where no client reads.
    let names = fs::read_to_string(path("ACI/index.html")).unwrap();
    assert!(names.contains("Images of 30002 names"), "{}", &names[..2000]);
    for name in [
        "example.com/app00000",
        "example.com/app20000",
        "host09999",
        "other.org/tool",
    ] {
        assert!(names.contains(&format!(">{name}</a>")), "{name}");
    }
    // One more changes nothing of the pages above it.
    for image in ["example.com/app20001:1.0.0", "another.org/tool:1.0.0"] {
        let added = publish(&open(), &builder.image(image, "four")).await.unwrap();
        assert!(!added.written.contains(&"index.html".to_owned()), "{:?}", added.written);
    }

    // Where few are left, they are on the page again.
    for number in 1..20_000 {
        fs::remove_dir_all(path(&format!("ACI/example.com/app{number:05}"))).unwrap();
    }
    let gone = open()
        .versions(&Name::new("example.com/app20001").unwrap())
        .await
        .unwrap();
    open().unpublish(&gone, None).await.unwrap();
    let page = fs::read_to_string(path("index.html")).unwrap();
    assert!(
        page.contains(">example.com/app20000</a>") && !page.contains("app20001"),
        "{page}"
    );
    assert!(!page.contains(">host00000</a>"), "{page}");
}
