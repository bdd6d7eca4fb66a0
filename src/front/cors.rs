//! CORS: which pages of other origins may call this server from a browser. None by default.
//!
//! Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>.
//!
//! Invariants: an origin is allowed by its exact text; answers never allow credentials of the browser; a
//! preflight is answered from the configuration alone.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

use crate::{
    error::{Code, Error, Reason, Result},
    exchange::Answer,
};

/// What a page may do: all that is served.
const METHODS: &str = "GET, HEAD, PUT, POST, DELETE";

/// Longest list of headers that a page may ask for: SDKs ask for some twenty names.
const REQUEST_HEADERS_BYTES_MAX: usize = 2048;

/// How long a browser may remember the answer to a preflight.
const SECONDS_MAX: HeaderValue = HeaderValue::from_static("3600");

/// What a store of its own accord would say of origins that nobody allowed here.
const STORES_OWN: [HeaderName; 3] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
];

/// The allowed origins.
pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    /// Allows these origins, such as `https://app.example.com`.
    pub(super) fn new(origins: &[String]) -> Self {
        Self { origins: origins.to_vec() }
    }

    /// The answer to a preflight; none where the request is none, or where no origin is allowed at all.
    pub(super) fn preflight(&self, head: &Parts) -> Option<Result<Answer>> {
        let headers = &head.headers;
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let is_one = head.method == Method::OPTIONS && headers.contains_key(header::ORIGIN);
        (is_one && !self.origins.is_empty()).then(|| self.answer(headers, method))
    }

    fn answer(&self, headers: &HeaderMap, method: &HeaderValue) -> Result<Answer> {
        if self.allowed(headers).is_none() {
            return Err(refused("the origin is not in server.cors_origins"));
        }
        if !METHODS.split(", ").any(|served| served.as_bytes() == method.as_bytes()) {
            return Err(refused("the method is none of S3's objects and buckets"));
        }
        let mut answer = Answer::whole(StatusCode::NO_CONTENT, "text/plain", "")
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS))
            .header(header::ACCESS_CONTROL_MAX_AGE, SECONDS_MAX)
            .header(
                header::VARY,
                HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
            );
        let mut asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        match (asked.next(), asked.next()) {
            (None, _) => {}
            (Some(names), None) if is_list_of_names(names) => {
                answer = answer.header(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            (Some(_), _) => return Err(refused("the headers are no list of names, or too long a one")),
        }
        Ok(answer)
    }

    /// Writes what an answer says of origins, and nothing where none is allowed.
    pub(super) fn write(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        for name in STORES_OWN {
            answer.remove(name);
        }
        if self.origins.is_empty() {
            return;
        }
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed(request) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            // All of them: without credentials the star means every header.
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        }
    }

    /// The origin of the request, where it is an allowed one.
    fn allowed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut given = headers.get_all(header::ORIGIN).iter();
        let (origin, None) = (given.next()?, given.next()) else { return None };
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
    }
}

fn is_list_of_names(value: &HeaderValue) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b',' | b' ');
    value.len() <= REQUEST_HEADERS_BYTES_MAX && value.as_bytes().iter().all(is_part)
}

fn refused(why: &str) -> Error {
    Error::new(Code::AccessDenied, format!("CORSResponse: This CORS request is not allowed: {why}."))
        .reason(Reason::CorsDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://app.example.com";

    fn head(pairs: &[(HeaderName, &str)]) -> Parts {
        let mut request = http::Request::builder().method(Method::OPTIONS);
        for (name, value) in pairs {
            request = request.header(name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn preflight(method: &str, names: &str) -> Result<Answer, Code> {
        let cors = Cors::new(&[PAGE.to_owned()]);
        let answer = cors.preflight(&head(&[
            (header::ORIGIN, PAGE),
            (header::ACCESS_CONTROL_REQUEST_METHOD, method),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, names),
        ]));
        answer.unwrap().map_err(|error| error.code)
    }

    #[test]
    fn what_is_asked_for_is_allowed_within_bounds() {
        let names = "authorization,x-amz-date, X-Amz-Meta-A_b";
        let answer = preflight("PUT", names).unwrap();
        assert_eq!(answer.headers().get(header::ACCESS_CONTROL_ALLOW_HEADERS).unwrap(), names);
        assert_eq!(answer.headers().get(header::ACCESS_CONTROL_ALLOW_METHODS).unwrap(), METHODS);
        for method in ["put", "PATCH", "OPTIONS", ""] {
            assert_eq!(preflight(method, names).unwrap_err(), Code::AccessDenied, "{method}");
        }
        for names in ["a".repeat(REQUEST_HEADERS_BYTES_MAX + 1).as_str(), "a;b", "a\"b", "*"] {
            assert_eq!(preflight("PUT", names).unwrap_err(), Code::AccessDenied, "{names}");
        }
    }

    #[test]
    fn an_origin_is_allowed_by_its_exact_text() {
        let cors = Cors::new(&[PAGE.to_owned()]);
        for origin in [
            "https://app.example.com.evil.example",
            "https://app.example.com/",
            "https://APP.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "null",
            "*",
            "",
        ] {
            let head = head(&[(header::ORIGIN, origin), (header::ACCESS_CONTROL_REQUEST_METHOD, "GET")]);
            assert!(cors.preflight(&head).unwrap().is_err(), "{origin}");
            let mut answer = HeaderMap::new();
            cors.write(&head.headers, &mut answer);
            assert_eq!(answer.len(), 1, "{origin}");
            assert_eq!(answer.get(header::VARY).unwrap(), "Origin");
        }
        let twice = head(&[(header::ORIGIN, PAGE), (header::ORIGIN, PAGE)]);
        assert!(cors.allowed(&twice.headers).is_none());
    }

    #[test]
    fn without_origins_there_is_no_cors() {
        let none = Cors::new(&[]);
        let head = head(&[(header::ORIGIN, PAGE), (header::ACCESS_CONTROL_REQUEST_METHOD, "GET")]);
        assert!(none.preflight(&head).is_none());
        let mut answer = HeaderMap::new();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        none.write(&head.headers, &mut answer);
        assert!(answer.is_empty());
    }
}
