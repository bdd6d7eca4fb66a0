use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::{
    chain::{AccountId, Owner, Role},
    policy::{RoleRights, Template, Values},
    s3::{Addressing, uri::Query},
};

fn account(id: u8) -> AccountId {
    AccountId::from_bytes([id; 32]).unwrap()
}

fn caller() -> Caller {
    Caller { hotkey: account(1), owner: Arc::new(Owner::new(account(1), account(2))), role: Role::Miner }
}

fn policy() -> Policy {
    let variables = BTreeMap::from([("source".to_owned(), Values::List(vec!["x".to_owned()]))]);
    let templates =
        ["data/{source}/{coldkey}/", "more/{hotkey}/"].map(|text| Template::parse(text, &variables).unwrap());
    Policy::new(templates.into(), RoleRights::default())
}

/// The key of an object of the caller's.
fn own_key() -> String {
    format!("data/x/{}/f", account(2).to_ss58())
}

fn request(method: Method, key: &str, query: &str, headers: &HeaderMap) -> Request {
    let query = Query::parse(Some(query)).unwrap();
    let path = if key.is_empty() { "/b".to_owned() } else { format!("/b/{key}") };
    Request::parse(&method, Addressing::Path, &path, query, headers).unwrap()
}

/// Asks with the permit for a request, if it is permitted in the way that `ask` expects.
#[track_caller]
fn with_permit<T>(
    method: Method,
    key: &str,
    query: &str,
    headers: &HeaderMap,
    ask: impl FnOnce(Permitted<'_>) -> T,
) -> T {
    let (policy, caller) = (policy(), caller());
    let permit = policy.authorise(&caller, request(method, key, query, headers)).unwrap();
    ask(permit.permitted())
}

/// What is asked of the store: method, key, query.
fn asked(outbound: Outbound) -> (Method, Option<String>, String) {
    let method = outbound.method().clone();
    let parts = outbound.into_parts();
    assert_eq!(parts.method, method);
    (method, parts.key, parts.query.canonical())
}

fn object(method: Method, query: &str) -> (Method, Option<String>, String) {
    (method, Some(own_key()), query.to_owned())
}

fn bucket(query: &str) -> (Method, Option<String>, String) {
    (Method::GET, None, query.to_owned())
}

#[test]
fn a_permitted_request_goes_on_as_it_is_without_what_an_sdk_notes_for_itself() {
    let none = HeaderMap::new();
    with_permit(Method::DELETE, &own_key(), "versionId=v&x-id=DeleteObject", &none, |permitted| {
        let Permitted::Forward(forward) = permitted else { panic!("{permitted:?}") };
        assert_eq!(
            asked(forward.outbound(ForwardedHeaders::none())),
            object(Method::DELETE, "versionId=v"),
            "neither more nor less than what was authorised"
        );
    });
    let given = HeaderMap::from_iter([(http::header::IF_MATCH, HeaderValue::from_static("\"e\""))]);
    let headers = ForwardedHeaders::of(Operation::GetObject, &given).unwrap();
    with_permit(Method::GET, &own_key(), "", &given, |permitted| {
        let Permitted::Forward(forward) = permitted else { panic!("{permitted:?}") };
        let parts = forward.outbound(headers.clone()).into_parts();
        assert_eq!((parts.headers, parts.copy_source), (headers, None));
    });
}

#[test]
fn an_upload_knows_whether_it_is_a_part_and_whose_it_is() {
    for (query, is_part) in [("", false), ("partNumber=1&uploadId=u", true)] {
        with_permit(Method::PUT, &own_key(), query, &HeaderMap::new(), |permitted| {
            let Permitted::Upload(upload) = permitted else { panic!("{permitted:?}") };
            assert_eq!((upload.is_part(), upload.key()), (is_part, own_key().as_str()));
            assert_eq!(upload.caller().hotkey, account(1));
            assert_eq!(asked(upload.outbound(ForwardedHeaders::none())), object(Method::PUT, query));
        });
    }
}

#[test]
fn p30_a_copy_measures_and_names_the_source_that_was_authorised() {
    let source = format!("/b/{}?versionId=v", own_key());
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-amz-copy-source"),
        HeaderValue::from_str(&source).unwrap(),
    )]);
    for (query, is_part) in [("", false), ("partNumber=1&uploadId=u", true)] {
        let target = own_key().replace("/f", "/copy");
        with_permit(Method::PUT, &target, query, &headers, |permitted| {
            let Permitted::Copy(copy) = permitted else { panic!("{permitted:?}") };
            assert_eq!((copy.is_part(), copy.key()), (is_part, target.as_str()));
            assert_eq!((&copy.source().key, copy.source().version_id.as_deref()), (&own_key(), Some("v")));
            assert_eq!(asked(copy.source_head()), object(Method::HEAD, "versionId=v"));
            let parts = copy.outbound(ForwardedHeaders::none()).into_parts();
            assert_eq!((parts.method, parts.key), (Method::PUT, Some(target.clone())));
            assert_eq!(parts.copy_source.as_ref(), Some(copy.source()));
        });
    }
}

