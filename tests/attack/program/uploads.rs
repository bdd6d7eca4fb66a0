//! Uploads in parts: an id is no key to a folder.

use super::{
    Arena, Check, Finding, Identity, Stop,
    bodies::begin_upload,
    call::{Call, SIGNED_CHUNKS},
    wire::Answer,
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p37-part-of-anothers-upload", "a part of another's upload is replaced", part),
    Check::new("p37-complete-anothers-upload", "another's upload is completed", complete),
    Check::new("p37-abort-anothers-upload", "another's upload is aborted", abort),
    Check::new("p37-parts-of-another", "another's parts and uploads are listed", list),
    Check::new("p37-upload-id-moved", "another's upload id with a key of one's own", moved),
    Check::new("p37-upload-ids", "upload ids that are paths", ids),
    Check::new("p67-repeated-complete", "a Complete once more, after a lost answer", repeated_complete),
    Check::new(
        "p67-repeated-deletes",
        "an Abort and a DELETE once more, after a lost answer",
        repeated_deletes,
    ),
];

/// An upload with one part.
struct Upload {
    key: String,
    id: String,
    content: Vec<u8>,
    document: Vec<u8>,
}

impl Upload {
    fn begin(arena: &Arena, who: &Identity) -> Result<Self, Stop> {
        let (key, id) = begin_upload(arena, who)?;
        let mut upload = Self { key, id, content: arena.content(), document: Vec::new() };
        let answer = arena.ask(who, &upload.part(arena, &upload.content));
        arena.trial().honest("UploadPart", &answer)?;
        let etag = answer.header("etag").unwrap_or("\"e\"").to_owned();
        upload.document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        )
        .into_bytes();
        Ok(upload)
    }

    fn at(&self, arena: &Arena, method: &str) -> Call {
        arena.call(method, &self.key).query("uploadId", &self.id)
    }

    fn part(&self, arena: &Arena, content: &[u8]) -> Call {
        self.at(arena, "PUT").query("partNumber", "1").body(content)
    }

    fn complete(&self, arena: &Arena) -> Call {
        self.at(arena, "POST").body(&self.document)
    }

    /// Its owner completes it, and it holds what the owner has sent.
    fn is_whole(&self, arena: &Arena, who: &Identity) -> Result<bool, Stop> {
        let answer = arena.ask(who, &self.complete(arena));
        let whole = arena.stands(who, &self.key)?.as_deref() == Some(&self.content);
        Ok(answer.is_success() && !answer.holds(b"<Error>") && whole)
    }
}

