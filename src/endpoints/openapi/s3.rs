//! The operations of S3, out of the table by which requests are recognised.
//!
//! S3 tells operations apart by their query and headers, `OpenAPI` by method and path alone. So one entry
//! stands for all operations of a method and a path; `x-s3-operations` says what makes a request which of
//! them.

use http::Method;
use serde_json::{Map, Value, json};

use super::security::{Scheme, one_of};
use crate::s3::{Level, Operation};

/// The tag of these entries.
pub(super) const TAG: &str = "S3";

/// The example of a refusal.
const REFUSAL: &str = "<Error><Code>AccessDenied</Code><Message>FolderDenied: you may list your folders, \
                       data/x/5D1x…/ and data/reddit/5D1x…/ only; …</Message>\
                       <RequestId>…</RequestId></Error>";

/// The path items of the service, the bucket and its objects.
pub(super) fn paths() -> Map<String, Value> {
    [Level::Service, Level::Bucket, Level::Object]
        .into_iter()
        .map(|level| {
            let (path, parameters) = place(level);
            let mut item: Map<String, Value> =
                methods(level).into_iter().map(|method| described(level, &method)).collect();
            if !parameters.is_empty() {
                item.insert("parameters".into(), parameters.into());
            }
            (path.to_owned(), item.into())
        })
        .collect()
}

/// The schema of a refusal.
pub(super) fn error_schema() -> Value {
    let text = |what: &str| json!({ "type": "string", "description": what });
    json!({
        "type": "object", "xml": { "name": "Error" }, "required": ["Code", "Message"],
        "description": "S3's error document, in XML",
        "properties": {
            "Code": text("S3's code, such as `AccessDenied`, `SlowDown`, `EntityTooSmall`"),
            "Message": text("What is wrong and what to do next; a refusal begins with its reason"),
            "Limit": text("The limit that is reached, with the code `SlowDown`"),
            "RequestId": text("The id of the request, as in `x-amz-request-id` and in the server's log"),
        },
    })
}

fn place(level: Level) -> (&'static str, Vec<Value>) {
    let named = |name: &str, what: &str| {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 1024 });
        json!({ "name": name, "in": "path", "required": true, "description": what, "schema": schema })
    };
    let bucket = || named("bucket", "The name of this server's bucket");
    match level {
        Level::Service => ("/", Vec::new()),
        Level::Bucket => ("/{bucket}", vec![bucket()]),
        Level::Object => {
            let key = named("key", "The key of an object: a plain path, in which each `/` stays as it is");
            ("/{bucket}/{key}", vec![bucket(), key])
        }
    }
}

/// The methods at a level, each once, in the order of the table.
fn methods(level: Level) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    for row in Operation::table().iter().filter(|row| row.level == level) {
        if !methods.contains(&row.method) {
            methods.push(row.method.clone());
        }
    }
    methods
}

fn described(level: Level, method: &Method) -> (String, Value) {
    let rows = || Operation::table().iter().filter(|row| row.level == level && row.method == *method);
    let takes_forms = level == Level::Bucket && *method == Method::POST;
    let mut operations: Vec<Value> = rows()
        .map(|row| {
            let mut form = json!({
                "name": row.operation.as_str(), "summary": summary(row.operation),
                "required": row.required, "optional": row.optional,
            });
            if row.copy
                && let Some(form) = form.as_object_mut()
            {
                form.insert("header".into(), json!("x-amz-copy-source"));
            }
            form
        })
        .collect();
    let mut names: Vec<&str> = rows().map(|row| row.operation.as_str()).collect();
    if takes_forms {
        names.push("PostObject");
        operations.push(json!({
            "name": "PostObject", "required": [], "optional": [],
            "header": "content-type: multipart/form-data",
            "summary": "Uploads one object by a browser's form: the fields of a policy, then the file",
        }));
    }
    let noun = match level {
        Level::Service => "Service",
        Level::Bucket => "Bucket",
        Level::Object => "Object",
    };
    let mut security = Scheme::S3.to_vec();
    if takes_forms {
        security.push(Scheme::Form);
    }
    let mut operation = json!({
        "operationId": format!("s3{}{noun}", title_case(method.as_str())),
        "tags": [TAG], "summary": names.join(", "), "security": one_of(&security),
        "parameters": parameters(level, method),
        "x-s3-operations": operations,
        "responses": responses(level, method),
    });
    if let (Some(body), Some(operation)) = (body(level, method), operation.as_object_mut()) {
        operation.insert("requestBody".into(), body);
    }
    (method.as_str().to_ascii_lowercase(), operation)
}

