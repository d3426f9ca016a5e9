//! Answering a request.

use std::{io::SeekFrom, net::SocketAddr, ops::Range};

use axum::{
    body::Body,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use dhow_site::{Files, content_type};
use futures::{Stream, StreamExt};
use object_store::{Error as StoreError, GetOptions, GetResult, GetResultPayload, ObjectMeta};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::{
    conditional::{Condition, Validators},
    range::{self, Part},
    request_path::RequestPath,
};

/// What is read of a file at once: all the memory that a download takes, whatever its size.
const BLOCK: usize = 256 << 10;

/// Answers any request, and logs it.
pub(crate) async fn answer(
    State(files): State<Files>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = match Request::from_parts(request.into_parts().0, ()) {
        request if matches!(*request.method(), Method::GET | Method::HEAD) => file(&files, &request).await,
        _ => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    };
    let status = response.status().as_u16();
    let bytes = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    tracing::info!(%peer, %method, path, status, bytes, "request");
    response
}

async fn file(files: &Files, request: &Request<()>) -> Response<Body> {
    let Some(path) = RequestPath::parse(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND);
    };
    for candidate in path.candidates() {
        match find(files, candidate, request).await {
            Ok(response) => return response,
            Err(dhow_site::Error::NotFound { .. }) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, path = %candidate, "could not read a file of the site");
                return plain(StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
    }
    plain(StatusCode::NOT_FOUND)
}

/// Answers with one file, if it exists.
async fn find(
    files: &Files,
    path: &object_store::path::Path,
    request: &Request<()>,
) -> Result<Response<Body>, dhow_site::Error> {
    let headers = request.headers();
    loop {
        let meta = files.get(path, GetOptions::new().with_head(true)).await?.meta;
        let validators = Validators::of(&meta);
        match validators.judge(headers) {
            Condition::NotModified => return Ok(head(StatusCode::NOT_MODIFIED, &meta, &validators)),
            Condition::Failed => return Ok(plain(StatusCode::PRECONDITION_FAILED)),
            Condition::Holds => {}
        }
        let part = match requested_part(request, &validators, meta.size) {
            Part::Unsatisfiable => return Ok(unsatisfiable(&meta)),
            Part::Whole => None,
            Part::Bytes(range) => Some(range),
        };
        let body = if request.method() == Method::HEAD || meta.size == 0 {
            Body::empty()
        } else {
            // The file must be the one that the headers describe, also if it is replaced just now.
            let mut options = GetOptions::new().with_if_match(meta.e_tag.clone());
            options.range = part.clone().map(Into::into);
            match files.get(path, options).await {
                Ok(file) => Body::from_stream(stream(file)),
                Err(dhow_site::Error::Store { source, .. }) if matches!(*source, StoreError::Precondition { .. }) => {
                    continue;
                }
                Err(error) => return Err(error),
            }
        };
        return Ok(with_body(body, part, &meta, &validators));
    }
}

/// A request for a part of a file of which the client holds another version is one for the whole file. `Range` means
/// nothing to other methods than GET.
fn requested_part(request: &Request<()>, validators: &Validators, size: u64) -> Part {
    let headers = request.headers();
    match headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if *request.method() == Method::GET && validators.allow_range(headers) => range::parse(range, size),
        _ => Part::Whole,
    }
}

fn with_body(body: Body, part: Option<Range<u64>>, meta: &ObjectMeta, validators: &Validators) -> Response<Body> {
    let status = if part.is_some() {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let mut response = head(status, meta, validators);
    let headers = response.headers_mut();
    let length = part.as_ref().map_or(meta.size, |part| part.end - part.start);
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type(&meta.location)),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(part) = part {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, meta.size);
        insert(headers, header::CONTENT_RANGE, range);
    }
    *response.body_mut() = body;
    response
}

/// What every answer about a file says.
fn head(status: StatusCode, meta: &ObjectMeta, validators: &Validators) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A cache must ask each time whether a page, or the signature beside an archive, is still the same.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    insert(headers, header::LAST_MODIFIED, validators.last_modified());
    match &validators.e_tag {
        Some(tag) => insert(headers, header::ETAG, tag.clone()),
        None => tracing::debug!(path = %meta.location, "the store gives no entity tag"),
    }
    response
}

fn unsatisfiable(meta: &ObjectMeta) -> Response<Body> {
    let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
    insert(
        response.headers_mut(),
        header::CONTENT_RANGE,
        format!("bytes */{}", meta.size),
    );
    response
}

/// An answer that says only its status.
fn plain(status: StatusCode) -> Response<Body> {
    let text = format!("{status}\n");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response.headers_mut().insert(header::CONTENT_LENGTH, text.len().into());
    *response.body_mut() = Body::from(text);
    response
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: String) {
    // A store's tag could have characters that no header can: then the answer goes without it.
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The content of a file in blocks.
fn stream(file: GetResult) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let range = file.range.clone();
    match file.payload {
        // The store's own stream reads 8 KiB at a time, each on another thread.
        GetResultPayload::File(file, _) => blocks(file, range).left_stream(),
        GetResultPayload::Stream(stream) => stream.map(|block| block.map_err(std::io::Error::from)).right_stream(),
    }
}

fn blocks(file: std::fs::File, range: Range<u64>) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let file = tokio::fs::File::from_std(file);
    futures::stream::try_unfold((file, range, false), |(mut file, mut range, is_placed)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        if !is_placed {
            file.seek(SeekFrom::Start(range.start)).await?;
        }
        let wanted = usize::try_from(range.end - range.start).unwrap_or(BLOCK).min(BLOCK);
        let mut block = BytesMut::with_capacity(wanted);
        let count = (&mut file).take(wanted as u64).read_buf(&mut block).await?;
        if count == 0 {
            // The connection is cut: the client must not take what it has for the whole.
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        range.start += count as u64;
        Ok(Some((block.freeze(), (file, range, true))))
    })
}
