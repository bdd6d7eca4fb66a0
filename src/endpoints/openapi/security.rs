//! The ways to sign, as security schemes.
//!
//! `OpenAPI` knows keys and tokens; a signature over a request is neither. So each scheme names the place
//! where the signature stands, and its description says what is signed.

use serde_json::{Value, json};

/// Who signs a request, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// btauth/1, for sessions.
    Btauth,
    /// SigV4 by session credentials.
    Session,
    /// The same in the query of a URL.
    SessionUrl,
    /// SigV4's form with the hotkey's own signature.
    Hotkey,
    /// The same in the query of a URL.
    HotkeyUrl,
    /// X-Tao v2.
    Tao,
    /// A string that the body carries the signature of.
    Body,
    /// The policy of a form.
    Form,
}

impl Scheme {
    const ALL: [Self; 8] = [
        Self::Btauth,
        Self::Session,
        Self::SessionUrl,
        Self::Hotkey,
        Self::HotkeyUrl,
        Self::Tao,
        Self::Body,
        Self::Form,
    ];

    /// All that an S3 request may be signed by.
    pub(super) const S3: &[Self] = &[Self::Session, Self::SessionUrl, Self::Hotkey, Self::HotkeyUrl];

    const fn name(self) -> &'static str {
        match self {
            Self::Btauth => "btauth",
            Self::Session => "sessionSigV4",
            Self::SessionUrl => "sessionPresigned",
            Self::Hotkey => "hotkeySigV4",
            Self::HotkeyUrl => "hotkeyPresigned",
            Self::Tao => "xTaoV2",
            Self::Body => "bodySignature",
            Self::Form => "formPolicy",
        }
    }

    fn described(self) -> Value {
        let header =
            |name, what| json!({ "type": "apiKey", "in": "header", "name": name, "description": what });
        let query =
            |what| json!({ "type": "apiKey", "in": "query", "name": "X-Amz-Signature", "description": what });
        let authorization = |scheme, what| json!({ "type": "http", "scheme": scheme, "description": what });
        match self {
            Self::Btauth => header(
                "X-Bittensor-Signature",
                "btauth/1: sr25519 by the hotkey over these lines, joined by `\\n`: `btauth/1`, `sr25519`, \
                 the method, the path with its query, the SHA-256 of the body in hex, the nonce (Unix \
                 nanoseconds), the hotkey, the receiver or `-`. The other `X-Bittensor-*` headers carry what \
                 was signed. It counts once, from 10 s after its nonce's time to 2 s before it.",
            ),
            Self::Session => authorization(
                "AWS4-HMAC-SHA256",
                "SigV4 with the credentials that `POST /v1/session` gives, as every S3 client signs: \
                 `Authorization: AWS4-HMAC-SHA256 Credential=…`, the service `s3`, and the session token \
                 signed in `X-Amz-Security-Token`.",
            ),
            Self::SessionUrl => query(
                "A URL that is presigned with session credentials: SigV4 in the query, \
                 `X-Amz-Algorithm=AWS4-HMAC-SHA256`. It ends with its session, or earlier by \
                 `X-Amz-Expires`.",
            ),
            Self::Hotkey => authorization(
                "AWS4-SR25519-SHA256",
                "SigV4 in which the hotkey itself signs the string to sign with sr25519, in 128 hex digits; \
                 `Credential=` begins with the hotkey's SS58. No session is needed. It counts only at a name \
                 that the operator has given this server.",
            ),
            Self::HotkeyUrl => {
                query("A URL that the hotkey itself has presigned: `X-Amz-Algorithm=AWS4-SR25519-SHA256`.")
            }
            Self::Tao => header(
                "X-Tao-Signature",
                "X-Tao v2: sr25519 by the hotkey over `hex(sha256(body)).nonce.timestamp`, in base64 or hex. \
                 The other `X-Tao-*` headers carry what was signed. It counts once, within 10 s.",
            ),
            // No header and no query name holds it, and OpenAPI knows no other place.
            Self::Body => authorization(
                "signature-in-body",
                "The vending server's way. No header carries it: the field `signature` of the JSON body is \
                 sr25519 by the hotkey, in hex, over the string that `/commitment-formats` shows for the \
                 endpoint. It counts for 300 s.",
            ),
            Self::Form => authorization(
                "signature-in-form",
                "S3's browser upload. No header carries it: the form's field `x-amz-signature` is a \
                 signature over its field `policy`, by session credentials or by the hotkey itself.",
            ),
        }
    }

    /// All of them, for the components of the document.
    pub(super) fn all() -> Value {
        Self::ALL.iter().map(|scheme| (scheme.name().to_owned(), scheme.described())).collect()
    }
}

/// What an operation says of its signature: one of these.
pub(super) fn one_of(schemes: &[Scheme]) -> Value {
    schemes.iter().map(|scheme| json!({ scheme.name(): [] })).collect()
}
