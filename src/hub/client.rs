//! The calls to one repository of a Hub. \[IO\]

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{
    body::{HubBody, HubHttp},
    commit::{self, CommitFile, Preupload, Sample},
    endpoint::{Endpoint, Target},
    error::HubError,
    lfs::{self, BatchAnswer, LfsObject},
    link::next_link,
    repository::{Repository, path, segment},
    retry,
    token::Token,
    tree::{Page, Tree},
};
use crate::client::http::{NoAnswer, SILENCE_MAX, collect, send};

/// A page of a list has 1,000 files; what one says of itself is bounded.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What an error's page may have before it is left unread.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// The Hub redirects to where a repository is called now, and from there to its storage.
const REDIRECTS_MAX: usize = 5;

/// Pages of one list: each has 1,000 entries, folders among them.
const PAGES_MAX: usize = 10_000;

/// A commit of many files, and an object of many parts, is worked on for minutes before there is an answer.
pub(super) const WORK_TIME_MAX: Duration = Duration::from_secs(600);

/// An answer that fits into memory has arrived as a whole by then, however slowly it drips.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(600);

const USER_AGENT: &str = concat!("subgate/", env!("CARGO_PKG_VERSION"));

/// A repository of a Hub.
pub(crate) struct Hub {
    http: HubHttp,
    endpoint: Endpoint,
    token: Option<Token>,
    repository: Repository,
}

/// A request, as often as it is sent.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: &'a (dyn Fn() -> HubBody + Send + Sync),
    /// Whether the endpoint is told who asks. A URL that carries a signature of its own is not.
    pub(super) with_token: bool,
    /// How long nothing may move before the answer begins.
    pub(super) silence_max: Duration,
}

/// A POST, as often as it is sent.
#[derive(Clone)]
pub(super) struct Posted {
    pub(super) target: Target,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    pub(super) with_token: bool,
}

/// An answer whose body has not been read.
pub(super) struct Opened {
    pub(super) response: Response<Incoming>,
    /// What the Hub itself said of the file, before it redirected.
    pub(super) from_hub: HeaderMap,
    /// Whether it comes from where the Hub redirected to.
    pub(super) is_redirected: bool,
}

/// An answer that was read.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
pub(super) enum NotOpened {
    NoAnswer(NoAnswer),
    /// A redirect that is not followed.
    Redirect(String),
    /// The request cannot be written.
    Request,
}

fn no_body() -> HubBody {
    HubBody::from(Bytes::new())
}

impl Hub {
    /// The repository at that endpoint. Without a token, what is public can be read.
    pub(crate) fn new(
        http: HubHttp,
        endpoint: Endpoint,
        token: Option<Token>,
        repository: Repository,
    ) -> Self {
        Self { http, endpoint, token, repository }
    }

    /// The repository's name.
    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The token, to be kept out of what is told.
    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Whether it is asked as somebody.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The commit that a branch or a tag stands for now.
    pub(crate) async fn commit_of(&self, revision: &str) -> Result<String, HubError> {
        let what = format!("{} at {revision}", self.repository);
        let url = format!("/api/datasets/{}/revision/{}", self.repository, segment(revision));
        let answer = self.get(&what, self.url(&what, &url)?).await?;
        commit::parse_revision(&answer.body).map_err(|why| HubError::broken(&what, why))
    }

    /// All files of a commit.
    pub(crate) async fn tree(&self, commit: &str, mut progress: impl FnMut(usize)) -> Result<Tree, HubError> {
        let what = format!("the files of {}", self.repository);
        let broken = |why: String| HubError::broken(&what, why);
        let first =
            format!("/api/datasets/{}/tree/{}?recursive=true&expand=false", self.repository, segment(commit));
        let mut target = self.url(&what, &first)?;
        let mut tree = Tree::default();
        for _ in 0..PAGES_MAX {
            let answer = self.get(&what, target.clone()).await?;
            let page = Page::parse(&answer.body).map_err(broken)?;
            let is_empty = page.files.is_empty() && page.strange.is_empty();
            tree.add(page).map_err(broken)?;
            progress(tree.files.len());
            let links = answer.headers.get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
            let Some(next) = links.filter_map(next_link).next() else { return Ok(tree) };
            let next = self.endpoint.target(&target, next).filter(Target::is_endpoint);
            let next = next.ok_or_else(|| broken("its next page is at another host".to_owned()))?;
            // A page of folders alone has no files, but it leads on; one that leads to itself does not.
            if is_empty && next.uri() == target.uri() {
                return Err(broken("its next page is the same again".to_owned()));
            }
            target = next;
        }
        Err(broken(format!("its list has more than {PAGES_MAX} pages")))
    }

