use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::s3::{Addressing, uri::Query, xml::Delete};

const SOURCES: &str = "data/{source}/{coldkey}/";

fn account(id: u8) -> AccountId {
    AccountId::from_bytes([id; 32]).unwrap()
}

fn caller(id: u8, role: Role) -> Caller {
    Caller { hotkey: account(id), owner: Arc::new(Owner::new(account(id), account(id + 100))), role }
}

fn policy(templates: &[&str]) -> Policy {
    let variables = BTreeMap::from([
        ("source".to_owned(), Values::List(vec!["x".to_owned(), "reddit".to_owned()])),
        ("job_id".to_owned(), Values::pattern("[a-z0-9]+").unwrap()),
    ]);
    let templates = templates.iter().map(|text| Template::parse(text, &variables).unwrap()).collect();
    Policy::new(templates, RoleRights::default())
}

fn request(method: &str, target: &str, headers: &[(&'static str, String)]) -> Request {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Request::parse(&method, Addressing::Path, path, Query::parse(query).unwrap(), &headers).unwrap()
}

fn allowed(policy: &Policy, caller: &Caller, method: &str, target: &str) -> bool {
    allowed_with(policy, caller, method, target, &[])
}

fn allowed_with(
    policy: &Policy,
    caller: &Caller,
    method: &str,
    target: &str,
    headers: &[(&'static str, String)],
) -> bool {
    match policy.authorise(caller, request(method, target, headers)) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code, Code::AccessDenied, "{target}");
            assert!(error.message.starts_with("FolderDenied: "), "{}", error.message);
            false
        }
    }
}

const OBJECT_REQUESTS: &[(&str, &str, Action)] = &[
    ("GET", "", Action::Read),
    ("GET", "?versionId=1", Action::Read),
    ("HEAD", "", Action::Read),
    ("GET", "?attributes", Action::Read),
    ("GET", "?uploadId=u", Action::List),
    ("PUT", "", Action::Write),
    ("PUT", "?partNumber=1&uploadId=u", Action::Write),
    ("POST", "?uploads", Action::Write),
    ("POST", "?uploadId=u", Action::Write),
    ("DELETE", "?uploadId=u", Action::Write),
    ("DELETE", "", Action::Delete),
    ("DELETE", "?versionId=1", Action::Delete),
];

#[test]
fn a_miner_has_its_own_folder_and_nothing_else() {
    let policy = policy(&[SOURCES]);
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    for (method, query, _) in OBJECT_REQUESTS {
        for source in ["x", "reddit"] {
            let target = format!("/b/data/{source}/{}/job/file{query}", me.owner.coldkey());
            assert!(allowed(&policy, &me, method, &target), "{method} {target}");
            assert!(!allowed(&policy, &other, method, &target), "{method} {target}");
        }
        for elsewhere in ["other/file", "data/file", "data/web/file", "data/x/5Abc/file"] {
            assert!(
                !allowed(&policy, &me, method, &format!("/b/{elsewhere}{query}")),
                "{method} {elsewhere}"
            );
        }
    }
}

#[test]
fn a_validator_reads_everything_and_writes_its_own() {
    let policy = policy(&[SOURCES]);
    let (validator, miner) = (caller(1, Role::Validator), caller(2, Role::Miner));
    for (method, query, action) in OBJECT_REQUESTS {
        let theirs = format!("/b/data/x/{}/file{query}", miner.owner.coldkey());
        let reads = matches!(action, Action::Read | Action::List);
        assert_eq!(allowed(&policy, &validator, method, &theirs), reads, "{method} {theirs}");
        let own = format!("/b/data/x/{}/file{query}", validator.owner.coldkey());
        assert!(allowed(&policy, &validator, method, &own), "{method} {own}");
        assert!(!allowed(&policy, &validator, method, &format!("/b/secrets/file{query}")), "{method}");
    }
}

#[test]
fn p30_a_copy_reads_its_source_as_the_same_caller() {
    let policy = policy(&[SOURCES]);
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    let own = format!("/b/data/x/{}/new", me.owner.coldkey());
    let source = |who: &Caller| format!("/b/data/x/{}/old", who.owner.coldkey());
    for query in ["", "?partNumber=1&uploadId=u"] {
        let copy = |caller, from: String| {
            allowed_with(&policy, caller, "PUT", &format!("{own}{query}"), &[("x-amz-copy-source", from)])
        };
        assert!(copy(&me, source(&me)));
        assert!(!copy(&me, source(&other)));
        assert!(!copy(&me, format!("{}?versionId=1", source(&other))));
        assert!(!copy(&me, source(&other).replace("data", "%64ata")));
        // A validator may read it, and may still not write there.
        assert!(!copy(&caller(3, Role::Validator), source(&other)));
    }
}

#[test]
fn p22_traversal_is_refused_before_it_is_asked_whose_it_is() {
    let policy = policy(&[SOURCES]);
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    for (method, query, _) in OBJECT_REQUESTS {
        for way in ["..", ".", ""] {
            let target = format!("/b/data/x/{}/{way}/{}/f{query}", me.owner.coldkey(), other.owner.coldkey());
            let error = policy.authorise(&me, request(method, &target, &[])).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument, "{target}");
        }
    }
}

