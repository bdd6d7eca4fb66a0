//! The usual answers of an S3.

use std::collections::BTreeMap;

use subgate::s3::xml::Element;

use super::{
    BUCKET, LAST_MODIFIED, LAST_MODIFIED_XML, Object, Reply, Seen, State, Upload,
    check::{CHECKSUMS, checksum, md5_hex},
    versions,
};
use crate::harness::sigv4::{self, Pair, encode};

fn xml(status: u16, document: String) -> Reply {
    Reply::new(status)
        .header("content-type", "application/xml")
        .body(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{document}"))
}

/// What any S3 would answer.
pub fn usual(state: &State, seen: &Seen, data: Vec<u8>) -> Reply {
    let key = seen.key.as_str();
    if let Some(reply) = versions::delete(state, seen) {
        return reply;
    }
    let reply = match (seen.method.as_str(), key.is_empty()) {
        ("GET", true) if seen.query("uploads").is_some() => list_uploads(state, seen),
        ("GET", true) => list(state, seen),
        ("POST", true) if seen.query("delete").is_some() => delete_many(state, &data),
        ("GET", false) if seen.query("uploadId").is_some() => list_parts(state, seen),
        ("GET" | "HEAD", false) => read(state, seen),
        ("PUT", false) => write(state, seen, data),
        ("POST", false) if seen.query("uploads").is_some() => {
            let mut uploads = state.uploads.lock().unwrap();
            let id = format!("upload+{}/=", uploads.len() + state.completed.lock().unwrap().len());
            let upload = Upload { key: key.to_owned(), headers: kept(seen), parts: BTreeMap::new() };
            uploads.insert(id.clone(), upload);
            xml(
                200,
                format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ),
            )
        }
        ("POST", false) if seen.query("uploadId").is_some() => complete(state, seen, &data),
        ("DELETE", false) => match seen.query("uploadId") {
            Some(id) => match state.uploads.lock().unwrap().remove(id) {
                Some(_) => Reply::new(204),
                None => Reply::error(404, "NoSuchUpload", "The specified upload does not exist."),
            },
            None => {
                state.objects.lock().unwrap().remove(key);
                Reply::new(204)
            }
        },
        _ => Reply::error(501, "NotImplemented", "not here"),
    };
    let reply = versions::named(state, seen, reply);
    match reply.headers.iter().any(|(name, _)| name == "x-amz-request-id") {
        true => reply,
        false => reply.header("x-amz-request-id", "STORE2").header("x-amz-id-2", "host-id"),
    }
}

fn read(state: &State, seen: &Seen) -> Reply {
    let objects = state.objects.lock().unwrap();
    let Some(object) = objects.get(&seen.key) else {
        return match seen.method.as_str() {
            "HEAD" => Reply::new(404).header("x-amz-request-id", "STORE3"),
            _ => Reply::error(404, "NoSuchKey", "The specified key does not exist."),
        };
    };
    let etag = format!("\"{}\"", object.etag);
    let mut reply = Reply::new(200)
        .header("etag", &etag)
        .header("last-modified", LAST_MODIFIED)
        .header("accept-ranges", "bytes")
        .header("x-store-own", "Unknown, and kept back");
    for (name, value) in &object.headers {
        reply = reply.header(name, value);
    }
    if seen.header("if-match").is_some_and(|wanted| wanted != etag) {
        return Reply::error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold");
    }
    if seen.header("if-none-match").is_some_and(|wanted| wanted == etag) {
        return Reply { status: 304, ..reply };
    }
    let mut data = object.data.as_slice();
    let part = seen.query("partNumber").map(|number| {
        assert_eq!(number, "1", "no other part is known here");
        format!("bytes=0-{}", object.first_part_bytes.unwrap_or(data.len()).saturating_sub(1))
    });
    let range = part.as_deref().or_else(|| seen.header("range"));
    if let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) {
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(usize::MAX));
        if first >= data.len() {
            return Reply::error(416, "InvalidRange", "The requested range is not satisfiable")
                .header("content-range", &format!("bytes */{}", data.len()));
        }
        let last = last.min(data.len() - 1);
        reply = Reply { status: 206, ..reply }
            .header("content-range", &format!("bytes {first}-{last}/{}", data.len()));
        data = &data[first..=last];
    }
    match seen.method.as_str() {
        "HEAD" => reply.header("content-length", &data.len().to_string()),
        _ => reply.body(data.to_vec()),
    }
}

