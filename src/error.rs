//! One refusal, two voices: what the client may know (S3 code, status, message) and what the operator must
//! (detail).
//!
//! Codes are S3's own: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::{borrow::Cow, fmt};

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident,)*) => {
        /// An error code of S3.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the list.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as S3 spells it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The HTTP status that S3 gives with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The code of that spelling, where it is one of ours.
            pub fn named(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The caller is known, or unknown, and may not do this; the message starts with the reason's own name.
    AccessDenied = FORBIDDEN,
    /// The `Authorization` header cannot be read.
    AuthorizationHeaderMalformed = BAD_REQUEST,
    /// The presigned query cannot be read, or its times are out of bounds.
    AuthorizationQueryParametersError = BAD_REQUEST,
    /// A checksum or MD5 does not match the body.
    BadDigest = BAD_REQUEST,
    /// CreateBucket of the bucket that is there.
    BucketAlreadyOwnedByYou = CONFLICT,
    /// The proposed object is larger than the server's bound.
    EntityTooLarge = BAD_REQUEST,
    /// The proposed object is smaller than the server's bound.
    EntityTooSmall = BAD_REQUEST,
    /// The session is over.
    ExpiredToken = BAD_REQUEST,
    /// The body ended before its declared length.
    IncompleteBody = BAD_REQUEST,
    /// A fault of this server.
    InternalError = INTERNAL_SERVER_ERROR,
    /// No session or hotkey of that name.
    InvalidAccessKeyId = FORBIDDEN,
    /// A form without a file.
    IncorrectNumberOfFilesInPostRequest = BAD_REQUEST,
    /// An argument has a value that S3 does not take.
    InvalidArgument = BAD_REQUEST,
    /// A chunk smaller than 8 KiB that is not the last.
    InvalidChunkSizeError = FORBIDDEN,
    /// A digest header is not a digest.
    InvalidDigest = BAD_REQUEST,
    /// A part named at completion is not there, or has another ETag.
    InvalidPart = BAD_REQUEST,
    /// The parts named at completion are not in ascending order.
    InvalidPartOrder = BAD_REQUEST,
    /// The policy of a form cannot be read.
    InvalidPolicyDocument = BAD_REQUEST,
    /// The request does not fit together.
    InvalidRequest = BAD_REQUEST,
    /// A storage class that is not offered.
    InvalidStorageClass = BAD_REQUEST,
    /// The session token cannot be read or belongs to someone else.
    InvalidToken = BAD_REQUEST,
    /// The request target cannot be read.
    InvalidURI = BAD_REQUEST,
    /// A key of more than 1024 bytes.
    KeyTooLongError = BAD_REQUEST,
    /// The body of a form is not `multipart/form-data`, or not of its declared length.
    MalformedPOSTRequest = BAD_REQUEST,
    /// The XML of a request body is not what S3 defines.
    MalformedXML = BAD_REQUEST,
    /// The trailer of a chunked body is not what the headers announced.
    MalformedTrailerError = BAD_REQUEST,
    /// The XML of a request body is larger than S3 allows.
    MaxMessageLengthExceeded = BAD_REQUEST,
    /// What stands before the file of a form is larger than S3 allows.
    MaxPostPreDataLengthExceeded = BAD_REQUEST,
    /// The method does not exist on this resource.
    MethodNotAllowed = METHOD_NOT_ALLOWED,
    /// No length can be known.
    MissingContentLength = LENGTH_REQUIRED,
    /// A header that S3 requires is missing.
    MissingSecurityHeader = BAD_REQUEST,
    /// Another bucket than the one that is served.
    NoSuchBucket = NOT_FOUND,
    /// The key does not exist.
    NoSuchKey = NOT_FOUND,
    /// The multipart upload does not exist.
    NoSuchUpload = NOT_FOUND,
    /// The operation, a query name or a header is not one that is forwarded.
    NotImplemented = NOT_IMPLEMENTED,
    /// A condition of the request does not hold.
    PreconditionFailed = PRECONDITION_FAILED,
    /// The header section is too large.
    RequestHeaderSectionTooLarge = BAD_REQUEST,
    /// The date is more than 15 minutes off.
    RequestTimeTooSkewed = FORBIDDEN,
    /// The client stopped sending, or sends too slowly.
    RequestTimeout = BAD_REQUEST,
    /// An outage, of the store or of what decides; to be retried.
    ServiceUnavailable = SERVICE_UNAVAILABLE,
    /// The signature is not the one this request has.
    SignatureDoesNotMatch = FORBIDDEN,
    /// A limit; to be retried.
    SlowDown = SERVICE_UNAVAILABLE,
    /// A form without a key.
    UserKeyMustBeSpecified = BAD_REQUEST,
    /// The body does not have the sha256 that was signed.
    XAmzContentSHA256Mismatch = BAD_REQUEST,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a request was refused or failed, where S3's code alone does not say it. Logs and metrics name
        /// it; a client sees it where its message begins with it ([`Error::because`]).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    /// Nothing is signed.
    Anonymous,
    /// The client went away while it sent its body.
    BodyCut,
    /// The client sent its body too slowly.
    BodyTooSlow,
    /// A chunk or trailer of the body has a false signature.
    ChunkSignatureFalse,
    /// Another origin than those that are allowed, or a preflight that cannot be read.
    CorsDenied,
    /// A form's policy does not bind its date.
    DateDenied,
    /// The folder is not one that this caller may do that in.
    FolderDenied,
    /// A folder marker with a body.
    FolderMarkerNotEmpty,
    /// What only a stored folder marker could keep to.
    FolderMarkerNotStored,
    /// A header asks for more than the folder policy gives.
    HeaderDenied,
    /// Signed for another host.
    HostDenied,
    /// The signature is not one of that hotkey over these bytes.
    HotkeySignatureFalse,
    /// The key leads elsewhere in some stores.
    KeyNotAllowed,
    /// A limit is reached; the record names it.
    LimitReached,
    /// What replicas share of the limits or of the nonces cannot be reached.
    LimitsUnreachable,
    /// The nonce was used before, or could have been.
    NonceSpent,
    /// Too many nonces are remembered at the moment.
    NoncesFull,
    /// Another process takes the place of this one, and spends the nonces.
    HandedOver,
    /// The hotkey is not registered.
    NotRegistered,
    /// For validators alone.
    NotValidator,
    /// A fault of this server that ended the request's task.
    Panicked,
    /// A form does not meet the conditions of its policy.
    PolicyNotMet,
    /// What is added to a presigned list leads out of it.
    PrefixDenied,
    /// A presigned request after its end.
    PresignedExpired,
    /// A presigned request before its time.
    PresignedTooEarly,
    /// A form would lead its client to a host that is not listed.
    RedirectDenied,
    /// The registry of hotkeys could not be read for too long.
    RegistryTooOld,
    /// The stake that decides about the role could not be read yet.
    RoleUndecided,
    /// The session is over.
    SessionExpired,
    /// The signature is not one by the secret of that session over these bytes.
    SessionSignatureFalse,
    /// The session token cannot be read, or belongs to somebody else.
    SessionTokenFalse,
    /// The signature cannot be read.
    SignatureUnreadable,
    /// The store answered in a way that cannot be relied on.
    StoreAnswerUnusable,
    /// The store's answer or connection broke off.
    StoreBrokeOff,
    /// There are no credentials for the store.
    StoreCredentials,
    /// The store has been away for a while and is not asked.
    StoreLeftAlone,
    /// The store refused this server.
    StoreRefusedServer,
    /// The store did not answer in time.
    StoreSilent,
    /// The store cannot be reached.
    StoreUnreachable,
    /// The time that was signed is too far from this server's.
    TimeTooFar,
    /// Headers were not signed that must be.
    UnsignedHeaders,
}

/// A refusal or failure of one request.
#[derive(Debug, Clone)]
pub struct Error {
    /// S3's code; it decides the status.
    pub code: Code,
    /// Why, where the code alone does not say it.
    pub reason: Option<Reason>,
    /// For the client: what is wrong and what to do next. Never a secret, a signature or a name of the store.
    pub message: Cow<'static, str>,
    /// Further elements of the XML error, such as `ServerTime`.
    pub elements: Vec<(&'static str, String)>,
    /// For the operator's log only.
    pub detail: Option<String>,
    /// The limit that is reached, by its setting's name.
    pub limit: Option<Box<str>>,
    /// After how many seconds to try again, where more is known than that it is worth it.
    pub retry_after_seconds: Option<u64>,
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A refusal with what the client may know.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: None,
            message: message.into(),
            elements: Vec::new(),
            detail: None,
            limit: None,
            retry_after_seconds: None,
        }
    }

    /// A refusal whose message begins with its reason's name: `FolderDenied: you may write in …`.
    pub fn because(code: Code, reason: Reason, message: impl fmt::Display) -> Self {
        Self::new(code, format!("{}: {message}", reason.as_str())).reason(reason)
    }

    /// Says why, for logs and metrics alone.
    #[must_use]
    pub fn reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The reason's name, or else the code's: one of a bounded set.
    pub fn reason_name(&self) -> &'static str {
        self.reason.map_or(self.code.as_str(), Reason::as_str)
    }

    /// Names the limit that is reached.
    #[must_use]
    pub fn limit(mut self, setting: impl fmt::Display) -> Self {
        self.limit = Some(setting.to_string().into());
        self.reason(Reason::LimitReached)
    }

    /// Adds an element to the XML error.
    #[must_use]
    pub fn element(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.elements.push((name, value.into()));
        self
    }

    /// Adds what only the operator's log shows.
    #[must_use]
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// An outage of the store; the client should retry.
    pub fn store_unavailable(detail: impl fmt::Display) -> Self {
        Self::new(
            Code::ServiceUnavailable,
            "The store behind this server cannot be reached or did not answer; nothing can be said about \
             your object. Please retry.",
        )
        .detail(detail)
    }

    /// A fault of this server.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self::new(Code::InternalError, "We encountered an internal error. Please try again.").detail(detail)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {}
