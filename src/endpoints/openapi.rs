//! The OpenAPI 3.1 document, out of the endpoints and of the types that are read and answered.
//!
//! Source: <https://spec.openapis.org/oas/v3.1.1>.

pub(super) mod patterns;
mod s3;
mod security;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use self::{
    patterns::{BTAUTH_SIGNATURE, NUMBER, SS58, TAO_SIGNATURE, UUID},
    security::{Scheme, one_of},
};
use super::{
    health::HealthCheck,
    structure::StructureInfo,
    vended::{
        ValidatorRequest,
        file_urls::{FileUrls, FilesRequest, TaoFilesRequest},
        folder_access::{FolderAccess, FolderAccessRequest},
        folder_urls::FolderUrls,
        miner_access::{MinerAccess, MinerRequest},
        miner_list::{MinerList, MinerListRequest, SignedMinerListRequest},
        upload_url::{UploadUrl, UploadUrlRequest},
        validator_access::ValidatorAccess,
    },
};
use crate::endpoint::Endpoint;

/// What is served at `/openapi.json`.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

const DESCRIPTION: &str = "\
Subgate is an S3 reverse proxy that makes a Bittensor hotkey an S3 identity. Beside the S3 operations it has \
endpoints of its own, which answer in JSON.\n\
\n\
## S3\n\
At `/{bucket}` and `/{bucket}/{key}` (and virtual-host style where the operator has named hosts) the \
server takes PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects, CopyObject, ListObjects, \
ListObjectsV2, GetObjectAttributes, and multipart uploads; HeadBucket, GetBucketLocation and \
ListBuckets are answered here. Requests are signed with `AWS4-HMAC-SHA256` by the session \
credentials of `POST /v1/session`, or with `AWS4-SR25519-SHA256` by the hotkey itself, in the header \
or presigned. Errors are S3's XML.\n\
\n\
## Forms\n\
`POST /{bucket}` with `multipart/form-data` is S3's browser upload: the fields of \
`/get-folder-access`, or of a policy of your own, then the file as the last part. Every field but \
`x-amz-signature`, `file`, `policy` and `x-ignore-*` has to be covered by a condition; sizes are \
those of the policy and of the server. A policy that a hotkey signs itself (`AWS4-SR25519-SHA256`, \
the signature over the base64 policy) must hold the condition `{\"host\": \"…\"}` with this server's \
name, and `{\"x-amz-date\": \"…\"}` with the form's own date.\n\
\n\
## Presigned lists\n\
Behind the signature of a presigned ListObjectsV2 with a prefix, `continuation-token`, \
`start-after`, `delimiter`, `max-keys` and a longer `prefix` may be added unsigned; they only narrow \
what was signed. A prefix does not go past a delimiter that was signed.\n\
\n\
## Replays\n\
A request to `/v1/session`, or one signed in `X-Tao-*` headers, counts once. The strings of the other \
endpoints may be sent again within 300 s: the answer is the same for the same hotkey, and each URL is \
judged by the registry when it is used. Neither such strings nor `X-Tao-*` headers name a receiver, so \
they are taken only where the operator has set `session.allow_no_receiver`.";

/// The schemas of the document, by name.
#[derive(Default)]
struct Schemas(Map<String, Value>);

impl Schemas {
    /// A reference to the schema of `T`, which is added with all that it refers to.
    fn of<T: PartialSchema + ToSchema>(&mut self) -> Value {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        schemas.push((T::name().into_owned(), T::schema()));
        for (name, schema) in schemas {
            self.0.insert(name, serde_json::to_value(&schema).unwrap_or_default());
        }
        reference(&T::name())
    }

