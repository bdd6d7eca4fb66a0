//! The OpenAPI 3.1 document, out of the types that are read and answered. Source: <https://spec.openapis.org/oas/v3.1.1>.

use std::sync::LazyLock;

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::{
    health, json_answer,
    vended::{folder_access, validator_access},
};
use crate::proxy::Answer;

/// What is served at `/openapi.json`.
pub fn document() -> Value {
    DOCUMENT.clone()
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

pub(super) fn answer() -> Answer {
    json_answer(StatusCode::OK, &DOCUMENT)
}

const DESCRIPTION: &str = "Subgate makes a Bittensor hotkey an S3 identity. Beside the endpoints of this document it speaks S3 itself.\n\n## S3\nAt `/{bucket}` and `/{bucket}/{key}` (and virtual-host style where the operator has named hosts) the server takes PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects, CopyObject, ListObjects, ListObjectsV2, GetObjectAttributes, and multipart uploads; HeadBucket, GetBucketLocation and ListBuckets are answered here. Requests are signed with `AWS4-HMAC-SHA256` by the session credentials of `POST /v1/session`, or with `AWS4-SR25519-SHA256` by the hotkey itself, in the header or presigned. Errors are S3's XML.\n\n## Forms\n`POST /{bucket}` with `multipart/form-data` is S3's browser upload: the fields of `/get-folder-access`, or of a policy of your own, then the file as the last part. Every field but `x-amz-signature`, `file`, `policy` and `x-ignore-*` has to be covered by a condition; sizes are those of the policy and of the server. A policy that a hotkey signs itself (`AWS4-SR25519-SHA256`, the signature over the base64 policy) must hold the condition `{\"host\": \"…\"}` with this server's name, and `{\"x-amz-date\": \"…\"}` with the form's own date.\n\n## Presigned lists\nBehind the signature of a presigned ListObjectsV2 with a prefix, `continuation-token`, `start-after`, `delimiter`, `max-keys` and a longer `prefix` may be added unsigned; they only narrow what was signed. A prefix does not go past a delimiter that was signed.\n\n## Replays\nA request to `/v1/session` counts once. The strings of the other endpoints may be sent again within 300 s: the answer is the same for the same hotkey, and each URL is judged by the registry when it is used. These strings name no receiver, so they are taken only where the operator has set `session.allow_no_receiver`.";

fn schema<T: PartialSchema + ToSchema>(into: &mut serde_json::Map<String, Value>) -> Value {
    let mut further = Vec::new();
    T::schemas(&mut further);
    further.push((T::name().into_owned(), T::schema()));
    for (name, schema) in further {
        into.insert(name, serde_json::to_value(&schema).unwrap_or_default());
    }
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

struct Fault(u16, &'static str, &'static str);

const ADDRESS: Fault = Fault(
    503,
    "An outage, or too many attempts of one address; to be retried",
    "Too many requests from this address; please retry",
);
const SEEDS: &[Fault] = &[
    Fault(400, "The request cannot be right", "Invalid timestamp"),
    Fault(401, "The signature is not the hotkey's", "Invalid signature"),
    Fault(
        403,
        "Who asks may not have this",
        "NotRegistered: the hotkey 5… is not registered on the subnet; register it, then try again.",
    ),
    ADDRESS,
];
const VALIDATORS: &[Fault] = &[
    Fault(400, "The request cannot be right", "Invalid timestamp"),
    Fault(401, "The signature is not the hotkey's, or the hotkey is no validator", "You are not validator"),
    Fault(
        403,
        "Who asks may not have this",
        "NotRegistered: the hotkey 5… is not registered on the subnet; register it, then try again.",
    ),
    Fault(
        503,
        "An outage, a list that could not be completed, or too many attempts of one address; to be retried",
        "The list of miners could not be completed: The store behind this server cannot be reached or did not answer; nothing can be said about your object. Please retry. Nothing is shown of it.",
    ),
];
const SESSION: &[Fault] = &[
    Fault(400, "The request cannot be right", "Unsupported X-Bittensor-Version; this server speaks 1"),
    Fault(401, "The signature does not hold, is too old, or was used", "Invalid signature"),
    Fault(403, "Not registered, or addressed to another server", "X-Bittensor-Receiver is not this server"),
    ADDRESS,
];

fn responses(ok: Value, faults: &[Fault]) -> Value {
    let mut responses = serde_json::Map::new();
    responses.insert(
        "200".into(),
        json!({ "description": "The answer", "content": { "application/json": { "schema": ok } } }),
    );
    for Fault(status, what, example) in faults {
        let content =
            json!({ "schema": { "$ref": "#/components/schemas/Refusal" }, "example": { "detail": example } });
        responses.insert(
            status.to_string(),
            json!({ "description": what, "content": { "application/json": content } }),
        );
    }
    Value::Object(responses)
}

fn post(id: &str, tag: &str, summary: &str, request: &Value, ok: &Value, faults: &[Fault]) -> Value {
    json!({ "post": {
        "operationId": id, "tags": [tag], "summary": summary,
        "requestBody": { "required": true, "content": { "application/json": { "schema": request } } },
        "responses": responses(ok.clone(), faults),
    } })
}

fn get(id: &str, summary: &str, ok: Value, faults: &[Fault]) -> Value {
    json!({ "get": { "operationId": id, "tags": ["server"], "summary": summary, "responses": responses(ok, faults) } })
}

fn build() -> Value {
    let mut schemas = serde_json::Map::new();
    schemas.insert("Refusal".into(), json!({ "type": "object", "required": ["detail"], "properties": { "detail": { "type": "string", "description": "What is wrong" } } }));
    let s = &mut schemas;
    let folder_request = schema::<folder_access::FolderAccessRequest>(s);
    let folder = schema::<folder_access::FolderAccess>(s);
    let structure = schema::<folder_access::StructureInfo>(s);
    let validator_request = schema::<validator_access::ValidatorRequest>(s);
    let validator = schema::<validator_access::ValidatorAccess>(s);
    let miner_request = schema::<validator_access::MinerRequest>(s);
    let miner = schema::<validator_access::MinerAccess>(s);
    let folders = schema::<validator_access::FolderUrls>(s);
    let files_request = schema::<validator_access::FilesRequest>(s);
    let files = schema::<validator_access::FileUrls>(s);
    let healthcheck = schema::<health::HealthCheck>(s);
    schemas.insert("SessionRequest".into(), json!({ "type": "object", "additionalProperties": false, "properties": { "ttl_seconds": { "type": "integer", "minimum": 1200, "maximum": 86400, "default": 86400 } } }));
    let text = json!({ "type": "string" });
    schemas.insert("Session".into(), json!({
        "type": "object", "description": "What `credential_process` reads, and where to use it",
        "required": ["Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "endpoint", "region", "bucket", "role", "folders"],
        "properties": { "Version": { "const": 1 }, "AccessKeyId": text, "SecretAccessKey": text, "SessionToken": text, "Expiration": { "type": "string", "format": "date-time" }, "endpoint": text, "region": text, "bucket": text, "role": { "enum": ["miner", "validator"] }, "folders": { "type": "array", "items": text } },
    }));
    let header = |name: &str, required: bool, what: &str| json!({ "name": name, "in": "header", "required": required, "description": what, "schema": { "type": "string" } });
    let mut session = post(
        "openSession",
        "sessions",
        "Session credentials for a hotkey's signature (btauth/1)",
        &json!({ "$ref": "#/components/schemas/SessionRequest" }),
        &json!({ "$ref": "#/components/schemas/Session" }),
        SESSION,
    );
    if let Some(required) = session.pointer_mut("/post/requestBody/required") {
        *required = json!(false);
    }
    if let Some(operation) = session.pointer_mut("/post").and_then(Value::as_object_mut) {
        operation.insert(
            "parameters".into(),
            json!([
                header("X-Bittensor-Version", true, "1"),
                header("X-Bittensor-Hotkey", true, "SS58 of the signer"),
                header("X-Bittensor-Receiver", false, "SS58 of this server"),
                header("X-Bittensor-Nonce", true, "Unix nanoseconds"),
                header("X-Bittensor-Crypto", false, "sr25519"),
                header("X-Bittensor-Signature", true, "0x and 128 hex digits"),
            ]),
        );
    }
    let any = json!({ "type": "object" });
    let stale = [Fault(
        503,
        "The registry of hotkeys is too old to decide by",
        "The registry of hotkeys is 1000 s old",
    )];
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Subgate", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION, "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" } },
        "servers": [{ "url": "/" }],
        "security": [],
        "tags": [{ "name": "sessions" }, { "name": "miners" }, { "name": "validators" }, { "name": "server" }],
        "paths": {
            "/v1/session": session,
            "/get-folder-access": post("getFolderAccess", "miners", "A form and a list for the miner's own folder", &folder_request, &folder, SEEDS),
            "/get-validator-access": post("getValidatorAccess", "validators", "Lists of everything, of each source, of each miner; signs s3:validator:access:{timestamp}", &validator_request, &validator, VALIDATORS),
            "/get-miner-specific-access": post("getMinerSpecificAccess", "validators", "The list of one miner; signs s3:validator:miner:{miner_hotkey}:{timestamp}", &miner_request, &miner, VALIDATORS),
            "/get-folder-presigned-urls": post("getFolderPresignedUrls", "validators", "Lists of all job folders; signs s3:validator:folders:{hotkey}:{timestamp}", &validator_request, &folders, VALIDATORS),
            "/get-file-presigned-urls": post("getFilePresignedUrls", "validators", "Downloads of a miner's files; signs s3:validator:files:{miner_hotkey}:{hotkey}:{timestamp}", &files_request, &files, VALIDATORS),
            "/healthcheck": get("healthcheck", "How server, store and registry do", healthcheck, &[]),
            "/healthz": get("healthz", "The process answers", any.clone(), &[]),
            "/readyz": get("readyz", "The server can decide", any.clone(), &stale),
            "/commitment-formats": get("commitmentFormats", "The strings that are signed", any.clone(), &[]),
            "/structure-info": get("structureInfo", "How folders are laid out", structure, &[]),
            "/docs": { "get": { "operationId": "docs", "tags": ["server"], "summary": "This document as a page", "responses": { "200": { "description": "The page", "content": { "text/html": { "schema": text } } } } } },
            "/openapi.json": get("openapi", "This document", any, &[]),
        },
        "components": { "schemas": schemas },
    })
}