/// The headers that are kept with an object.
fn kept(seen: &Seen) -> Vec<Pair> {
    let mut headers: Vec<Pair> = Vec::new();
    for (name, value) in &seen.headers {
        let name = name.as_str();
        if ["content-type", "content-encoding", "cache-control"].contains(&name)
            || name.starts_with("x-amz-meta-")
        {
            let value = value.to_str().unwrap_or_default();
            // The framing of the transfer is no coding of the object.
            let value = value.trim_end_matches("aws-chunked").trim_end_matches(',');
            if !value.is_empty() {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    headers
}

fn write(state: &State, seen: &Seen, mut data: Vec<u8>) -> Reply {
    let headers = kept(seen);
    let mut objects = state.objects.lock().unwrap();
    let copies = seen.header("x-amz-copy-source").map(str::to_owned);
    if let Some(source) = &copies {
        let path = String::from_utf8(sigv4::decode(source.split('?').next().unwrap())).unwrap();
        let key = path.strip_prefix(&format!("/{BUCKET}/")).unwrap_or("?");
        let Some(source) = objects.get(key) else {
            return Reply::error(404, "NoSuchKey", "The specified key does not exist.");
        };
        let condition = seen.header("x-amz-copy-source-if-match");
        if condition.is_some_and(|wanted| wanted != format!("\"{}\"", source.etag)) {
            return Reply::error(412, "PreconditionFailed", "the source is another by now");
        }
        data.clone_from(&source.data);
    }
    let etag = md5_hex(&data);
    let result = |name| {
        xml(
            200,
            format!(
                "<{name}><LastModified>{LAST_MODIFIED_XML}</LastModified><ETag>\"{etag}\"</ETag></{name}>"
            ),
        )
    };
    if let Some(id) = seen.query("uploadId") {
        let mut uploads = state.uploads.lock().unwrap();
        let Some(upload) = uploads.get_mut(id).filter(|upload| upload.key == seen.key) else {
            return Reply::error(404, "NoSuchUpload", "The specified upload does not exist.");
        };
        upload.parts.insert(seen.query("partNumber").unwrap().parse().unwrap(), data);
        return match copies {
            Some(_) => result("CopyPartResult"),
            None => Reply::new(200).header("etag", &format!("\"{etag}\"")).header("content-length", "0"),
        };
    }
    if seen.header("if-none-match") == Some("*") && objects.contains_key(&seen.key) {
        return Reply::error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold");
    }
    objects.insert(seen.key.clone(), Object { data, headers, etag: etag.clone(), first_part_bytes: None });
    match copies {
        Some(_) => result("CopyObjectResult"),
        None => Reply::new(200).header("etag", &format!("\"{etag}\"")).header("content-length", "0"),
    }
}

fn list(state: &State, seen: &Seen) -> Reply {
    let query = |name| seen.query(name).unwrap_or_default();
    let (prefix, delimiter) = (query("prefix"), query("delimiter"));
    let v2 = seen.query("list-type") == Some("2");
    let max: usize = seen.query("max-keys").and_then(|max| max.parse().ok()).unwrap_or(1000);
    let after = ["continuation-token", "start-after", "marker"]
        .map(query)
        .into_iter()
        .find(|after| !after.is_empty());
    let mut entries: Vec<String> = Vec::new();
    let objects = state.objects.lock().unwrap();
    for key in objects.keys().filter(|key| key.starts_with(prefix)) {
        let entry = match key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => format!("{}\n", &key[..prefix.len() + at + delimiter.len()]),
            None => key.clone(),
        };
        if entries.last() != Some(&entry) && after.is_none_or(|after| entry.trim_end() > after) {
            entries.push(entry);
        }
    }
    let truncated = entries.len() > max;
    entries.truncate(max);
    let url = seen.query("encoding-type") == Some("url");
    let name = |text: &str| if url { encode(text.as_bytes(), true) } else { text.to_owned() };
    let mut document = format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Name>{BUCKET}</Name><Prefix>{}</Prefix>",
        name(prefix)
    );
    document.push_str(&format!("<MaxKeys>{max}</MaxKeys><IsTruncated>{truncated}</IsTruncated>"));
    if url {
        document.push_str("<EncodingType>url</EncodingType>");
    }
    if let Some(last) = entries.last().filter(|_| truncated) {
        let element = if v2 { "NextContinuationToken" } else { "NextMarker" };
        document.push_str(&format!("<{element}>{}</{element}>", last.trim_end()));
    }
    for entry in &entries {
        document.push_str(&match entry.strip_suffix('\n') {
            Some(common) => format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", name(common)),
            None => format!(
                "<Contents><Key>{}</Key><LastModified>{LAST_MODIFIED_XML}</LastModified>\
                 <ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
                name(entry),
                objects[entry].etag,
                objects[entry].data.len()
            ),
        });
    }
    xml(200, format!("{document}</ListBucketResult>"))
}

fn list_uploads(state: &State, seen: &Seen) -> Reply {
    let prefix = seen.query("prefix").unwrap_or_default();
    let uploads = state.uploads.lock().unwrap();
    let shown = uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix));
    let shown = shown
        .map(|(id, upload)| format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", upload.key));
    let shown: String = shown.collect();
    xml(200, format!("<ListMultipartUploadsResult>{shown}</ListMultipartUploadsResult>"))
}

