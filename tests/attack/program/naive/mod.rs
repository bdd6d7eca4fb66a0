//! An S3 server that refuses nothing: signatures are not looked at, paths are decoded until nothing is left
//! to decode, every framing is taken, and what one may do all may do. An attack that holds here would hold
//! everywhere, and so shows nothing.

mod http;
mod s3;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};

use self::{
    http::{Reader, Request},
    s3::Reply,
};

/// Content and headers of an object.
type Object = (Vec<u8>, Vec<(String, String)>);

/// The key of an upload, and its parts by their numbers.
type Upload = (String, BTreeMap<u32, Vec<u8>>);

/// What it holds.
#[derive(Default)]
struct Naive {
    objects: Mutex<BTreeMap<String, Object>>,
    uploads: Mutex<BTreeMap<String, Upload>>,
}

/// Serves on a port of its own until the process ends; gives the address.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let naive = Arc::new(Naive::default());
    let runtime =
        Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (naive, runtime) = (Arc::clone(&naive), Arc::clone(&runtime));
            // A client that goes away is no news.
            std::thread::spawn(move || serve(stream, &naive, &runtime));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream, naive: &Arc<Naive>, runtime: &tokio::runtime::Runtime) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut start = [0; 3];
    if stream.peek(&mut start)? == 3 && &start == b"PRI" {
        return serve_http2(stream, naive, runtime);
    }
    let mut reader = Reader::new(stream);
    while let Some(request) = reader.request()? {
        let reply = naive.handle(&request);
        reader.reply(&request.method, &reply)?;
    }
    Ok(())
}

fn serve_http2(stream: TcpStream, naive: &Arc<Naive>, runtime: &tokio::runtime::Runtime) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let naive = Arc::clone(naive);
    runtime.block_on(async move {
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let naive = Arc::clone(&naive);
            async move { answer_http2(&naive, request).await }
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(stream, service).await.map_err(io::Error::other)
    })
}

async fn answer_http2(
    naive: &Naive,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let headers = head.headers.iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let request = Request {
        method: head.method.to_string(),
        target,
        headers: headers.collect(),
        body: body.collect().await?.to_bytes().to_vec(),
    };
    let Reply { status, body, .. } = naive.handle(&request);
    let mut response = hyper::Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}
