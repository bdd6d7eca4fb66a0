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

/// A commit of many files is worked on for a while before it is answered.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(300);

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

    /// Commits to the branch `revision`; gives the new commit.
    pub(crate) async fn commit(
        &self,
        revision: &str,
        summary: &str,
        files: &[CommitFile],
    ) -> Result<String, HubError> {
        let what = format!("the commit to {}", self.repository);
        let url = format!("/api/datasets/{}/commit/{}", self.repository, segment(revision));
        let body = Bytes::from(commit::commit_request(summary, files));
        // Sent twice because the first answer was lost, it makes a second commit that changes nothing.
        let answer = self.post(&what, &url, "application/x-ndjson", body);
        let answer = tokio::time::timeout(COMMIT_TIME_MAX, answer).await;
        let answer = answer.map_err(|_| HubError::unavailable(&what, "it took too long"))??;
        commit::parse_commit(&answer.body).map_err(|why| HubError::broken(&what, why))
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
        let call =
            Call { method: Method::GET, target, headers: vec![accept], body: &no_body, with_token: true };
        self.answer(what, &call).await
    }

    async fn post(
        &self,
        what: &str,
        url: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Answer, HubError> {
        let target = self.url(what, url)?;
        self.post_to(what, target, content_type, body, true).await
    }

    /// A POST to a URL that the Hub named.
    pub(super) async fn post_to(
        &self,
        what: &str,
        target: Target,
        content_type: &'static str,
        body: Bytes,
        with_token: bool,
    ) -> Result<Answer, HubError> {
        let media_type = HeaderValue::from_static(content_type);
        let accept = match content_type {
            lfs::MEDIA_TYPE => media_type.clone(),
            _ => HeaderValue::from_static("application/json"),
        };
        let headers = vec![(header::CONTENT_TYPE, media_type), (header::ACCEPT, accept)];
        let body = || HubBody::from(body.clone());
        self.answer(what, &Call { method: Method::POST, target, headers, body: &body, with_token }).await
    }

    /// Sends a request until it is answered with success or with a refusal, or it is enough.
    pub(super) async fn answer(&self, what: &str, call: &Call<'_>) -> Result<Answer, HubError> {
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let (why, headers) = match self.try_once(what, call).await? {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match retry::pause(tries, headers.as_ref(), fastrand::f64()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(HubError::unavailable(what, why)),
            }
        }
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
        let body = match collect(body, bytes_max).await {
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
            status => Err(HubError::refused(what, status, &head.headers, &body)),
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
        send(&self.http, request, SILENCE_MAX).await.map_err(NotOpened::NoAnswer)
    }
}
