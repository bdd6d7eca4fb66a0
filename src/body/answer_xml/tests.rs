#![allow(clippy::arithmetic_side_effects, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::{
    body::testing::{Peer, block_on, next, read},
    s3::xml::Element,
};

fn replacements() -> Vec<Replacement> {
    [("Name", 2..=2, "public"), ("Owner", 2..=3, "<ID>public</ID>"), ("Initiator", 2..=3, "")]
        .map(|(element, depths, content)| Replacement { element, depths, content: content.to_owned() })
        .into()
}

fn rewritten(document: &[u8], frame_bytes: usize) -> Vec<u8> {
    let (out, failure) = read(AnswerXml::new(Peer::split(document, frame_bytes), replacements()));
    assert!(failure.is_none());
    out
}

/// What comes out of `document`; the same for every split.
#[track_caller]
fn check(document: &[u8], expected: &[u8]) {
    for frame_bytes in 1..=document.len().max(1) {
        let out = rewritten(document, frame_bytes);
        assert_eq!(
            String::from_utf8_lossy(&out),
            String::from_utf8_lossy(expected),
            "{} in frames of {frame_bytes}",
            String::from_utf8_lossy(document)
        );
        assert_eq!(out, expected);
    }
}

#[test]
fn what_has_no_name_of_the_stores_passes_byte_for_byte() {
    for document in [
        "",
        " \n",
        "<",
        "<a",
        "<a b='",
        "&",
        "&amp",
        "no xml & <at all",
        "<?xml version='1.0'?>\r\n<!-- <Name>no</Name> --><!DOCTYPE a><L><![CDATA[<Name>]]]]><x:Own a='>'/>\
         &#x41;&lt;&unknown;\t</L>\n",
        // At another depth it is another thing.
        "<Name>a</Name>",
        "<L><C><Name>a</Name></C></L>",
        "<L><Names>a</Names><name>a</name><C><D><Owner>a</Owner></D></C></L>",
        "<L><Name/><Owner /><Key>a</Key></L>",
        "<L><K>ä\u{fffd}\u{10000}\u{7f}\u{85}%EF%BF%BE</K></L>",
        "</a></a></a><b>",
        "<!><!->",
    ] {
        check(document.as_bytes(), document.as_bytes());
    }
    let long = format!("<{}><Name>a", "Name".repeat(NAME_BYTES_MAX));
    assert_eq!(rewritten(long.as_bytes(), 7), long.replace("<Name>a", "<Name>").as_bytes());
}

#[test]
fn p63_the_names_of_the_store_give_way_to_public_ones() {
    for (document, expected) in [
        ("<L><Name>own</Name><K>own</K></L>", "<L><Name>public</Name><K>own</K></L>"),
        ("<L a='/>'><s3:Name b=\"'>\" >o&amp;w<!-- </Name> --><a>n</a></s3:Name ></L>", ""),
        (
            "<L><C><Key>a</Key><Owner><ID>1</ID><DisplayName>me</DisplayName></Owner></C><C><Owner/></C></L>",
            "<L><C><Key>a</Key><Owner><ID>public</ID></Owner></C><C><Owner/></C></L>",
        ),
        (
            "<L><Initiator><Owner>x</Owner><Initiator>y</Initiator></Initiator><Owner></Owner></L>",
            "<L><Initiator></Initiator><Owner><ID>public</ID></Owner></L>",
        ),
        ("<L><Name>cut o", "<L><Name>"),
        ("<?xml?><L>\n<Name\n>own</Name></L>\n", "<?xml?><L>\n<Name\n>public</Name></L>\n"),
    ] {
        let expected = match expected {
            "" => "<L a='/>'><s3:Name b=\"'>\" >public</s3:Name ></L>",
            expected => expected,
        };
        check(document.as_bytes(), expected.as_bytes());
    }
}