/// Tries `attacks` on an upload of the victim's, which then has to complete as if nothing had been.
fn try_attacks(arena: &Arena, attacks: &dyn Fn(&Upload) -> Vec<(&'static str, Call)>) -> Verdict {
    arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    let honest = Upload::begin(arena, owner)?;
    if !honest.is_whole(arena, owner)? {
        return Err(Stop::not_applicable("an honest upload in parts does not come to an object"));
    }
    let upload = Upload::begin(arena, owner)?;
    let (mut last, mut label) = (Answer::default(), "");
    for (what, call) in attacks(&upload) {
        let answer = arena.ask(thief, &call);
        let done = answer.is_success() && !answer.holds(b"<Error>");
        trial.tried(what, &answer, done.then(|| "a success".to_owned()));
        (last, label) = (answer, what);
    }
    if trial.goes_on() && !upload.is_whole(arena, owner)? {
        trial.tried(label, &last, Some("and its owner cannot complete it any more".to_owned()));
    }
    trial.end("its owner completes it, and it reads back whole")
}

fn part(arena: &Arena) -> Verdict {
    let other = arena.content();
    try_attacks(arena, &|upload| {
        let chunks = upload.part(arena, &other).payload(SIGNED_CHUNKS);
        vec![("UploadPart", upload.part(arena, &other)), ("in chunks", chunks)]
    })
}

fn complete(arena: &Arena) -> Verdict {
    try_attacks(arena, &|upload| vec![("CompleteMultipartUpload", upload.complete(arena))])
}

fn abort(arena: &Arena) -> Verdict {
    try_attacks(arena, &|upload| vec![("AbortMultipartUpload", upload.at(arena, "DELETE"))])
}

fn list(arena: &Arena) -> Verdict {
    arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    let own = Upload::begin(arena, thief)?;
    trial.honest("ListParts", &arena.ask(thief, &own.at(arena, "GET")))?;
    let upload = Upload::begin(arena, owner)?;
    let id = upload.id.as_bytes();
    let below = arena.below(owner);
    let uploads = arena.call("GET", "").query("uploads", "");
    for (label, call) in [
        ("ListParts", upload.at(arena, "GET")),
        ("uploads", uploads.clone()),
        ("uploads by prefix", uploads.clone().query("prefix", &below)),
        ("uploads by marker", uploads.clone().query("key-marker", &below)),
        ("own uploads by marker", uploads.query("prefix", &arena.below(thief)).query("key-marker", &below)),
    ] {
        if trial.goes_on() {
            let answer = arena.ask(thief, &call);
            let shown = answer.is_success() && (answer.holds(id) || label == "ListParts");
            trial.tried(label, &answer, shown.then(|| "with another's upload".to_owned()));
        }
    }
    for (who, upload) in [(thief, &own), (owner, &upload)] {
        arena.ask(who, &upload.at(arena, "DELETE"));
    }
    trial.end("no upload of another's was shown")
}

fn moved(arena: &Arena) -> Verdict {
    let own = arena.key(&arena.attacker);
    let other = arena.content();
    try_attacks(arena, &|upload| {
        let at = |method| arena.call(method, &own).query("uploadId", &upload.id);
        vec![
            ("UploadPart", at("PUT").query("partNumber", "1").body(&other)),
            ("ListParts", at("GET")),
            ("CompleteMultipartUpload", at("POST").body(&upload.document)),
        ]
    })
}

fn ids(arena: &Arena) -> Verdict {
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    let upload = Upload::begin(arena, thief)?;
    trial.honest("ListParts", &arena.ask(thief, &upload.at(arena, "GET")))?;
    let same = |id: &str| arena.call("GET", &upload.key).query("uploadId", id);
    for id in [
        format!("./{}", upload.id),
        format!("../uploads/{}", upload.id),
        format!("{}/", upload.id),
        format!("{}\0", upload.id),
        format!("x/../{}", upload.id),
        "..".to_owned(),
        String::new(),
        "*".to_owned(),
    ] {
        trial.must_fail(&format!("{id:?}"), &same(&id).sign(&arena.target, thief));
    }
    let twice = upload.at(arena, "GET").query("uploadId", "another");
    trial.must_fail("two ids", &twice.sign(&arena.target, thief));
    arena.ask(thief, &upload.at(arena, "DELETE"));
    trial.end("none was taken")
}

/// Asks twice: what has succeeded once succeeds once more.
fn twice(arena: &Arena, trial: &mut super::finding::Trial<'_>, what: &str, call: &Call) -> Result<(), Stop> {
    trial.honest(what, &arena.ask(&arena.attacker, call))?;
    let answer = arena.ask(&arena.attacker, call);
    let failed = !answer.is_success() || answer.holds(b"<Error>");
    trial.tried(&format!("{what} once more"), &answer, failed.then(|| "a failure".to_owned()));
    Ok(())
}

fn repeated_complete(arena: &Arena) -> Verdict {
    let mut trial = arena.trial();
    let upload = Upload::begin(arena, &arena.attacker)?;
    twice(arena, &mut trial, "Complete", &upload.complete(arena))?;
    trial.end("it succeeds once more")
}

fn repeated_deletes(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, _) = arena.object(who)?;
    twice(arena, &mut trial, "DELETE", &arena.call("DELETE", &key))?;
    let upload = Upload::begin(arena, who)?;
    twice(arena, &mut trial, "Abort", &upload.at(arena, "DELETE"))?;
    trial.end("each succeeds once more")
}