fn list_parts(state: &State, seen: &Seen) -> Reply {
    let uploads = state.uploads.lock().unwrap();
    let named = seen.query("uploadId").and_then(|id| uploads.get(id));
    let Some(upload) = named.filter(|upload| upload.key == seen.key) else {
        return Reply::error(404, "NoSuchUpload", "The specified upload does not exist.");
    };
    let marker: u32 = seen.query("part-number-marker").and_then(|marker| marker.parse().ok()).unwrap_or(0);
    let page = *state.parts_page.lock().unwrap();
    let mut left = upload.parts.range(marker + 1..);
    let shown: Vec<_> = left.by_ref().take(page).collect();
    let mut document = format!("<ListPartsResult><IsTruncated>{}</IsTruncated>", left.next().is_some());
    if let Some((last, _)) = shown.last() {
        document.push_str(&format!("<NextPartNumberMarker>{last}</NextPartNumberMarker>"));
    }
    for (number, data) in shown {
        document.push_str(&format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag><Size>{}</Size></Part>",
            md5_hex(data),
            data.len()
        ));
    }
    xml(200, format!("{document}</ListPartsResult>"))
}

fn complete(state: &State, seen: &Seen, data: &[u8]) -> Reply {
    let id = seen.query("uploadId").unwrap();
    let completed = |etag: &str| {
        xml(
            200,
            format!("<CompleteMultipartUploadResult><ETag>\"{etag}\"</ETag></CompleteMultipartUploadResult>"),
        )
    };
    let named = state.uploads.lock().unwrap().get(id).cloned();
    let Some(upload) = named.filter(|upload| upload.key == seen.key) else {
        return match state.completed.lock().unwrap().get(id) {
            Some((key, etag)) if *key == seen.key => completed(etag),
            _ => Reply::error(404, "NoSuchUpload", "The specified upload does not exist."),
        };
    };
    let root = Element::parse(data).unwrap();
    let numbers =
        root.children.iter().map(|part| part.text_of("PartNumber").unwrap().parse::<u32>().unwrap());
    let parts: Vec<&Vec<u8>> = numbers.map(|number| &upload.parts[&number]).collect();
    let whole: Vec<u8> = parts.iter().flat_map(|part| (*part).clone()).collect();
    let md5s: String = parts.iter().map(|part| md5_hex(part)).collect();
    let etag = format!("{}-{}", md5_hex(&hex::decode(md5s).unwrap()), parts.len());
    let false_checksum = CHECKSUMS.into_iter().any(|name| {
        let wanted = seen.header(name).filter(|_| seen.header("x-amz-checksum-type") == Some("FULL_OBJECT"));
        wanted.is_some_and(|wanted| wanted != checksum(name, &whole))
    });
    if false_checksum {
        return Reply::error(400, "BadDigest", "The object's checksum is another.");
    }
    let first_part_bytes = parts.first().map(|part| part.len());
    let object = Object { etag: etag.clone(), data: whole, headers: upload.headers, first_part_bytes };
    state.uploads.lock().unwrap().remove(id);
    state.completed.lock().unwrap().insert(id.to_owned(), (upload.key.clone(), etag.clone()));
    state.objects.lock().unwrap().insert(upload.key, object);
    completed(&etag)
}

fn delete_many(state: &State, data: &[u8]) -> Reply {
    let root = Element::parse(data).unwrap();
    let quiet = root.text_of("Quiet") == Some("true");
    let mut document = String::new();
    for object in root.children.iter().filter(|child| child.name == "Object") {
        let key = object.text_of("Key").unwrap();
        state.objects.lock().unwrap().remove(key);
        let marker = versions::make(state, key);
        let marker =
            marker.map_or(String::new(), |id| format!("<DeleteMarkerVersionId>{id}</DeleteMarkerVersionId>"));
        if !quiet {
            let key = key.replace('&', "&amp;").replace('<', "&lt;");
            document.push_str(&format!("<Deleted><Key>{key}</Key>{marker}</Deleted>"));
        }
    }
    xml(
        200,
        format!("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{document}</DeleteResult>"),
    )
}