fn title_case(text: &str) -> String {
    let (first, rest) = text.split_at_checked(1).unwrap_or((text, ""));
    format!("{first}{}", rest.to_ascii_lowercase())
}

/// What an operation does, in a line.
const fn summary(operation: Operation) -> &'static str {
    match operation {
        Operation::ListBuckets => "Names the one bucket of this server; answered here",
        Operation::HeadBucket => "Says that the bucket is there; answered here",
        Operation::CreateBucket => "Says that the bucket is yours already; answered here",
        Operation::GetBucketLocation => "Names the region; answered here",
        Operation::ListObjects => "Lists keys, first version",
        Operation::ListObjectsV2 => "Lists keys, page by page",
        Operation::ListMultipartUploads => "Lists the uploads that are not completed",
        Operation::DeleteObjects => "Deletes up to 1,000 objects that an XML body names",
        Operation::GetObject => "Reads an object, or a `Range` of it",
        Operation::HeadObject => "Says what an object is: size, ETag, time",
        Operation::GetObjectAttributes => "Says what `x-amz-object-attributes` asks for",
        Operation::ListParts => "Lists the parts of an upload",
        Operation::PutObject => "Writes an object",
        Operation::CopyObject => "Copies an object of the same bucket",
        Operation::UploadPart => "Uploads a part",
        Operation::UploadPartCopy => "Copies a part from an object of the same bucket",
        Operation::CreateMultipartUpload => "Begins an upload in parts",
        Operation::CompleteMultipartUpload => "Completes an upload of the parts that an XML body names",
        Operation::AbortMultipartUpload => "Gives up an upload",
        Operation::DeleteObject => "Deletes an object",
    }
}

/// The query names of the operations of a method at a level, with which of them take each; and the headers.
fn parameters(level: Level, method: &Method) -> Vec<Value> {
    let rows = || Operation::table().iter().filter(|row| row.level == level && row.method == *method);
    let mut names: Vec<&'static str> = Vec::new();
    for name in rows().flat_map(|row| row.required.iter().chain(row.optional)) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let mut parameters: Vec<Value> = names
        .into_iter()
        .map(|name| {
            let of: Vec<_> = rows()
                .filter(|row| row.required.contains(&name) || row.optional.contains(&name))
                .map(|row| row.operation.as_str())
                .collect();
            let mut parameter = json!({
                "name": name, "in": "query", "required": false, "schema": schema_of(name),
                "description": format!("Of {}", of.join(", ")),
            });
            // They name an operation and have no value.
            let is_bare = matches!(name, "location" | "uploads" | "delete" | "attributes");
            if let Some(parameter) = parameter.as_object_mut().filter(|_| is_bare) {
                parameter.insert("allowEmptyValue".into(), json!(true));
            }
            parameter
        })
        .collect();
    let header = |name: &str, what: &str| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "header", "required": false, "description": what, "schema": schema })
    };
    if rows().any(|row| row.copy) {
        parameters.push(header(
            "x-amz-copy-source",
            "Makes it a copy: `/{bucket}/{key}` of the object that is copied, percent-encoded",
        ));
    }
    if level == Level::Object && (*method == Method::GET || *method == Method::HEAD) {
        parameters.push(header("Range", "Which bytes to read, such as `bytes=0-1023`"));
        parameters.push(header("If-None-Match", "An ETag: where the object still has it, the answer is 304"));
    }
    parameters
}