    /// A reference to a schema that is written here.
    fn written(&mut self, name: &str, schema: Value) -> Value {
        self.0.insert(name.to_owned(), schema);
        reference(name)
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A status that is not 200: what it means, and the detail of an example.
struct RefusalDoc(u16, &'static str, &'static str);

const DAILY_LIMIT: RefusalDoc =
    RefusalDoc(429, "The hotkey's requests of this day are used up", "Daily limit of 2000 exceeded.");
const SLOW_DOWN: RefusalDoc = RefusalDoc(
    503,
    "An outage, or a limit of the hotkey or of its address; to be retried",
    "Please reduce your request rate: limits.miner.controls_per_second is reached. Try again in 1 s.",
);
const UNREADABLE: RefusalDoc = RefusalDoc(
    422,
    "The body cannot be read",
    "Invalid request: missing field `timestamp` at line 1 column 2",
);
const NOT_REGISTERED: RefusalDoc = RefusalDoc(
    403,
    "Who asks may not have this",
    "NotRegistered: the hotkey 5… is not registered on the subnet; register it, then try again.",
);
const MINERS: &[RefusalDoc] = &[
    RefusalDoc(400, "The request cannot be right", "Invalid timestamp"),
    RefusalDoc(401, "The signature is not the hotkey's", "Invalid signature"),
    NOT_REGISTERED,
    UNREADABLE,
    DAILY_LIMIT,
    SLOW_DOWN,
];
const VALIDATORS: &[RefusalDoc] = &[
    RefusalDoc(400, "The request cannot be right", "Invalid timestamp"),
    RefusalDoc(
        401,
        "The signature is not the hotkey's, or the hotkey is no validator",
        "You are not validator",
    ),
    NOT_REGISTERED,
    UNREADABLE,
    DAILY_LIMIT,
    RefusalDoc(
        503,
        "An outage, a list that could not be completed, or a limit of the hotkey or of its address; to be \
         retried",
        "The list of miners could not be completed: The store behind this server cannot be reached or did \
         not \
         answer; nothing can be said about your object. Please retry. Nothing is shown of it.",
    ),
];
const UPLOADS: &[RefusalDoc] = &[
    RefusalDoc(400, "The request cannot be right", "Invalid job_id: expected [A-Za-z0-9_-]{1,64}"),
    RefusalDoc(401, "The signature is not the hotkey's, or its nonce was used", "Nonce already used"),
    NOT_REGISTERED,
    RefusalDoc(
        409,
        "The file is there already",
        "409: data/hotkey=5…/job_id=a/data_20251121_093000_1_0123456789abcdef.parquet is already there; \
         nothing is to be done",
    ),
    UNREADABLE,
    DAILY_LIMIT,
    SLOW_DOWN,
];
const SESSION: &[RefusalDoc] = &[
    RefusalDoc(400, "The request cannot be right", "Unsupported X-Bittensor-Version; this server speaks 1"),
    RefusalDoc(401, "The signature does not hold, is too old, or was used", "Invalid signature"),
    RefusalDoc(
        403,
        "Not registered, or addressed to another server",
        "X-Bittensor-Receiver is not this server",
    ),
    DAILY_LIMIT,
    SLOW_DOWN,
];
const NOT_READY: &[RefusalDoc] = &[RefusalDoc(
    503,
    "The registry of hotkeys is too old, the store does not let this server in, or shared limits are away",
    "Not ready: the registry of hotkeys is 1000 s old",
)];

fn responses(ok: &Value, refusals: &[RefusalDoc]) -> Value {
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({ "description": "The answer", "content": { "application/json": { "schema": ok } } }),
    );
    for RefusalDoc(status, what, example) in refusals {
        let content = json!({ "schema": reference("Refusal"), "example": { "detail": example } });
        responses.insert(
            status.to_string(),
            json!({ "description": what, "content": { "application/json": content } }),
        );
    }
    Value::Object(responses)
}

fn post(id: &str, tag: &str, summary: &str, request: &Value, ok: &Value, refusals: &[RefusalDoc]) -> Value {
    json!({ "post": {
        "operationId": id, "tags": [tag], "summary": summary, "security": one_of(&[Scheme::Body]),
        "requestBody": { "required": true, "content": { "application/json": { "schema": request } } },
        "responses": responses(ok, refusals),
    } })
}

fn get(id: &str, summary: &str, ok: &Value, refusals: &[RefusalDoc]) -> Value {
    json!({ "get": {
        "operationId": id, "tags": ["server"], "summary": summary, "responses": responses(ok, refusals),
    } })
}

/// The path item of an endpoint.
fn describe(endpoint: Endpoint, schemas: &mut Schemas) -> Value {
    let any = json!({ "type": "object" });
    match endpoint {
        Endpoint::Session => session(schemas),
        Endpoint::FolderAccess => post(
            "getFolderAccess",
            "miners",
            "A form and a list for the miner's own folder",
            &schemas.of::<FolderAccessRequest>(),
            &schemas.of::<FolderAccess>(),
            MINERS,
        ),
        Endpoint::ValidatorAccess => post(
            "getValidatorAccess",
            "validators",
            "Lists of everything, of each source, of each miner; signs s3:validator:access:{timestamp}",
            &schemas.of::<ValidatorRequest>(),
            &schemas.of::<ValidatorAccess>(),
            VALIDATORS,
        ),
        Endpoint::MinerAccess => post(
            "getMinerSpecificAccess",
            "validators",
            "The list of one miner; signs s3:validator:miner:{miner_hotkey}:{timestamp}",
            &schemas.of::<MinerRequest>(),
            &schemas.of::<MinerAccess>(),
            VALIDATORS,
        ),
        Endpoint::FolderUrls => post(
            "getFolderPresignedUrls",
            "validators",
            "Lists of all job folders; signs s3:validator:folders:{hotkey}:{timestamp}",
            &schemas.of::<ValidatorRequest>(),
            &schemas.of::<FolderUrls>(),
            VALIDATORS,
        ),
        Endpoint::FileUrls => post(
            "getFilePresignedUrls",
            "validators",
            "Downloads of a miner's files; signs s3:validator:files:{miner_hotkey}:{hotkey}:{timestamp}",
            &either(&schemas.of::<TaoFilesRequest>(), &schemas.of::<FilesRequest>()),
            &schemas.of::<FileUrls>(),
            VALIDATORS,
        )
        .with_tao_headers(TaoHeaders::Or),
        Endpoint::UploadUrl => post(
            "getFileUploadUrl",
            "miners",
            "A form for one new file of a job; signed in X-Tao headers",
            &schemas.of::<UploadUrlRequest>(),
            &schemas.of::<UploadUrl>(),
            UPLOADS,
        )
        .with_tao_headers(TaoHeaders::Alone),
        Endpoint::MinerList => post(
            "getMinerList",
            "validators",
            "A page of the list of one miner; signed in X-Tao headers, or in the body over \
             s3:validator:miner:{miner_hotkey}:{timestamp}",
            &either(&schemas.of::<MinerListRequest>(), &schemas.of::<SignedMinerListRequest>()),
            &schemas.of::<MinerList>(),
            VALIDATORS,
        )
        .with_tao_headers(TaoHeaders::Or),
        Endpoint::HealthCheck => {
            get("healthcheck", "How server, store and registry do", &schemas.of::<HealthCheck>(), &[])
        }
        Endpoint::Live => get("healthz", "The process answers", &any, &[]),
        Endpoint::Ready => get("readyz", "The server can do its work", &any, NOT_READY),
        Endpoint::CommitmentFormats => get("commitmentFormats", "The strings that are signed", &any, &[]),
        Endpoint::StructureInfo => {
            get("structureInfo", "How folders are laid out", &schemas.of::<StructureInfo>(), &[])
        }
        Endpoint::Docs => json!({ "get": {
            "operationId": "docs", "tags": ["server"], "summary": "This document as a page",
            "responses": { "200": {
                "description": "The page",
                "content": { "text/html": { "schema": { "type": "string" } } },
            } },
        } }),
        Endpoint::OpenApi => get("openapi", "This document", &any, &[]),
    }
}

/// A body of either shape.
fn either(one: &Value, other: &Value) -> Value {
    json!({ "oneOf": [one, other] })
}

fn header(name: &str, required: bool, what: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "header", "required": required, "description": what, "schema": schema })
}