#[test]
fn p22_a_key_that_ends_in_a_slash_has_a_permit_of_its_own() {
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    let (mine, theirs) = (me.owner.coldkey(), other.owner.coldkey());
    for markers in [FolderMarkers::Answer, FolderMarkers::Store] {
        let policy = policy(&[SOURCES]).with_folder_markers(markers);
        let is_stored = |key: &str, body_bytes| {
            let permit = policy.authorise(&me, request("PUT", &format!("/b/{key}"), &[])).ok()?;
            let Permitted::FolderKey(folder_key) = permit.permitted() else { panic!("{key}") };
            match folder_key.with_body(body_bytes) {
                Ok(FolderKey::Marker) => Some(false),
                Ok(FolderKey::StoredMarker(upload)) => {
                    assert!(body_bytes == 0 && upload.key() == key);
                    Some(true)
                }
                Ok(FolderKey::Object(upload)) => {
                    assert!(body_bytes > 0 && upload.key() == key);
                    Some(true)
                }
                Err(error) => {
                    assert_eq!(error.code, Code::AccessDenied);
                    assert!(permit.object_upload().is_err());
                    None
                }
            }
        };
        for inside in [format!("data/x/{mine}/"), format!("data/x/{mine}/a/b/")] {
            assert_eq!(is_stored(&inside, 0), Some(markers == FolderMarkers::Store));
            assert_eq!(is_stored(&inside, 1), Some(true));
        }
        for above in ["data/", "data/x/"] {
            assert_eq!(is_stored(above, 0), Some(false));
            assert_eq!(is_stored(above, 1), None);
        }
        for elsewhere in ["data/web/".to_owned(), "x/".to_owned(), format!("data/x/{theirs}/")] {
            assert_eq!(is_stored(&elsewhere, 0), None, "{elsewhere}");
        }
    }
}

#[test]
fn p22_who_may_not_write_puts_no_markers() {
    let rights: RoleRights = toml::from_str("[miner]\nown = [\"list\", \"read\", \"delete\"]").unwrap();
    let policy = Policy { rights, ..policy(&[SOURCES]) };
    let me = caller(1, Role::Miner);
    for key in ["data/".to_owned(), "data/x/".to_owned(), format!("data/x/{}/", me.owner.coldkey())] {
        assert!(!allowed(&policy, &me, "PUT", &format!("/b/{key}")), "{key}");
    }
}

/// How a permitted list is served.
#[derive(Debug, PartialEq, Eq)]
enum Served {
    ByStore(String),
    Here(Vec<String>),
    Roots(Vec<String>),
}

