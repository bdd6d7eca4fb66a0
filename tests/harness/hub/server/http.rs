//! HTTP at both listeners: requests as they came, answers as they leave, and what goes wrong on the way.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    http::{HeaderMap, Method, Response},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpListener;

use super::{
    PATIENCE,
    accept::accept,
    answer::Answer,
    content::Content,
    fault::{self, Failure},
    listing,
    route::Route,
    site::Site,
    upload::bad,
};

/// Which of the listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Hub,
    Cdn,
}

/// A request that came, and what was said to it.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    pub side: Side,
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body_bytes: usize,
    /// Nothing where no answer was begun.
    pub status: Option<u16>,
}

/// A request with all of its body.
pub struct Request {
    pub method: Method,
    pub path: String,
    pub raw_query: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.queries(name).next()
    }

    /// What may stand more than once.
    pub fn queries(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// As Python and everybody else spell it.
    pub fn flag(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        serde_json::from_slice(&self.body).map_err(|error| bad(&error.to_string()))
    }

    fn target(&self) -> String {
        let mark = if self.raw_query.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", self.path, self.raw_query)
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Takes connections for ever.
pub async fn serve(listener: TcpListener, side: Side, site: Arc<Site>) {
    loop {
        let stream = accept(&listener).await;
        let site = Arc::clone(&site);
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(side, Arc::clone(&site), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(
    side: Side,
    site: Arc<Site>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let raw_query = parts.uri.query().unwrap_or_default().to_owned();
    let mut request = Request {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: listing::form(raw_query.as_bytes()),
        raw_query,
        headers: parts.headers,
        body: Bytes::new(),
    };
    match tokio::time::timeout(PATIENCE, body.collect()).await {
        Ok(Ok(body)) => request.body = body.to_bytes(),
        _ => {
            record(&site, side, &request, None);
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if side == Side::Hub && request.path.starts_with("/-/") {
        return Ok(response(site.control(&request), &request, None));
    }
    let route = Route::of(side, &request.method, &request.path);
    let failure = fault::of_request(&mut site.state().faults, route.place(), &request.target());
    let answer = failing_answer(&site, &route, &mut request, failure.as_ref());
    if failure == Some(Failure::Unanswered) {
        record(&site, side, &request, None);
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if let Some(Failure::Late { milliseconds }) = failure {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    record(&site, side, &request, Some(answer.status));
    Ok(response(answer, &request, failure))
}

/// The answer, with what goes wrong before its body is sent.
fn failing_answer(site: &Site, route: &Route, request: &mut Request, failure: Option<&Failure>) -> Answer {
    match failure {
        Some(Failure::Status { status, headers }) => {
            let answer = Answer::refusal(*status, "", "It fails as it was told to");
            return headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value.clone()));
        }
        Some(Failure::Said { headers, body }) => {
            let answer = Answer::new(200, Content::from(body.clone().into_bytes()));
            return headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value.clone()));
        }
        Some(Failure::Whole) => drop(request.headers.remove("range")),
        // What comes in; what leaves is changed as it leaves.
        Some(Failure::Wrong) if matches!(route, Route::Put { .. }) => {
            request.body = changed(&request.body, request.body.len() / 2);
        }
        _ => {}
    }
    let answer = site.answer(route, request, failure);
    if failure == Some(&Failure::Moves)
        && let Route::Dataset { id, .. } = route
    {
        site.state().move_on(id);
    }
    answer
}

fn record(site: &Site, side: Side, request: &Request, status: Option<u16>) {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = request.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    let seen = Seen {
        side,
        method: request.method.to_string(),
        target: request.target(),
        headers: headers.collect(),
        body_bytes: request.body.len(),
        status,
    };
    site.state().seen.push(seen);
}

fn response(answer: Answer, request: &Request, failure: Option<Failure>) -> Response<Body> {
    let (from, end) = answer.range;
    let mut response = Response::builder().status(answer.status).header("content-length", end - from);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let from = if request.is_head() { end } else { from };
    let flow = Flow { content: answer.content, from, at: from, end, failure };
    let frames = futures_util::stream::try_unfold(flow, async |mut flow| {
        let piece = flow.next().await?;
        Ok(piece.map(|piece| (Frame::data(piece), flow)))
    });
    response.body(StreamBody::new(frames).boxed_unsync()).unwrap()
}

/// An answer's bytes as they leave.
struct Flow {
    content: Content,
    from: u64,
    at: u64,
    end: u64,
    failure: Option<Failure>,
}

impl Flow {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut end = self.end;
        match self.failure {
            Some(Failure::Cut { after } | Failure::Stall { after }) => end = end.min(self.from + after),
            Some(Failure::Slow { bytes_per_second }) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                end = end.min(self.at + (bytes_per_second / 10).max(1));
            }
            _ => {}
        }
        let mut piece = self.content.piece(self.at, end);
        if piece.is_empty() {
            match self.failure {
                // What has been said so far is to arrive.
                Some(Failure::Cut { .. }) if self.at < self.end => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    return Err(io::Error::other("cut"));
                }
                Some(Failure::Stall { .. }) if self.at < self.end => std::future::pending().await,
                _ => return Ok(None),
            }
        }
        let middle = self.content.size() / 2;
        if self.failure == Some(Failure::Wrong) && (self.at..self.at + piece.len() as u64).contains(&middle) {
            piece = changed(&piece, (middle - self.at) as usize);
        }
        self.at += piece.len() as u64;
        Ok(Some(piece))
    }
}

/// The same with another byte in that place.
fn changed(data: &Bytes, place: usize) -> Bytes {
    let mut data = data.to_vec();
    if let Some(byte) = data.get_mut(place) {
        *byte ^= 1;
    }
    data.into()
}
