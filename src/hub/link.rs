//! The header `Link` (RFC 8288), of which pages of a list name the next one.

/// A URL that is longer is none of a Hub's.
const URL_BYTES_MAX: usize = 8 * 1024;

/// The target of the link whose relation is `next`; `None` where there is none.
pub fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let (parameters, following) = split_at_comma(after);
        if is_next(parameters) && !target.is_empty() && target.len() <= URL_BYTES_MAX {
            return Some(target);
        }
        rest = following;
    }
}

/// The parameters of one link, and the links behind it. A comma inside quotes belongs to the value.
fn split_at_comma(text: &str) -> (&str, &str) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                let (parameters, following) = text.split_at(at);
                return (parameters, following);
            }
            _ => {}
        }
    }
    (text, "")
}

fn is_next(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found_among_the_links() {
        for (header, next) in [
            (r#"<https://h/a?cursor=b>; rel="next""#, Some("https://h/a?cursor=b")),
            ("<https://h/a>; rel=next", Some("https://h/a")),
            (r#"<https://h/a,b>;title="x, <y>; rel=z";REL="prev next""#, Some("https://h/a,b")),
            (r#"<https://h/1>; rel="first", </2>; rel="next", </3>; rel="last""#, Some("/2")),
            (r#"<https://h/1>; rel="prev""#, None),
            (r#"<>; rel="next""#, None),
            ("https://h/a; rel=next", None),
            ("<https://h/a", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), next, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_target_comes_out_as_it_was_written(url in "[^<>\"]{1,60}", before in "[a-z]{0,9}") {
            let header = format!("<{before}>; rel=\"prev\", <{url}>; rel=\"next\"");
            prop_assert_eq!(next_link(&header), Some(url.as_str()));
        }

        #[test]
        fn whatever_stands_there_is_read_without_a_panic(header: String) {
            if let Some(url) = next_link(&header) {
                let written = format!("<{url}>");
                prop_assert!(header.contains(&written));
            }
        }
    }
}
