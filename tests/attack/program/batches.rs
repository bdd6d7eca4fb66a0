//! Deletes by the batch: each key is judged by itself.

use super::{Arena, Check, Finding, Stop, bodies::content_md5, call::Call};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p31-keys-of-another", "another's keys among one's own", keys_of_another),
    Check::new("p31-odd-documents", "another's key hidden in odd XML", odd_documents),
    Check::new("p31-too-many-keys", "more keys than a batch may have", too_many),
    Check::new("p31-changed-document", "a document that is not the one that was signed", changed),
];

fn batch(arena: &Arena, document: &str) -> Call {
    let md5 = content_md5(document.as_bytes());
    let call = arena.call("POST", "").query("delete", "").header("content-md5", &md5);
    call.body(document.as_bytes())
}

fn object(key: &str) -> String {
    format!("<Object><Key>{key}</Key></Object>")
}

fn of(objects: &str) -> String {
    format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>")
}

/// A batch of one's own key works.
fn honest(arena: &Arena) -> Result<(), Stop> {
    let (who, trial) = (&arena.attacker, arena.trial());
    let (key, _) = arena.object(who)?;
    trial.honest("batch delete", &arena.ask(who, &batch(arena, &of(&object(&key)))))?;
    match arena.stands(who, &key)? {
        None => Ok(()),
        Some(_) => Err(Stop::not_applicable("an honest batch delete deletes nothing")),
    }
}

fn keys_of_another(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    honest(arena)?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    let (own, _) = arena.object(thief)?;
    let dots = format!("{}{}{key}", thief.prefix, "../".repeat(thief.prefix.matches('/').count()));
    let version = format!("<Object><Key>{key}</Key><VersionId>null</VersionId></Object>");
    let before = (key.as_str(), Some(content.as_slice()));
    for (label, objects) in [
        ("alone", object(&key)),
        ("after one's own", object(&own) + &object(&key)),
        ("before one's own", object(&key) + &object(&own)),
        ("quietly", format!("<Quiet>true</Quiet>{}", object(&key))),
        ("by version", version),
        ("by dots", object(&dots)),
        ("by encoded dots", object(&dots.replace("../", "%2e%2e%2f"))),
    ] {
        let request = batch(arena, &of(&objects)).sign(&arena.target, thief);
        trial.must_not_write(label, owner, before, &request)?;
    }
    trial.end("the object reads back whole")
}

fn odd_documents(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    honest(arena)?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    let own = arena.key(thief);
    let before = (key.as_str(), Some(content.as_slice()));
    let entity = format!("<!DOCTYPE d [<!ENTITY k \"{key}\">]>{}", of(&object("&k;")));
    let halves = key.split_at(key.len() / 2);
    for (label, document) in [
        ("an entity", entity),
        ("two keys in one object", of(&format!("<Object><Key>{own}</Key><Key>{key}</Key></Object>"))),
        ("its key first", of(&format!("<Object><Key>{key}</Key><Key>{own}</Key></Object>"))),
        ("character data", of(&object(&format!("<![CDATA[{key}]]>")))),
        ("a comment between", of(&object(&format!("{}<!-- -->{}", halves.0, halves.1)))),
        ("an attribute twice", of(&format!("<Object><Key a=\"1\" a=\"2\">{key}</Key></Object>"))),
        (
            "another namespace",
            format!("<x:Delete xmlns:x=\"urn:x\"><x:Object><x:Key>{key}</x:Key></x:Object></x:Delete>"),
        ),
        ("two documents", format!("{}{}", of(&object(&own)), of(&object(&key)))),
        ("an object within an object", of(&format!("<Object><Key>{own}</Key>{}</Object>", object(&key)))),
    ] {
        trial.must_not_write(label, owner, before, &batch(arena, &document).sign(&arena.target, thief))?;
    }
    let deep = "<a>".repeat(100_000);
    let request = batch(arena, &of(&format!("{deep}{}", object(&key)))).sign(&arena.target, thief);
    trial.must_not_write("a deep document", owner, before, &request)?;
    trial.end("the object reads back whole")
}

fn too_many(arena: &Arena) -> Verdict {
    honest(arena)?;
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let others: String = (0..1000).map(|number| object(&format!("{}absent/{number}", who.prefix))).collect();
    let request = batch(arena, &of(&(others + &object(&key)))).sign(&arena.target, who);
    trial.must_not_write("1,001 keys", who, (&key, Some(&content)), &request)?;
    trial.end("the object reads back whole")
}

fn changed(arena: &Arena) -> Verdict {
    honest(arena)?;
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let (other, _) = (arena.key(who), ());
    let signed = batch(arena, &of(&object(&other))).sign(&arena.target, who);
    let before = (key.as_str(), Some(content.as_slice()));
    let document = of(&object(&key)).into_bytes();
    let request = signed.clone().with_body(document.clone());
    trial.must_not_write("another document", who, before, &request)?;
    let request = signed.with_body(document.clone()).set("content-md5", content_md5(&document));
    trial.must_not_write("with its MD5", who, before, &request)?;
    trial.end("the object reads back whole")
}
