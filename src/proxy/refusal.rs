//! Whose business a refusal by the store is, and what of it the client is told (P51).
//!
//! The body of a refusal may hold the string to sign and this server's own key id. What the store refused
//! *this server* is an outage, to be retried, and never looks like the client's fault or like "not there".

use http::StatusCode;

use crate::{
    error::{Code, Error, Reason, Result},
    exchange::Exchange,
    s3::store_error::StoreError,
    store::Store,
};

/// Codes by which the store refuses this server, not the client.
const SERVERS_OWN: &[&str] = &[
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidSecurity",
    "InvalidToken",
    "MissingSecurityHeader",
    "NoSuchBucket",
    "NotSignedUp",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TemporaryRedirect",
    "TokenRefreshRequired",
];

/// Codes by which the store refuses an object's own state with a status that otherwise is about the server.
const OBJECTS_OWN: &[&str] = &["InvalidObjectState"];

/// What the store calls otherwise than clients do, and what they may not learn.
#[derive(Debug)]
pub(super) struct Names {
    /// The bucket as clients know it.
    bucket: String,
    /// The key that the client named.
    key: Option<String>,
    /// Words that no text may hold.
    hidden: Vec<String>,
}

impl Names {
    pub(super) fn of(store: &Store, exchange: &Exchange) -> Self {
        Self {
            bucket: store.public_bucket().to_owned(),
            key: exchange.record.key.clone(),
            hidden: store.hidden_words(),
        }
    }

    fn is_hidden(&self, text: &str) -> bool {
        self.hidden.iter().any(|word| text.contains(word.as_str()))
            || text.contains("X-Amz-Signature")
            || text.contains("AWS4-HMAC-SHA256")
    }

    /// The error with public names, and without what clients may not learn.
    fn made_public(&self, error: StoreError) -> StoreError {
        let StoreError { code, message, elements } = error;
        let message =
            if self.is_hidden(&message) { "The store refused the request.".to_owned() } else { message };
        let elements = elements.into_iter().filter_map(|(name, value)| match name {
            "BucketName" => Some((name, self.bucket.clone())),
            "Key" if self.key.as_ref() == Some(&value) => Some((name, value)),
            _ => Some((name, value)).filter(|(_, value)| !self.is_hidden(value)),
        });
        StoreError { elements: elements.collect(), code, message }
    }
}

/// Decides whose business a failure of the store is. Statuses of S3 pass; what concerns this server, and what
/// is not S3's at all (a 404 of something else at that address must not read as "no such key"), is an outage.
pub(super) fn classify(
    status: StatusCode,
    error: Option<StoreError>,
    is_head: bool,
    names: &Names,
) -> Result<StoreError> {
    let code = error.as_ref().map(|error| error.code.as_str());
    let objects_own = code.is_some_and(|code| OBJECTS_OWN.contains(&code));
    let servers_own = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || status.is_redirection()
        || code.is_some_and(|code| SERVERS_OWN.contains(&code));
    let servers_own = servers_own && !objects_own;
    if servers_own {
        let shown = code.unwrap_or("no code");
        return Err(Error::new(
            Code::ServiceUnavailable,
            "The store behind this server refused the server itself; that is for its operator to mend. \
             Please \
             retry later.",
        )
        .reason(Reason::StoreRefusedServer)
        .detail(format!(
            "the store answered {status} {shown}; check store.credentials, store.bucket, store.region and \
             the clock"
        )));
    }
    match error {
        Some(error) => Ok(names.made_public(error)),
        // A HEAD has no body to tell from.
        _ if is_head && status.is_client_error() => Ok(StoreError::default()),
        _ => Err(Error::store_unavailable(format!("the store answered {status} without an S3 error"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            bucket: "public".to_owned(),
            key: Some("own/key".to_owned()),
            hidden: vec!["AKSERVER".to_owned(), "own".to_owned()],
        }
    }

    fn classified(status: u16, code: &str, message: &str) -> Result<StoreError> {
        let error = StoreError { code: code.to_owned(), message: message.to_owned(), elements: Vec::new() };
        let error = Some(error).filter(|_| !code.is_empty());
        classify(StatusCode::from_u16(status).unwrap(), error, false, &names())
    }

    #[test]
    fn what_concerns_the_client_passes() {
        for (status, code) in [
            (404, "NoSuchKey"),
            (404, "NoSuchUpload"),
            (412, "PreconditionFailed"),
            (416, "InvalidRange"),
            (400, "InvalidPart"),
            (400, "BadDigest"),
            (409, "OperationAborted"),
            (501, "NotImplemented"),
            (503, "SlowDown"),
            // About the object, whatever the status says.
            (403, "InvalidObjectState"),
            (500, "InternalError"),
        ] {
            let refusal = classified(status, code, "why").unwrap();
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, "why"));
        }
    }

    #[test]
    fn p51_what_concerns_the_server_is_an_outage_and_tells_nothing() {
        for (status, code) in [
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (403, "AccessDenied"),
            (403, ""),
            (401, ""),
            (404, "NoSuchBucket"),
            (301, "PermanentRedirect"),
            (307, "TemporaryRedirect"),
            (400, "AuthorizationHeaderMalformed"),
            (404, ""),
            (502, ""),
            (400, ""),
        ] {
            let error = classified(status, code, "AKSERVER").unwrap_err();
            assert_eq!(error.code, Code::ServiceUnavailable, "{status} {code}");
            assert!(!error.message.contains("AKSERVER"));
        }
        assert_eq!(
            classified(400, "InvalidArgument", "key AKSERVER is wrong").unwrap().message,
            "The store refused the request."
        );
    }

    #[test]
    fn p63_elements_name_the_bucket_as_clients_know_it_and_the_clients_own_key() {
        let given = [
            ("BucketName", "own"),
            ("Key", "own/key"),
            ("ActualObjectSize", "9"),
            ("ArgumentValue", "at AKSERVER"),
        ];
        let told = [("BucketName", "public"), ("Key", "own/key"), ("ActualObjectSize", "9")];
        let elements = |pairs: &[(&'static str, &str)]| -> Vec<_> {
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let error = StoreError {
            code: "InvalidRange".to_owned(),
            message: String::new(),
            elements: elements(&given),
        };
        let refusal = classify(StatusCode::RANGE_NOT_SATISFIABLE, Some(error), false, &names()).unwrap();
        assert_eq!(refusal.elements, elements(&told));
    }

    #[test]
    fn p36_a_head_says_its_status_alone() {
        assert!(classify(StatusCode::NOT_FOUND, None, true, &names()).is_ok());
        assert_eq!(
            classify(StatusCode::FORBIDDEN, None, true, &names()).unwrap_err().code,
            Code::ServiceUnavailable
        );
        assert_eq!(
            classify(StatusCode::BAD_GATEWAY, None, true, &names()).unwrap_err().code,
            Code::ServiceUnavailable
        );
    }
}