#[test]
fn a_completion_may_look_at_its_own_upload_and_take_it_back() {
    with_permit(Method::POST, &own_key(), "uploadId=u", &HeaderMap::new(), |permitted| {
        let Permitted::Complete(complete) = permitted else { panic!("{permitted:?}") };
        assert_eq!(complete.key(), own_key());
        assert_eq!(asked(complete.parts_page(None)), object(Method::GET, "uploadId=u"));
        assert_eq!(
            asked(complete.parts_page(Some(7))),
            object(Method::GET, "part-number-marker=7&uploadId=u")
        );
        assert_eq!(asked(complete.head()), object(Method::HEAD, ""));
        assert_eq!(asked(complete.abort()), object(Method::DELETE, "uploadId=u"));
        assert_eq!(asked(complete.outbound(ForwardedHeaders::none())), object(Method::POST, "uploadId=u"));
    });
}

#[test]
fn p32_a_list_is_paged_with_the_prefix_that_was_authorised() {
    let prefix = own_key();
    let query = format!("list-type=2&prefix={prefix}");
    let encoded = prefix.replace('/', "%2F");
    with_permit(Method::GET, "", &query, &HeaderMap::new(), |permitted| {
        let Permitted::List(list) = permitted else { panic!("{permitted:?}") };
        assert_eq!(list.prefix(), prefix);
        let first = bucket(&format!("list-type=2&prefix={encoded}"));
        assert_eq!(asked(list.outbound(ForwardedHeaders::none())), first);
        assert_eq!(asked(list.page(None).unwrap()), first);
        assert_eq!(
            asked(list.page(Some("t/1")).unwrap()),
            bucket(&format!("continuation-token=t%2F1&list-type=2&prefix={encoded}"))
        );
    });
}

#[test]
fn p32_who_may_list_every_root_gets_pages_of_the_roots_and_of_nothing_else() {
    let (policy, caller) = (policy(), Caller { role: Role::Validator, ..caller() });
    let permit =
        policy.authorise(&caller, request(Method::GET, "", "list-type=2", &HeaderMap::new())).unwrap();
    let Permitted::Roots(roots) = permit.permitted() else { panic!("{permit:?}") };
    assert_eq!(roots.request().operation, Operation::ListObjectsV2);
    let lists: Vec<_> = roots.lists().collect();
    assert_eq!(lists.iter().map(RootList::root).collect::<Vec<_>>(), ["data/", "more/"]);
    let page = |start| asked(lists[1].page(&start, 5));
    let rest = "encoding-type=url&list-type=2&max-keys=5&prefix=more%2F";
    assert_eq!(page(PageStart::First), bucket(rest));
    assert_eq!(page(PageStart::After("more/k".into())), bucket(&format!("{rest}&start-after=more%2Fk")));
    assert_eq!(page(PageStart::Token("t".into())), bucket(&format!("continuation-token=t&{rest}")));
}

#[test]
fn a_batch_of_deletions_goes_to_the_bucket() {
    with_permit(Method::POST, "", "delete&x-id=DeleteObjects", &HeaderMap::new(), |permitted| {
        let Permitted::DeleteObjects(delete) = permitted else { panic!("{permitted:?}") };
        assert_eq!(
            asked(delete.outbound(ForwardedHeaders::none())),
            (Method::POST, None, "delete=".to_owned())
        );
    });
}

#[test]
fn a_permit_serves_no_other_purpose_than_its_own() {
    let (policy, caller) = (policy(), caller());
    let permit = |method, key: &str, query: &str| {
        policy.authorise(&caller, request(method, key, query, &HeaderMap::new())).unwrap()
    };
    let list = permit(Method::GET, "", &format!("prefix={}", own_key()));
    assert!(list.as_list().is_some() && list.object_upload().is_err());
    let upload = permit(Method::PUT, &own_key(), "");
    assert!(upload.as_list().is_none());
    assert_eq!(upload.object_upload().unwrap().key(), own_key());
    assert_eq!((upload.operation(), upload.caller().hotkey), (Operation::PutObject, account(1)));
    for (method, key, query) in [
        (Method::GET, own_key(), ""),
        (Method::DELETE, own_key(), ""),
        (Method::GET, String::new(), "delimiter=/"),
        (Method::POST, String::new(), "delete"),
        (Method::POST, own_key(), "uploadId=u"),
        (Method::HEAD, String::new(), ""),
    ] {
        let other = permit(method.clone(), &key, query);
        assert!(other.as_list().is_none() && other.object_upload().is_err(), "{method} {key}?{query}");
    }
}

#[test]
fn the_health_probe_lists_one_key_of_the_first_root() {
    assert_eq!(asked(Outbound::health_probe(&policy())), bucket("list-type=2&max-keys=1&prefix=data%2F"));
}