    /// How files are to be uploaded to the branch `revision`, by path.
    pub(crate) async fn preupload(
        &self,
        revision: &str,
        files: &[Sample<'_>],
    ) -> Result<BTreeMap<String, Preupload>, HubError> {
        let what = format!("asking how to upload to {}", self.repository);
        let url = format!("/api/datasets/{}/preupload/{}", self.repository, segment(revision));
        let body = Bytes::from(commit::preupload_request(files));
        let answer = self.post(&what, &url, "application/json", body).await?;
        commit::parse_preupload(&answer.body).map_err(|why| HubError::broken(&what, why))
    }

    /// Where objects are to be uploaded, by their sha256.
    pub(super) async fn lfs_batch(
        &self,
        revision: &str,
        objects: &[LfsObject],
    ) -> Result<BatchAnswer, HubError> {
        let what = format!("asking where to upload files of {}", self.repository);
        let url = format!("/datasets/{}.git/info/lfs/objects/batch", self.repository);
        let body = Bytes::from(lfs::request(objects, revision));
        let answer = self.post(&what, &url, lfs::MEDIA_TYPE, body).await?;
        BatchAnswer::parse(&answer.body).map_err(|why| HubError::broken(&what, why))
    }

    /// Sends a commit to the branch `revision` once; `Ok(false)` after a pause where nobody knows whether it
    /// came to be: that is to be asked before it is sent again.
    pub(super) async fn commit_once(
        &self,
        revision: &str,
        summary: &str,
        files: &[CommitFile],
        tries: &mut u32,
    ) -> Result<bool, HubError> {
        let what = format!("the commit to {}", self.repository);
        let url = format!("/api/datasets/{}/commit/{}", self.repository, segment(revision));
        let body = Bytes::from(commit::commit_request(summary, files));
        let target = self.url(&what, &url)?;
        let posted = Posted { target, content_type: "application/x-ndjson", body, with_token: true };
        let Some(answer) = self.post_once(&what, &posted, WORK_TIME_MAX, tries).await? else {
            return Ok(false);
        };
        commit::parse_commit(&answer.body).map_err(|why| HubError::broken(&what, why)).map(|_| true)
    }

    /// The URL of a file of a commit: it leads to whole bytes, however they are stored.
    pub(super) fn resolve_url(&self, commit: &str, file: &str) -> Option<Target> {
        self.endpoint.url(&format!(
            "/datasets/{}/resolve/{}/{}",
            self.repository,
            segment(commit),
            path(file)
        ))
    }

    /// A URL that an answer of the endpoint names, if it may be called.
    pub(super) fn named_url(&self, what: &str, text: &str) -> Result<Target, HubError> {
        let root = self.url(what, "/")?;
        let target = self.endpoint.target(&root, text);
        target.ok_or_else(|| HubError::broken(what, "it names a URL that is not called: it is not https://"))
    }

    fn url(&self, what: &str, path: &str) -> Result<Target, HubError> {
        self.endpoint.url(path).ok_or_else(|| HubError::broken(what, "its name makes no URL"))
    }

    async fn get(&self, what: &str, target: Target) -> Result<Answer, HubError> {
        let accept = (header::ACCEPT, HeaderValue::from_static("application/json"));
        let call = Call {
            method: Method::GET,
            target,
            headers: vec![accept],
            body: &no_body,
            with_token: true,
            silence_max: SILENCE_MAX,
        };
        self.answer(what, &call).await
    }

    async fn post(
        &self,
        what: &str,
        url: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Answer, HubError> {
        let posted = Posted { target: self.url(what, url)?, content_type, body, with_token: true };
        let mut tries = 0;
        loop {
            if let Some(answer) = self.post_once(what, &posted, SILENCE_MAX, &mut tries).await? {
                return Ok(answer);
            }
        }
    }

    /// Sends a POST once; `Ok(None)` after a pause where another try may be answered: whether the Hub has
    /// done what it was asked is not known then.
    pub(super) async fn post_once(
        &self,
        what: &str,
        posted: &Posted,
        silence_max: Duration,
        tries: &mut u32,
    ) -> Result<Option<Answer>, HubError> {
        let Posted { target, content_type, body, with_token } = posted.clone();
        let media_type = HeaderValue::from_static(content_type);
        let accept = match content_type {
            lfs::MEDIA_TYPE => media_type.clone(),
            _ => HeaderValue::from_static("application/json"),
        };
        let headers = vec![(header::CONTENT_TYPE, media_type), (header::ACCEPT, accept)];
        let body = || HubBody::from(body.clone());
        let call = Call { method: Method::POST, target, headers, body: &body, with_token, silence_max };
        self.attempt(what, &call, tries).await
    }

    /// Sends a request until it is answered with success or with a refusal, or it is enough.
    pub(super) async fn answer(&self, what: &str, call: &Call<'_>) -> Result<Answer, HubError> {
        let mut tries = 0_u32;
        loop {
            if let Some(answer) = self.attempt(what, call, &mut tries).await? {
                return Ok(answer);
            }
        }
    }

    /// Sends a request once; `Ok(None)` after a pause where it is worth another try.
    async fn attempt(
        &self,
        what: &str,
        call: &Call<'_>,
        tries: &mut u32,
    ) -> Result<Option<Answer>, HubError> {
        *tries = tries.saturating_add(1);
        let (why, headers) = match self.try_once(what, call).await? {
            Ok(answer) => return Ok(Some(answer)),
            Err(failed) => failed,
        };
        match retry::pause(*tries, headers.as_ref(), fastrand::f64()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(HubError::unavailable(what, why)),
        }
        Ok(None)
    }

    /// One try: an answer, a failure that may pass, or an error that does not.
    async fn try_once(
        &self,
        what: &str,
        call: &Call<'_>,
    ) -> Result<Result<Answer, (String, Option<HeaderMap>)>, HubError> {
        let opened = match self.open(call).await {
            Ok(opened) => opened,
            Err(NotOpened::NoAnswer(error)) => return Ok(Err((self.name_of(call, &error), None))),
            Err(NotOpened::Redirect(why)) => return Err(HubError::broken(what, why)),
            Err(NotOpened::Request) => return Err(HubError::broken(what, "the request cannot be written")),
        };
        let (head, body) = opened.response.into_parts();
        let is_success = head.status.is_success();
        let bytes_max = if is_success { ANSWER_BYTES_MAX } else { ERROR_BYTES_MAX };
        let collecting = tokio::time::timeout(ANSWER_TIME_MAX, collect(body, bytes_max)).await;
        let body = match collecting.unwrap_or(Err(NoAnswer::Silent(ANSWER_TIME_MAX))) {
            Ok(body) => body,
            Err(NoAnswer::TooLong(_)) if is_success => {
                return Err(HubError::broken(what, "its answer is too large"));
            }
            Err(_) if !is_success => Bytes::new(),
            Err(error) => return Ok(Err((self.name_of(call, &error), None))),
        };
        match head.status {
            _ if is_success => Ok(Ok(Answer { headers: head.headers, body })),
            status if retry::is_worth_another_try(status) => {
                let why = format!("{} answers {} again and again", call.target.host(), status.as_u16());
                Ok(Err((why, Some(head.headers))))
            }
            status => Err(HubError::refused(what, status, &head.headers, &body).without(self.token())),
        }
    }

    fn name_of(&self, call: &Call<'_>, error: &NoAnswer) -> String {
        format!("{} {error}", call.target.host())
    }

    /// Sends a request once, and follows where it is redirected.
    pub(super) async fn open(&self, call: &Call<'_>) -> Result<Opened, NotOpened> {
        let mut target = call.target.clone();
        let (mut from_hub, mut is_redirected) = (HeaderMap::new(), false);
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_to(call, &target).await?;
            let status = response.status();
            if target.is_endpoint() {
                from_hub.clone_from(response.headers());
            }
            let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect {
                return Ok(Opened { response, from_hub, is_redirected });
            }
            let keeps_method = matches!(call.method, Method::GET | Method::HEAD)
                || matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if !keeps_method {
                return Err(NotOpened::Redirect(format!("its answer {} is not followed", status.as_u16())));
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| self.endpoint.target(&target, location));
            target = next.ok_or_else(|| {
                NotOpened::Redirect(
                    "it redirects to where it is not followed: not an https:// URL".to_owned(),
                )
            })?;
            is_redirected = true;
        }
        Err(NotOpened::Redirect(format!("it redirects more than {REDIRECTS_MAX} times")))
    }

    async fn send_to(&self, call: &Call<'_>, target: &Target) -> Result<Response<Incoming>, NotOpened> {
        let mut request = Request::builder().method(call.method.clone()).uri(target.uri().clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        request = request.header(header::USER_AGENT, USER_AGENT);
        let authorization = self.token.as_ref().and_then(Token::authorization);
        if let Some(authorization) = authorization.filter(|_| call.with_token && target.is_endpoint()) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body((call.body)()).map_err(|_| NotOpened::Request)?;
        send(&self.http, request, call.silence_max).await.map_err(NotOpened::NoAnswer)
    }
}