fn list(policy: &Policy, caller: &Caller, query: &str) -> Option<Served> {
    let request = request("GET", &format!("/b?{query}"), &[]);
    let permit = policy.authorise(caller, request).ok()?;
    match permit.permitted() {
        Permitted::List(list) => Some(Served::ByStore(list.prefix().to_owned())),
        Permitted::Folders(prefixes) => Some(Served::Here(prefixes.to_vec())),
        Permitted::Roots(roots) => {
            Some(Served::Roots(roots.lists().map(|list| list.root().to_owned()).collect()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn p32_listings_stay_inside() {
    let policy = policy(&[SOURCES]);
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    let (mine, theirs) = (me.owner.coldkey(), other.owner.coldkey());
    let forward = |prefix: String| Some(Served::ByStore(prefix));
    let answer = |prefixes: &[String]| Some(Served::Here(prefixes.to_vec()));
    for version in ["", "list-type=2&"] {
        let list = |query: String| list(&policy, &me, &format!("{version}{query}"));
        assert_eq!(list(format!("prefix=data/x/{mine}/")), forward(format!("data/x/{mine}/")));
        assert_eq!(
            list(format!("prefix=data/x/{mine}/sub&delimiter=a")),
            forward(format!("data/x/{mine}/sub"))
        );
        assert_eq!(list(format!("prefix=data/x/{mine}")), forward(format!("data/x/{mine}/")));
        assert_eq!(list(format!("prefix=data/x/{mine}&delimiter=/")), answer(&[format!("data/x/{mine}/")]));
        assert_eq!(list("delimiter=/".to_owned()), answer(&["data/".to_owned()]));
        assert_eq!(
            list("prefix=data/&delimiter=/".to_owned()),
            answer(&["data/reddit/".to_owned(), "data/x/".to_owned()])
        );
        assert_eq!(list("prefix=data/x/&delimiter=/".to_owned()), answer(&[format!("data/x/{mine}/")]));
        for query in [
            String::new(),
            "prefix=".to_owned(),
            "prefix=data/".to_owned(),
            "prefix=data/&delimiter=a".to_owned(),
            "prefix=data/x/5&delimiter=/".to_owned(),
            "prefix=data&delimiter=/".to_owned(),
            format!("prefix=data/x/{theirs}/&delimiter=/"),
            format!("prefix=data/x/{mine}/../{theirs}/"),
            format!("prefix=data/x/{mine}D"),
        ] {
            assert_eq!(list(query.clone()), None, "{query}");
        }
    }
}

#[test]
fn p32_markers_stay_inside_too() {
    let policy = policy(&[SOURCES]);
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    let (mine, theirs) = (me.owner.coldkey(), other.owner.coldkey());
    for (name, rest) in [("marker", ""), ("start-after", "&list-type=2"), ("key-marker", "&uploads")] {
        let with = |marker: &str| {
            list(&policy, &me, &format!("prefix=data/x/{mine}/&{name}={marker}{rest}")).is_some()
        };
        assert!(with("") && with(&format!("data/x/{mine}/a")) && with("data/x/"));
        assert!(!with(&format!("data/x/{theirs}/a")), "{name}");
        assert!(with(&format!("data/x/{mine}/../a")) && with(&format!("data/x/{mine}/a//")), "{name}");
    }
}

#[test]
fn p32_a_continuation_takes_the_place_of_start_after() {
    let policy = policy(&[SOURCES]);
    let me = caller(1, Role::Miner);
    let query = format!("list-type=2&prefix=data/x/{}/&start-after=opaque", me.owner.coldkey());
    assert_eq!(list(&policy, &me, &query), None);
    assert!(list(&policy, &me, &format!("{query}&continuation-token=opaque")).is_some());
    assert_eq!(list(&policy, &me, &format!("{query}&continuation-token=")), None);
}

#[test]
fn p32_start_after_goes_on_beside_a_token_where_it_stays_inside() {
    let policy = policy(&[SOURCES]);
    let me = caller(1, Role::Miner);
    let prefix = format!("data/x/{}/", me.owner.coldkey());
    let inside = format!("{prefix}b");
    for (start_after, token, forwarded) in [
        (inside.as_str(), "token", Some(inside.as_str())),
        (inside.as_str(), inside.as_str(), None),
        ("data/x/", "token", Some("data/x/")),
        ("data/y", "token", None),
        ("data/x/5/../y", "token", None),
        ("token", "token", None),
    ] {
        let query = format!(
            "list-type=2&prefix={prefix}&start-after={start_after}&continuation-token={token}\
             &fetch-owner=true"
        );
        let request = request("GET", &format!("/b?{query}"), &[]);
        let permit = policy.authorise(&me, request).unwrap();
        assert_eq!(permit.request().query.get("start-after"), forwarded, "{start_after} {token}");
        assert_eq!(permit.request().query.get("continuation-token"), Some(token));
        assert_eq!(permit.request().query.get("fetch-owner"), None);
    }
}

#[test]
fn p32_uploads_are_listed_inside_only() {
    let policy = policy(&[SOURCES]);
    let me = caller(1, Role::Miner);
    let mine = me.owner.coldkey();
    assert!(list(&policy, &me, &format!("uploads&prefix=data/x/{mine}/")).is_some());
    for query in ["uploads", "uploads&delimiter=/", "uploads&prefix=data/&delimiter=/"] {
        assert_eq!(list(&policy, &me, query), None, "{query}");
    }
}

#[test]
fn a_validator_lists_everything_under_the_root() {
    let policy = policy(&[SOURCES]);
    let validator = caller(1, Role::Validator);
    for prefix in ["data/", "data/x", "data/x/5", "data/web/any"] {
        assert_eq!(
            list(&policy, &validator, &format!("prefix={prefix}")),
            Some(Served::ByStore(prefix.to_owned()))
        );
    }
    assert_eq!(list(&policy, &validator, "delimiter=/"), Some(Served::Here(vec!["data/".to_owned()])));
    assert_eq!(list(&policy, &validator, "prefix=data"), Some(Served::ByStore("data/".to_owned())));
    let roots = Some(Served::Roots(vec!["data/".to_owned()]));
    assert_eq!(list(&policy, &validator, ""), roots);
    assert_eq!(list(&policy, &validator, "list-type=2&delimiter=&start-after=zz"), roots);
    for query in
        ["uploads", "delimiter=a", "prefix=dat", "prefix=secrets/", "prefix=d&delimiter=/", "prefix=d"]
    {
        assert_eq!(list(&policy, &validator, query), None, "{query}");
    }
}

#[test]
fn several_templates_at_once() {
    let policy = policy(&[SOURCES, "data/hotkey={hotkey}/job_id={job_id}/"]);
    let me = caller(1, Role::Miner);
    let hotkey = me.owner.hotkey();
    assert!(allowed(&policy, &me, "PUT", &format!("/b/data/hotkey={hotkey}/job_id=a1/f")));
    assert!(!allowed(&policy, &me, "PUT", &format!("/b/data/hotkey={hotkey}/job_id=A/f")));
    let Some(Served::Here(prefixes)) = list(&policy, &me, "prefix=data/&delimiter=/") else { panic!() };
    assert_eq!(prefixes, [format!("data/hotkey={hotkey}/"), "data/reddit/".to_owned(), "data/x/".to_owned()]);
}

#[test]
fn rights_are_configuration() {
    let rights: RoleRights =
        toml::from_str("[miner]\nown = [\"write\"]\n[validator]\nall = [\"read\"]").unwrap();
    let policy = Policy { rights, ..policy(&[SOURCES]) };
    let (miner, validator) = (caller(1, Role::Miner), caller(2, Role::Validator));
    let own = format!("/b/data/x/{}/f", miner.owner.coldkey());
    assert!(allowed(&policy, &miner, "PUT", &own) && !allowed(&policy, &miner, "GET", &own));
    assert!(allowed(&policy, &validator, "GET", &own));
    assert_eq!(list(&policy, &validator, "prefix=data/"), None);
    assert!(!allowed(&policy, &validator, "PUT", &format!("/b/data/x/{}/f", validator.owner.coldkey())));
}

#[test]
fn p36_a_refusal_names_the_callers_folders_and_no_others() {
    let policy = policy(&[SOURCES]);
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    let target = format!("/b/data/x/{}/f", other.owner.coldkey());
    let error = policy.authorise(&me, request("GET", &target, &[])).unwrap_err();
    assert!(error.message.contains(&format!("data/x/{}/", me.owner.coldkey())), "{}", error.message);
    assert!(!error.message.contains(other.owner.coldkey()), "{}", error.message);
}

#[test]
fn p31_each_key_of_a_batch_is_judged() {
    let policy = policy(&[SOURCES]);
    let (me, other) = (caller(1, Role::Miner), caller(2, Role::Miner));
    let permit = policy.authorise(&me, request("POST", "/b?delete", &[])).unwrap();
    let own = format!("data/x/{}/f", me.owner.coldkey());
    let foreign = format!("data/x/{}/f", other.owner.coldkey());
    let outside = format!("data/x/{}/../f", me.owner.coldkey());
    let objects = [&own, &foreign, &outside].map(|key| format!("<Object><Key>{key}</Key></Object>"));
    let delete = Delete::parse(format!("<Delete>{}</Delete>", objects.concat()).as_bytes()).unwrap();
    let Permitted::DeleteObjects(permit) = permit.permitted() else { panic!() };
    let (permitted, refused) = permit.divide(delete);
    assert_eq!(permitted.objects.iter().map(|object| &object.key).collect::<Vec<_>>(), [&own]);
    let refused: Vec<_> = refused.iter().map(|(object, error)| (&object.key, error.code)).collect();
    assert_eq!(refused, [(&foreign, Code::AccessDenied), (&outside, Code::InvalidArgument)]);
}

#[test]
fn p38_who_may_be_a_validator_or_not_is_refused_nothing_that_validators_may() {
    let policy = policy(&["data/{source}/{coldkey}/"]);
    let me = caller(1, Role::Undecided);
    let decided = |method: &str, target: &str| {
        let permit = policy.authorise(&me, request(method, target, &[]));
        permit.map(|_| ()).map_err(|error| error.code)
    };
    let (own, other) = (account(101).to_ss58(), account(102).to_ss58());
    // What both roles may, and what neither may.
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(decided(method, &format!("/b/data/x/{own}/f")), Ok(()), "{method}");
    }
    assert_eq!(decided("GET", &format!("/b?list-type=2&prefix=data/x/{own}/")), Ok(()));
    assert_eq!(decided("PUT", &format!("/b/data/x/{other}/f")), Err(Code::AccessDenied));
    assert_eq!(decided("DELETE", &format!("/b/data/x/{other}/f")), Err(Code::AccessDenied));
    assert_eq!(decided("GET", "/b/elsewhere/f"), Err(Code::AccessDenied));
    assert_eq!(decided("GET", "/b?list-type=2&prefix=elsewhere/"), Err(Code::AccessDenied));
    // What validators alone may, and what looks whole to a miner and is not to a validator.
    for target in [
        format!("/b/data/x/{other}/f"),
        format!("/b?list-type=2&prefix=data/x/{other}/"),
        "/b?list-type=2&prefix=data/&delimiter=/".to_owned(),
        "/b?list-type=2&prefix=data/x/&delimiter=/".to_owned(),
        "/b?list-type=2".to_owned(),
    ] {
        assert_eq!(decided("GET", &target), Err(Code::ServiceUnavailable), "{target}");
    }
}

#[test]
fn p38_a_list_of_what_only_a_validator_sees_beside_its_folder_is_not_answered_either() {
    // A miner's folder without its slash is the folder; a validator's list shows what else begins so.
    let policy = policy(&[SOURCES]);
    let me = caller(1, Role::Undecided);
    let request = request("GET", &format!("/b?prefix=data/x/{}", me.owner.coldkey()), &[]);
    assert_eq!(policy.authorise(&me, request).unwrap_err().code, Code::ServiceUnavailable);
}

#[test]
fn a_validator_walks_down_to_a_root_of_several_segments() {
    let policy = policy(&["a/b/c/{coldkey}/", "a/z/{hotkey}/"]);
    let validator = caller(1, Role::Validator);
    let here = |texts: &[&str]| Some(Served::Here(texts.iter().map(|text| (*text).to_owned()).collect()));
    for (query, served) in [
        ("delimiter=/", here(&["a/"])),
        ("prefix=a/&delimiter=/", here(&["a/b/", "a/z/"])),
        ("prefix=a/b/&delimiter=/", here(&["a/b/c/"])),
        ("prefix=a/b/c&delimiter=/", here(&["a/b/c/"])),
        ("prefix=a/b&delimiter=/", None),
        ("prefix=a/b/d&delimiter=/", None),
        ("prefix=a/b/c/&delimiter=/", Some(Served::ByStore("a/b/c/".to_owned()))),
    ] {
        assert_eq!(list(&policy, &validator, query), served, "{query}");
    }
    assert_eq!(list(&policy, &validator, "prefix=a/b/"), Some(Served::Roots(vec!["a/b/c/".to_owned()])));
}

#[test]
fn who_lists_everything_and_has_no_folder_walks_down_to_the_roots_as_well() {
    let rights: RoleRights = toml::from_str("[validator]\nall = [\"list\"]").unwrap();
    let policy = Policy { rights, ..policy(&["a/b/{coldkey}/", "z/{hotkey}/"]) };
    let auditor = caller(1, Role::Validator);
    let here = |texts: &[&str]| Some(Served::Here(texts.iter().map(|text| (*text).to_owned()).collect()));
    for (query, served) in [
        ("delimiter=/", here(&["a/", "z/"])),
        ("prefix=a/&delimiter=/", here(&["a/b/"])),
        ("prefix=a&delimiter=/", None),
        ("prefix=a/b&delimiter=/", here(&["a/b/"])),
        ("prefix=z&delimiter=/", here(&["z/"])),
        ("prefix=b/&delimiter=/", None),
    ] {
        assert_eq!(list(&policy, &auditor, query), served, "{query}");
    }
}

#[test]
fn a_policy_tells_its_roots_templates_and_rights() {
    let policy = policy(&["data/x/{hotkey}/", SOURCES, "more/{coldkey}/", "data/{source}/old/{coldkey}/"]);
    assert_eq!(policy.roots(), ["data/", "more/"], "a root under another one is no root");
    let templates: Vec<_> = policy.templates().iter().map(Template::as_str).collect();
    assert_eq!(templates, ["data/x/{hotkey}/", SOURCES, "more/{coldkey}/", "data/{source}/old/{coldkey}/"]);
    let rights: RoleRights = toml::from_str("[miner]\nown = [\"list\"]").unwrap();
    let other = Policy { rights: rights.clone(), ..policy };
    assert_eq!(other.rights(), &rights);
    assert_ne!(other.rights(), &RoleRights::default());
}

#[test]
fn a_refusal_says_what_may_be_done_instead() {
    let rights: RoleRights =
        toml::from_str("[miner]\nown = [\"list\", \"read\", \"write\"]\n[validator]\nall = [\"read\"]")
            .unwrap();
    let policy = Policy { rights, ..policy(&[SOURCES]) };
    let (miner, validator) = (caller(1, Role::Miner), caller(2, Role::Validator));
    let told = |caller, method, target: &str| {
        policy.authorise(caller, request(method, target, &[])).unwrap_err().message.into_owned()
    };
    let own = miner.owner.coldkey();
    let folders = format!("your folders, data/x/{own}/ and data/reddit/{own}/");
    for (caller, method, target, says) in [
        (&miner, "GET", "/b/elsewhere/f", format!("you may read in {folders} only.")),
        (&miner, "PUT", "/b/elsewhere/f", format!("you may write in {folders} only.")),
        (&miner, "GET", "/b?prefix=elsewhere/", format!("you may list {folders} only;")),
        (&miner, "DELETE", "/b/elsewhere/f", "a miner may not delete here at all.".to_owned()),
        (&validator, "GET", "/b/elsewhere/f", "you may read in what lies under data/ only.".to_owned()),
        (&validator, "GET", "/b?prefix=data/", "a validator may not list here at all.".to_owned()),
    ] {
        let told = told(caller, method, target);
        assert!(told.contains(&says), "{told}");
    }
}