/// A text of that shape.
fn shaped(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

/// Whether a request is signed in X-Tao headers.
#[derive(Debug, Clone, Copy)]
enum TaoHeaders {
    /// Always.
    Alone,
    /// Or in its body.
    Or,
}

trait WithTaoHeaders {
    /// The path item of an endpoint that takes them.
    fn with_tao_headers(self, headers: TaoHeaders) -> Self;
}

impl WithTaoHeaders for Value {
    fn with_tao_headers(mut self, headers: TaoHeaders) -> Self {
        let required = match headers {
            TaoHeaders::Alone => true,
            TaoHeaders::Or => false,
        };
        let parameters = [
            ("X-Tao-Version", "2", json!({ "const": "2" })),
            ("X-Tao-Timestamp", "Unix milliseconds, at most 10 s past and 2 s ahead", shaped(NUMBER)),
            ("X-Tao-Nonce", "A UUID in lower case; each counts once", shaped(UUID)),
            ("X-Tao-Signed-By", "SS58 of the signer", shaped(SS58)),
            (
                "X-Tao-Signature",
                "Base64 of sr25519 by the hotkey over hex(sha256(body)).nonce.timestamp; hex is taken too",
                shaped(TAO_SIGNATURE),
            ),
        ]
        .map(|(name, what, schema)| header(name, required, what, &schema));
        let security = match headers {
            TaoHeaders::Alone => one_of(&[Scheme::Tao]),
            TaoHeaders::Or => one_of(&[Scheme::Tao, Scheme::Body]),
        };
        if let Some(post) = self.get_mut("post").and_then(Self::as_object_mut) {
            post.insert("parameters".into(), Self::from(parameters.to_vec()));
            post.insert("security".into(), security);
        }
        self
    }
}

fn session(schemas: &mut Schemas) -> Value {
    let request = schemas.written(
        "SessionRequest",
        json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "ttl_seconds": { "type": "integer", "minimum": 1200, "maximum": 86400, "default": 86400 },
            },
        }),
    );
    let text = json!({ "type": "string" });
    let ok = schemas.written(
        "Session",
        json!({
            "type": "object", "description": "What `credential_process` reads, and where to use it",
            "required": [
                "Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "endpoint",
                "region", "bucket", "role", "folders", "roots",
            ],
            "properties": {
                "Version": { "const": 1 }, "AccessKeyId": shaped(SS58), "SecretAccessKey": text,
                "SessionToken": text,
                "Expiration": { "type": "string", "format": "date-time" }, "endpoint": text, "region": text,
                "bucket": text, "role": { "enum": ["miner", "validator"] },
                "folders": {
                    "type": "array", "items": text,
                    "description": "The caller's own folders; what is theirs to choose is in braces",
                },
                "roots": {
                    "type": "array", "items": text,
                    "description": "What is before every miner's folder: what a validator lists and reads",
                },
            },
        }),
    );
    json!({ "post": {
        "operationId": "openSession", "tags": ["sessions"], "security": one_of(&[Scheme::Btauth]),
        "summary": "Session credentials for a hotkey's signature (btauth/1)",
        "requestBody": { "required": false, "content": { "application/json": { "schema": request } } },
        "parameters": [
            header("X-Bittensor-Version", true, "1", &json!({ "const": "1" })),
            header("X-Bittensor-Hotkey", true, "SS58 of the signer", &shaped(SS58)),
            header("X-Bittensor-Receiver", false, "SS58 of this server", &shaped(SS58)),
            header("X-Bittensor-Nonce", true, "Unix nanoseconds", &shaped(NUMBER)),
            header("X-Bittensor-Crypto", false, "sr25519", &json!({ "const": "sr25519" })),
            header("X-Bittensor-Signature", true, "0x and 128 hex digits", &shaped(BTAUTH_SIGNATURE)),
        ],
        "responses": responses(&ok, SESSION),
    } })
}

fn build() -> Value {
    let mut schemas = Schemas::default();
    let detail = json!({ "type": "string", "description": "What is wrong" });
    schemas.written(
        "Refusal",
        json!({ "type": "object", "required": ["detail"], "properties": { "detail": detail } }),
    );
    schemas.written("S3Error", s3::error_schema());
    let endpoints = Endpoint::ALL.iter();
    let mut paths: Map<String, Value> =
        endpoints.map(|endpoint| (endpoint.path().to_owned(), describe(*endpoint, &mut schemas))).collect();
    paths.extend(s3::paths());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Subgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [],
        "tags": [
            { "name": "sessions", "description": "What `subgate credentials` asks for: a hotkey's signature \
              in, S3 credentials out." },
            { "name": s3::TAG, "description": "S3 tells its operations apart by query and headers: each \
              entry stands for all operations of its method and path." },
            { "name": "miners", "description": "For clients of the vending server." },
            { "name": "validators", "description": "For clients of the vending server." },
            { "name": "server", "description": "Open to everybody." },
        ],
        "paths": paths,
        "components": { "schemas": schemas.0, "securitySchemes": Scheme::all() },
    })
}
