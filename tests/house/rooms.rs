//! Who may use whom. Rooms stand on floors and use lower floors alone; inside a room, too, files form no
//! circle.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Modules, Uses, circles, paths, read, root};

/// What each room may use: those of lower floors, and itself. Rooms of one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["endpoint", "error", "file_access", "log", "secret", "split", "time"],
    &["tls"],
    &["chain", "otel", "s3"],
    &["auth", "observe", "policy"],
    &["config"],
    &["acme", "body"],
    &["client", "limits", "site"],
    &["exchange", "hub", "transfer"],
    &["access", "store"],
    &["endpoints", "proxy"],
    &["front"],
    &["serve"],
    &["cli"],
];

#[test]
fn paths_are_read_as_they_are_written() {
    let text = "use crate::{\n    auth::{self, x as y},\n    error::{Code, Error},\n    s3,\n};\n\
                use super::secret::Secret;\nlet x = crate::chain::y::<u8>(self::z());\n\
                x.child::<u8>(); child::f(); subcrate::no; other::child::no";
    let found: Vec<String> = paths(text, &["child"]).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        [
            "crate::auth::self",
            "crate::auth::x",
            "crate::error::Code",
            "crate::error::Error",
            "crate::s3",
            "super::secret::Secret",
            "crate::chain::y",
            "self::z",
            "child::f",
        ]
    );
}

#[test]
fn circles_are_found_through_names_that_are_handed_on() {
    let texts = [
        (
            &["room"][..],
            "mod a;\nmod b;\npub use a::A;\npub use b::B;\npub struct Common;\nfn f(_: d::D) {}\n",
        ),
        (&["room", "a"], "use super::B;\npub struct A(B);\n// use super::C;\n"),
        (&["room", "b"], "pub struct B;\nimpl From<crate::room::A> for B {}\n"),
        (&["room", "c"], "use crate::room::{A, B};\n#[cfg(test)]\nmod tests {\nuse super::super::d;\n}\n"),
        (&["room", "d"], "use super::{Common, c::C};\n"),
    ];
    let path = |path: &[&str]| path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let texts = texts.iter().map(|(at, text)| (path(at), (*text).to_owned())).collect();
    let uses = Modules::new(texts).uses();
    assert_eq!(Vec::from_iter(&uses[&path(&["room"])]), [&path(&["room", "d"])]);
    let siblings = vec![path(&["room", "a"]), path(&["room", "b"])];
    let with_the_parent = vec![path(&["room"]), path(&["room", "d"])];
    assert_eq!(Vec::from_iter(circles(&uses)), [with_the_parent, siblings.clone()]);
    assert_eq!(Vec::from_iter(circles(&without_ancestors(uses))), [siblings]);
}

#[test]
fn rooms_use_lower_floors_alone() {
    let floors: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let mut wrong = Vec::new();
    for (from, used) in Modules::of_the_crate().uses() {
        let Some(room) = from.first() else { continue };
        let Some(own) = floors.get(room.as_str()) else {
            wrong.push(format!("{room} has no floor: give it one in FLOORS"));
            continue;
        };
        for other in &used {
            let above = match other.first() {
                // The root of the crate declares the rooms and is none.
                None => true,
                Some(other) => other != room && floors.get(other.as_str()).is_none_or(|floor| floor >= own),
            };
            if above {
                wrong.push(format!("{} uses {}", from.join("::"), other.join("::")));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_map_of_the_rooms_has_each_on_its_floor() {
    let text = read(&root().join("src/lib.rs"));
    let mut mapped = BTreeSet::new();
    for row in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let mut cells = row.split(" | ");
        let (Some(Ok(floor)), Some(rooms)) = (cells.next().map(str::parse::<usize>), cells.next()) else {
            continue;
        };
        mapped.extend(rooms.split('`').skip(1).step_by(2).map(|room| (floor, room.to_owned())));
    }
    let floors = (1..).zip(FLOORS);
    let known = floors.flat_map(|(floor, rooms)| rooms.iter().map(move |room| (floor, (*room).to_owned())));
    assert_eq!(mapped, BTreeSet::from_iter(known));
}

/// The uses without those of a file's own ancestors: what a `mod.rs` declares is the common ground of its
/// files.
fn without_ancestors(mut uses: Uses) -> Uses {
    for (from, used) in &mut uses {
        used.retain(|other| !from.starts_with(other));
    }
    uses
}

#[test]
fn files_of_a_room_form_no_circle() {
    let found = circles(&without_ancestors(Modules::of_the_crate().uses()));
    let shown: Vec<String> = found
        .iter()
        .map(|circle| circle.iter().map(|path| path.join("::")).collect::<Vec<_>>().join(" <-> "))
        .collect();
    assert!(shown.is_empty(), "{shown:#?}");
}
