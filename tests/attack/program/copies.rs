//! Copies: the source is a read, by the same caller.

use super::{Arena, Check, Finding, Identity, Stop, bodies::begin_upload, call::Call, call::encode};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p30-copy-of-another", "another's object copied to one's own folder", copy_of_another),
    Check::new("p30-copy-by-dots", "a copy source with dot segments", copy_by_dots),
    Check::new("p30-part-of-another", "another's object copied as a part", part_of_another),
    Check::new("p30-copy-into-another", "a copy of one's own into another's folder", copy_into_another),
    Check::new("p30-odd-sources", "copy sources that are access points, empty, or two", odd_sources),
    Check::new("p30-copy-tells", "a copy's conditions tell what another holds", conditions_tell),
];

fn copy(arena: &Arena, to: &str, source: &str) -> Call {
    arena.call("PUT", to).header("x-amz-copy-source", source)
}

/// A copy of one's own object works.
fn honest(arena: &Arena, who: &Identity) -> Result<(String, Vec<u8>), Stop> {
    let (source, content) = arena.object(who)?;
    let to = arena.key(who);
    let call = copy(arena, &to, &format!("{}/{source}", arena.target.bucket));
    arena.trial().honest_write(who, &to, &call, &content)?;
    Ok((source, content))
}

/// Copies `sources` to fresh keys of the attacker's, where nothing may stand.
fn try_sources(arena: &Arena, sources: &[String]) -> Verdict {
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    honest(arena, thief)?;
    for source in sources {
        let to = arena.key(thief);
        let request = copy(arena, &to, source).sign(&arena.target, thief);
        trial.must_not_write(source, thief, (&to, None), &request)?;
        let url = copy(arena, &to, source).presigned("600").sign(&arena.target, thief);
        trial.must_not_write(source, thief, (&to, None), &url)?;
    }
    trial.end("nothing was copied")
}

fn copy_of_another(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let bucket = &arena.target.bucket;
    try_sources(
        arena,
        &[
            format!("{bucket}/{key}"),
            format!("/{bucket}/{key}"),
            format!("/{bucket}/{}", encode(&key, false)),
            format!("{bucket}/{key}?versionId=null"),
            format!("//{bucket}/{key}"),
            format!("{bucket}//{key}"),
            format!("{bucket}%2F{}", encode(&key, false)),
        ],
    )
}

fn copy_by_dots(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let (bucket, own) = (&arena.target.bucket, &arena.attacker.prefix);
    let depth = own.matches('/').count();
    let sources = ["../", "%2e%2e/", "..%2f", "%2e%2e%2f", "%252e%252e%252f", "./../", "..%5c"]
        .map(|dots| format!("/{bucket}/{own}{}{key}", dots.repeat(depth)));
    try_sources(arena, &sources)
}

fn part_of_another(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    let (own, _) = honest(arena, thief)?;
    let (to, upload) = begin_upload(arena, thief)?;
    let part = |number: &str, source: &str| {
        let call = arena.call("PUT", &to).query("partNumber", number).query("uploadId", &upload);
        call.header("x-amz-copy-source", source)
    };
    let bucket = &arena.target.bucket;
    trial.honest("UploadPartCopy", &arena.ask(thief, &part("1", &format!("{bucket}/{own}"))))?;
    for source in [
        format!("{bucket}/{key}"),
        format!("/{bucket}/{}", encode(&key, false)),
        format!("{bucket}/{key}?versionId=null"),
        format!("{bucket}/{}{}{key}", thief.prefix, "../".repeat(thief.prefix.matches('/').count())),
    ] {
        if !trial.goes_on() {
            break;
        }
        for call in [part("8", &source), part("8", &source).header("x-amz-copy-source-range", "bytes=0-1023")]
        {
            let answer = arena.ask(thief, &call);
            let parts = arena.ask(thief, &arena.call("GET", &to).query("uploadId", &upload));
            trial.honest("ListParts", &parts)?;
            let there = parts.holds(b"<PartNumber>8</PartNumber>");
            trial.tried(&source, &answer, there.then(|| "and the part stands".to_owned()));
        }
    }
    arena.ask(thief, &arena.call("DELETE", &to).query("uploadId", &upload));
    trial.end("no part stands")
}

fn copy_into_another(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    let (own, _) = honest(arena, thief)?;
    let source = format!("{}/{own}", arena.target.bucket);
    let before = (key.as_str(), Some(content.as_slice()));
    trial.must_not_write("over it", owner, before, &copy(arena, &key, &source).sign(&arena.target, thief))?;
    let new = arena.key(owner);
    let request = copy(arena, &new, &source).sign(&arena.target, thief);
    trial.must_not_write("beside it", owner, (&new, None), &request)?;
    trial.end("the object reads back whole")
}

fn odd_sources(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    let (own, _) = honest(arena, thief)?;
    let bucket = &arena.target.bucket;
    for source in [
        String::new(),
        "/".to_owned(),
        bucket.clone(),
        format!("arn:aws:s3:us-east-1:123456789012:accesspoint/a/object/{bucket}/{key}"),
        format!("arn:aws:s3-outposts:us-east-1:123456789012:outpost/o/object/{bucket}/{key}"),
        format!("{bucket}/{key}?versionId=null&acl"),
        format!("{bucket}/{own}\0{key}"),
        format!("http://{}/{bucket}/{key}", arena.target.host),
    ] {
        let to = arena.key(thief);
        let request = copy(arena, &to, &source.replace('\0', "%00")).body(&[]).sign(&arena.target, thief);
        trial.must_not_write(&format!("{source:?}"), thief, (&to, None), &request)?;
    }
    let to = arena.key(thief);
    let call = copy(arena, &to, &format!("{bucket}/{own}"));
    let two = call.header("x-amz-copy-source", &format!("{bucket}/{key}")).sign(&arena.target, thief);
    trial.must_not_write("two sources", thief, (&to, None), &two)?;
    trial.end("nothing was copied")
}

fn conditions_tell(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    honest(arena, thief)?;
    let to = arena.key(thief);
    let ask = |key: &str, name: &str, value: &str| {
        let source = format!("{}/{key}", arena.target.bucket);
        arena.ask(thief, &copy(arena, &to, &source).header(name, value))
    };
    for (name, value) in [
        ("x-amz-copy-source-if-match", "\"0123\""),
        ("x-amz-copy-source-if-none-match", "*"),
        ("x-amz-copy-source-if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ] {
        let (there, absent) = (ask(&key, name, value), ask(&format!("{key}.absent"), name, value));
        let told = there.status != absent.status || there.element("Code") != absent.element("Code");
        let told = told.then(|| format!("and of an absent one {}", absent.brief()));
        trial.tried(name, &there, told);
    }
    trial.end("it is answered as for an absent one")
}
