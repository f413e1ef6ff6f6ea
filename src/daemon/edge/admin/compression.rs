//! Compression of the answers that leave the machine.
//!
//! A snapshot of a thousand streams is a quarter of a megabyte, once per second for each console.
//! Over the network it is deflated for clients that accept that; on the admin socket it would only
//! cost time.
//!
//! Always holds: each piece of a live answer can be read as soon as it arrives.

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use flate2::{Compress, Compression, FlushCompress};
use futures_util::{StreamExt as _, stream};

use super::access::RemotePeer;

/// Shorter answers fit into one packet anyway.
const LEAST_BYTES: u64 = 1_024;
/// Room for a flush and for what does not get smaller.
const SPARE_BYTES: usize = 64;

/// Deflates what a client over the network is answered, if the client accepts that.
pub(super) async fn compress(request: Request, next: Next) -> Response {
    let is_remote = request.extensions().get::<RemotePeer>().is_some();
    let is_accepted = request.headers().get(ACCEPT_ENCODING).is_some_and(accepts_deflate);
    let is_wanted = is_remote && is_accepted && request.method() != Method::HEAD;
    let response = next.run(request).await;
    let is_small = response.body().size_hint().exact().is_some_and(|bytes| bytes < LEAST_BYTES);
    if is_wanted && !is_small { deflated(response) } else { response }
}

fn accepts_deflate(header: &HeaderValue) -> bool {
    let codings = header.to_str().unwrap_or_default();
    codings.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("deflate"))
}

fn deflated(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("deflate"));
    let compress = Compress::new(Compression::fast(), true);
    let pieces = stream::unfold(Some((body.into_data_stream(), compress)), |state| async move {
        let (mut body, mut compress) = state?;
        Some(match body.next().await {
            Some(Ok(piece)) => {
                let written = write(&mut compress, &piece, FlushCompress::Sync);
                (Ok(written), Some((body, compress)))
            }
            Some(Err(error)) => (Err(error), None),
            None => (Ok(write(&mut compress, &[], FlushCompress::Finish)), None),
        })
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// Returns what a piece is written as. It can be read without what follows.
fn write(compress: &mut Compress, mut piece: &[u8], flush: FlushCompress) -> Bytes {
    let mut out = Vec::with_capacity(piece.len() / 4 + SPARE_BYTES);
    loop {
        let before = compress.total_in();
        // Only a wrong use of the compressor fails, and the reader would see it.
        let _ = compress.compress_vec(piece, &mut out, flush);
        piece = &piece[(compress.total_in() - before) as usize..];
        // Room that is left shows that nothing waits to be written.
        if out.len() < out.capacity() {
            return out.into();
        }
        out.reserve(out.capacity());
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::response::IntoResponse as _;
    use flate2::{Decompress, FlushDecompress, Status};

    use super::*;

    #[tokio::test]
    async fn each_piece_is_read_when_it_arrives() {
        let random: String = (0..9_000).map(|_| rand::random_range('a'..='z')).collect();
        let sent = ["{\"viewers\":1}\n".repeat(5_000), "{}\n".to_owned(), random];
        let pieces = stream::iter(sent.clone().map(Ok::<_, Infallible>));
        let answer = deflated(Body::from_stream(pieces).into_response());
        assert_eq!(answer.headers()[CONTENT_ENCODING], "deflate");
        let mut pieces = answer.into_body().into_data_stream();
        let mut inflate = Decompress::new(true);
        for text in sent {
            let piece = pieces.next().await.unwrap().unwrap();
            let mut read = Vec::with_capacity(text.len() + 1);
            inflate.decompress_vec(&piece, &mut read, FlushDecompress::Sync).unwrap();
            assert_eq!(String::from_utf8(read).unwrap(), text);
        }
        let end = pieces.next().await.unwrap().unwrap();
        let mut read = Vec::with_capacity(1);
        let status = inflate.decompress_vec(&end, &mut read, FlushDecompress::Finish).unwrap();
        assert_eq!((status, read.len()), (Status::StreamEnd, 0));
        assert!(pieces.next().await.is_none());
    }

    #[test]
    fn deflate_is_found_among_other_codings() {
        for (header, expected) in [
            ("deflate", true),
            ("gzip, Deflate", true),
            ("gzip", false),
            ("", false),
            ("deflate;q=0", false),
        ] {
            assert_eq!(accepts_deflate(&HeaderValue::from_static(header)), expected, "{header}");
        }
    }
}