fn schema_of(name: &str) -> Value {
    match name {
        "list-type" => json!({ "const": "2" }),
        "encoding-type" => json!({ "const": "url" }),
        "partNumber" => json!({ "type": "integer", "minimum": 1, "maximum": 10_000 }),
        "max-keys" | "max-uploads" | "max-parts" => {
            json!({ "type": "integer", "minimum": 0, "maximum": 1000 })
        }
        "part-number-marker" | "max-buckets" => json!({ "type": "integer", "minimum": 0 }),
        "fetch-owner" => json!({ "type": "boolean" }),
        _ => json!({ "type": "string" }),
    }
}

fn body(level: Level, method: &Method) -> Option<Value> {
    let bytes = json!({ "schema": {} });
    let xml = |example: &str| json!({ "schema": { "type": "string" }, "example": example });
    let content = match (level, method) {
        (Level::Bucket, &Method::POST) => json!({
            "application/xml": xml("<Delete><Object><Key>data/x/5D1x…/old.parquet</Key></Object></Delete>"),
            "multipart/form-data": { "schema": {
                "type": "object", "required": ["key", "policy", "x-amz-signature", "file"],
                "properties": {
                    "key": { "type": "string" }, "policy": { "type": "string" },
                    "x-amz-signature": { "type": "string" }, "file": {},
                },
            } },
        }),
        (Level::Object, &Method::PUT) => json!({ "application/octet-stream": bytes }),
        (Level::Object, &Method::POST) => json!({ "application/xml": xml(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"…\"</ETag></Part>\
             </CompleteMultipartUpload>",
        ) }),
        _ => return None,
    };
    Some(json!({ "required": false, "content": content }))
}

fn responses(level: Level, method: &Method) -> Value {
    let has_body = *method != Method::HEAD;
    let refusal = |what: &str| match has_body {
        true => json!({ "description": what, "content": { "application/xml": {
            "schema": super::reference("S3Error"), "example": REFUSAL,
        } } }),
        false => json!({ "description": what }),
    };
    let ok = match (level, method) {
        (Level::Object, &Method::GET) => {
            json!({ "description": "The object, or the XML of the other operations", "content": {
                "application/octet-stream": { "schema": {} },
                "application/xml": { "schema": { "type": "string" } },
            } })
        }
        (Level::Service | Level::Bucket, &Method::GET) | (_, &Method::POST) => {
            json!({ "description": "S3's XML", "content": {
                "application/xml": { "schema": { "type": "string" } },
            } })
        }
        _ => json!({ "description": "Done" }),
    };
    let mut responses = Map::new();
    responses.insert("200".into(), ok);
    let is_reading = level == Level::Object && (*method == Method::GET || *method == Method::HEAD);
    if is_reading {
        responses.insert("206".into(), json!({ "description": "The range that was asked for" }));
        responses.insert("304".into(), json!({ "description": "It still has that ETag" }));
    }
    if *method == Method::DELETE || (level == Level::Bucket && *method == Method::POST) {
        let what = "It is gone, or the form's file is stored";
        responses.insert("204".into(), json!({ "description": what }));
    }
    if level == Level::Service {
        let what = "To a browser: the way to /docs";
        responses.insert("303".into(), json!({ "description": what }));
    }
    if level == Level::Bucket && *method == Method::PUT {
        responses.insert("409".into(), refusal("`BucketAlreadyOwnedByYou`: clients go on"));
    }
    for (status, what) in [
        ("400", "The request cannot be right: a size, a checksum, a key"),
        ("403", "Not signed, not registered, or not your folder"),
        ("404", "There is no such bucket, object or upload"),
        ("501", "`NotImplemented`: not among the operations that are served"),
        ("503", "`SlowDown` or `ServiceUnavailable`: a limit or an outage; to be retried"),
    ] {
        responses.insert(status.into(), refusal(what));
    }
    Value::Object(responses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_an_entry_of_its_method() {
        let paths = paths();
        for operation in Operation::ALL {
            let method = operation.method().as_str().to_ascii_lowercase();
            let entries =
                paths.values().filter_map(|item| item.get(&method)?.get("x-s3-operations")?.as_array());
            let named = entries.flatten().filter(|entry| entry["name"] == operation.as_str()).count();
            assert_eq!(named, 1, "{}", operation.as_str());
        }
    }
}