#[test]
fn p52_what_xml_cannot_spell_is_spelled_otherwise() {
    for (document, expected) in [
        (b"<K>a\xef\xbf\xbeb\xef\xbf\xbf</K>".as_slice(), "<K>a\u{91}%EF%BF%BEb\u{91}%EF%BF%BF</K>"),
        (b"<K>\x00\x1f\x7f</K>", "<K>\u{91}%00\u{91}%1F\x7f</K>"),
        (b"<K>&#xFFFE;&#65535;&#x1;&#0;</K>", "<K>\u{91}%EF%BF%BE\u{91}%EF%BF%BF\u{91}%01\u{91}%00</K>"),
        (b"<K>&#xD800;&#x110000;</K>", "<K>\u{91}%EF%BF%BD\u{91}%EF%BF%BD</K>"),
        (b"<K>&#xA;&#65;&#x10FFFF;</K>", "<K>&#xA;&#65;&#x10FFFF;</K>"),
        // The mark itself, so that it is told from the spelling of another.
        (b"<K>\xc2\x91%00&#x91;</K>", "<K>\u{91}%C2%91%00\u{91}%C2%91</K>"),
        // No UTF-8.
        (
            b"<K>\xff\xc3\xed\xa0\x80\xf0\x9f</K>",
            "<K>\u{91}%FF\u{91}%C3\u{91}%ED\u{91}%A0\u{91}%80\u{91}%F0\u{91}%9F</K>",
        ),
        (b"<K>\xc3", "<K>\u{91}%C3"),
    ] {
        check(document, expected.as_bytes());
        if expected.ends_with("</K>") && !expected.contains("&#") {
            assert!(Element::parse(expected.as_bytes()).is_ok(), "{expected}");
        }
    }
}

#[test]
fn p46_what_comes_passes_as_it_comes() {
    block_on(async {
        let pieces = ["<?xml version=\"1.0\"?>", " ", "\n", "<L><K>a", "b</K></L>"];
        let mut body = AnswerXml::new(Peer::of(&pieces), replacements());
        for expected in pieces {
            assert_eq!(next(&mut body).await.unwrap().unwrap(), expected);
        }
        assert!(next(&mut body).await.is_none());
    });
    let (out, failure) = read(AnswerXml::new(Peer::of(&["<L>", "<Na"]).then_failure(), replacements()));
    assert_eq!(out, b"<L>");
    assert!(failure.is_some());
}

#[test]
fn p8_nothing_makes_it_hold_much() {
    for piece in ["<", "&", "a", "<a", "&#", "<!", "<![", "</", "\u{85}", "<a b=\""] {
        let mut rewriter = Rewriter::new(replacements());
        for _ in 0..5000 {
            rewriter.feed(piece.as_bytes());
            assert!(rewriter.held.len() <= NAME_BYTES_MAX + 1, "{piece:?}");
        }
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            "<L>",
            "</L>",
            "<Name>",
            "</Name>",
            "<Owner>",
            "</Owner>",
            "<a b='/>'>",
            "<a/>",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?",
            "?>",
            "&amp;",
            "&#xFFFE;",
            "&#",
            ";",
            "/",
            ">",
            "<",
            "'",
            "\"",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        "[a-z\u{fffd}-\u{ffff}\u{80}-\u{9f}]{0,3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn the_result_is_the_same_however_the_input_is_split(
        pieces in prop::collection::vec(piece(), 0..40),
        cuts in prop::collection::vec(1..9_usize, 1..60),
    ) {
        let document = pieces.concat();
        let whole = rewritten(&document, document.len().max(1));
        let mut frames = Vec::new();
        let mut rest = document.as_slice();
        for cut in cuts {
            let (frame, behind) = rest.split_at(cut.min(rest.len()));
            frames.push(Bytes::copy_from_slice(frame));
            rest = behind;
        }
        frames.push(Bytes::copy_from_slice(rest));
        let (out, _) = read(AnswerXml::new(Peer::frames(frames), replacements()));
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn a_list_of_any_key_can_be_read(key in any::<String>()) {
        let escaped = key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let document = format!("<L><Name>own</Name><C><Key>{escaped}</Key></C></L>");
        let out = rewritten(document.as_bytes(), 3);
        let root = Element::parse(&out).unwrap();
        prop_assert_eq!(root.text_of("Name"), Some("public"));
        let spelled = root.children[1].text_of("Key").unwrap();
        prop_assert!(spelled.chars().all(xml_text::is_xml));
        // XML reads line ends as line feeds.
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(lines(spelled), lines(&xml_text::legal(&key)));
    }
}
